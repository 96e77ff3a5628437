package llama

/*
#include "shim.h"
*/
import "C"

import (
	"strings"
	"sync"
)

// Repack is the feature of a ggml with kernels for repacked weights: without them llama.cpp reads K types at half the
// speed.
const Repack = "REPACK"

// Features returns what ggml's CPU kernels were compiled for, in its names: AVX2, FMA, AVX512_VNNI, NEON, REPACK and so
// on. What the CPU has beyond that they do not use.
var Features = sync.OnceValues(func() (map[string]bool, error) {
	var (
		text *C.char
		st   C.gt_status
	)
	if C.gt_features(&text, &st) != C.GT_OK {
		return nil, statusError("ask llama.cpp what it was compiled for", &st)
	}
	return readFeatures(C.GoString(text)), nil
})

// readFeatures reads "CPU : AVX = 1 | AVX2 = 1 | ". A feature may have a number, such as a vector's length.
func readFeatures(text string) map[string]bool {
	has := map[string]bool{}
	_, list, _ := strings.Cut(text, ":")
	for _, f := range strings.Split(list, "|") {
		name, value, ok := strings.Cut(f, "=")
		if ok && strings.TrimSpace(value) != "0" {
			has[strings.TrimSpace(name)] = true
		}
	}
	return has
}
