package llama

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/bindings"
)

// A Memory is what llama.cpp would take beside a model's mapped file, in bytes. The Go module's llama.cpp gives each
// figure but Fixed in whole MiB, rounded down.
type Memory struct {
	Repacked int64 // copies of weights in layouts that its fastest kernels want (ModelOptions.UseExtraBufts)
	KV       int64 // keys and values of the whole context
	Work     int64 // of a batch
	// Fixed is its vocabulary and what describes its computations, for the most part; 0 where the C library does not
	// say what it has given out (glibc does).
	Fixed int64
}

// Total is all of it, in bytes.
func (m Memory) Total() int64 { return m.Repacked + m.KV + m.Work + m.Fixed }

// PlanMemory says what OpenModel and NewContext with these options would take. It allocates none of it and reads no
// weights. What holds for files of strangers with OpenModel holds here.
func PlanMemory(path string, mo ModelOptions, co ContextOptions) (_ Memory, err error) {
	began := heapBytes()
	// Nothing is mapped where nothing is allocated: the weights that would be are left out of the sum.
	model, err := openModel("plan llama.cpp's memory", path, &C.gt_model_options{
		no_alloc: true, use_extra_bufts: C.bool(mo.UseExtraBufts), n_gpu_layers: C.int32_t(mo.GPULayers)})
	if err != nil {
		return Memory{}, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	c, err := model.NewContext(co)
	if err != nil {
		return Memory{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	m, err := c.memory()
	m.Fixed = max(heapBytes()-began, 0)
	return m, err
}

// memory is all but Fixed of what the model and the context take.
func (c *Context) memory() (Memory, error) {
	const kinds = 64 // of buffers: a few for each device
	var (
		rows [kinds]C.gt_memory
		n    C.int32_t
	)
	since := bindings.LogNext()
	if C.gt_context_memory(c.ptr, &rows[0], kinds, &n, &c.status) != C.GT_OK {
		return Memory{}, statusError(c.model.path+": plan llama.cpp's memory", &c.status)
	}
	if n < 0 {
		return readMemory(c.model.path, bindings.Log(since))
	}
	if n == 0 || n > kinds {
		return Memory{}, fmt.Errorf("%s: plan llama.cpp's memory: it has %d kinds of memory, expected 1 to %d",
			c.model.path, n, kinds)
	}
	var m Memory
	for _, r := range rows[:n] {
		if !bool(r.host) {
			m.Repacked += int64(r.model)
		}
		m.KV += int64(r.context)
		m.Work += int64(r.compute)
	}
	return m, nil
}

// heapBytes is what the C library has given out on its heap; 0 where it does not say.
func heapBytes() int64 { return int64(C.gt_heap_bytes()) }

// readMemory reads llama.cpp's table: "| - NAME | self = model + context + compute |" in MiB. Its C interface has no
// other way to ask. The row Host holds the weights that would be mapped.
func readMemory(path string, lines []bindings.LogLine) (Memory, error) {
	var m Memory
	rows := 0
	for _, line := range lines {
		cells := strings.Split(line.Text, "|")
		if len(cells) < 3 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "- ") {
			continue
		}
		_, sum, _ := strings.Cut(cells[2], "=")
		var mib [3]int64
		parts := strings.Split(sum, "+")
		if len(parts) != len(mib) {
			return Memory{},
				fmt.Errorf("%s: plan llama.cpp's memory: it writes %q, expected name | self = model + context + "+
					"compute",
					path, line.Text)
		}
		for i, p := range parts {
			n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 64)
			if err != nil {
				return Memory{}, fmt.Errorf("%s: plan llama.cpp's memory: it writes %q: %w", path, line.Text, err)
			}
			mib[i] = n << 20
		}
		if strings.TrimSpace(cells[1]) != "- Host" {
			m.Repacked += mib[0]
		}
		m.KV += mib[1]
		m.Work += mib[2]
		rows++
	}
	if rows == 0 {
		return Memory{}, fmt.Errorf("%s: plan llama.cpp's memory: it writes no table of it", path)
	}
	return m, nil
}
