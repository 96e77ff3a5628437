package llama

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ggtune/ggtune/bindings"
)

// A Tensor is one half of a LoRA pair, by its name in the file.
type Tensor struct {
	Name   string
	Values []float32
}

// found is where an adapter's numbers lie.
type found struct {
	index  int // by which C knows it
	floats int64
}

// Overwrite puts numbers in the place of all those of the one adapter in use, which must be in f32, and forgets what
// has been read: what follows is computed as with an adapter loaded from a file of these numbers. No other context may
// compute with the adapter meanwhile. The first time after SetAdapters it costs a computation, which finds the numbers;
// when ctx is done that stops, and ctx's cause is returned. Where the tensors are not the adapter's, nothing is
// changed.
func (c *Context) Overwrite(ctx context.Context, tensors []Tensor) error {
	const doing = "overwrite an adapter"
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(doing); err != nil {
		return err
	}
	if c.applied != 1 {
		return fmt.Errorf("%s: %d adapters are in use; want one", doing, c.applied)
	}
	if c.found == nil {
		if err := c.find(ctx, doing); err != nil {
			return err
		}
	}
	if err := c.fits(tensors); err != nil {
		return fmt.Errorf("%s: %s: %w", c.model.path, doing, err)
	}
	for _, t := range tensors {
		code := C.gt_context_overwrite(c.ptr, C.int32_t(c.found[t.Name].index), (*C.float)(&t.Values[0]), &c.status)
		if err := c.result(c.model.path+": "+doing, code); err != nil {
			c.broken = err // some numbers are new, some old
			return err
		}
	}
	return c.forget()
}

// fits refuses tensors that are not those of the adapter in use. The caller holds mu.
func (c *Context) fits(tensors []Tensor) error {
	seen := map[string]bool{}
	for _, t := range tensors {
		at, ok := c.found[t.Name]
		switch {
		case !ok:
			return fmt.Errorf("llama.cpp computes nothing with a tensor %q", t.Name)
		case seen[t.Name]:
			return fmt.Errorf("tensor %q is given twice", t.Name)
		case at.floats == 0 || int64(len(t.Values)) != at.floats:
			return fmt.Errorf("tensor %q: %d numbers for the place of %d in f32", t.Name, len(t.Values), at.floats)
		}
		seen[t.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.found)) {
		if !seen[name] {
			return fmt.Errorf("there are no numbers for tensor %q", name)
		}
	}
	return nil
}

// find fills c.found. The caller holds mu.
func (c *Context) find(ctx context.Context, doing string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	defer c.interruptible(ctx)()
	var n C.int32_t
	code := C.gt_context_find(c.ptr, &n, &c.status)
	clear(c.lens)
	c.logits, c.off = false, false
	if err := c.result(fmt.Sprintf("%s: %s: find its numbers", c.model.path, doing), code); err != nil {
		if errors.Is(err, bindings.ErrAborted) {
			return context.Cause(ctx)
		}
		c.broken = err
		return err
	}
	c.found = make(map[string]found, n)
	for i := range int(n) {
		var floats C.int64_t
		name := C.GoString(C.gt_context_found(c.ptr, C.int32_t(i), &floats))
		c.found[name] = found{i, int64(floats)}
	}
	return nil
}
