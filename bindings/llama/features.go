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

// A Build says which llama.cpp is linked. All is empty where it is the Go module's, whose version the Go tool knows.
type Build struct {
	Llama      string // version; empty where a build is too old to say
	GGML       string // version
	GGMLCommit string // "unknown" where it was not built in its repository
}

// System returns the build of the installed llama.cpp, or false where the Go module's is linked.
func System() (Build, bool, error) {
	var (
		b  C.gt_build
		st C.gt_status
	)
	if C.gt_describe_build(&b, &st) != C.GT_OK {
		return Build{}, false, statusError("ask llama.cpp for its version", &st)
	}
	build := Build{C.GoString(b.llama), C.GoString(b.ggml), C.GoString(b.commit)}
	return build, build.GGML != "", nil
}

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
