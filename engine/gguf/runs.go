package gguf

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxLayers and maxExperts are LLAMA_MAX_LAYERS and LLAMA_MAX_EXPERTS of the pinned llama.cpp (llama-hparams.h).
const (
	MaxLayers  = 512
	maxExperts = 512
)

// CheckRuns refuses a model that llama.cpp would not survive: it asserts on metadata, and calls functions that do not
// exist for storage types that its processor code cannot multiply. What it refuses itself, in words, is left to it.
// Whoever hands a file to llama.cpp calls this first.
func (f *File) CheckRuns() error {
	if err := f.CheckModel(); err != nil {
		return err
	}
	if f.HasTokenizer() {
		if err := f.CheckTokenizer(); err != nil {
			return err
		}
	}
	return errors.Join(f.checkTypes(), f.checkHParams())
}

// CheckAdapterRuns is CheckRuns of an adapter.
func (f *File) CheckAdapterRuns() error {
	if err := f.CheckAdapter(); err != nil {
		return err
	}
	if kind, err := f.StringOr("adapter.type", "lora"); err != nil || kind != "lora" {
		return errors.Join(err, fmt.Errorf("%s: llama.cpp has no place for an adapter of type %q; take the model.gguf "+
			"that its run has left beside it, or make a model of it and its base: ggtune merge", f.Path(), kind))
	}
	return f.checkTypes()
}

// Multiplies says whether llama.cpp can multiply by a matrix of this type. The others are integers, intermediate forms
// that hold activations, and f64; a test compares this with ggml's own table.
func (t Type) Multiplies() bool { return t.Known() && !t.IsInt() && t != F64 && t != Q8_1 && t != Q8_K }

// weightTypes lists the storage types that weights may have.
func weightTypes() string {
	var names []string
	for _, t := range Types() {
		if t.Multiplies() {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, ", ")
}

// checkTypes refuses the first tensor in a type that it cannot be computed with.
func (f *File) checkTypes() error {
	for i := range f.Tensors {
		t := &f.Tensors[i]
		rows := int64(1)
		for _, n := range t.Shape[min(1, len(t.Shape)):] {
			rows *= n
		}
		switch vector := rows == 1 && len(t.Shape) < 2 || strings.HasSuffix(t.Name, "_norm.weight") ||
			strings.HasSuffix(t.Name, ".bias"); {
		case vector && t.Type != F32:
			return fmt.Errorf("%s: tensor %q is storage type %v; norms, biases and other vectors are f32 in files "+
				"that llama.cpp runs; get the model from another source, or convert it again",
				f.Path(), t.Name, t.Type)
		case !t.Type.Multiplies():
			return fmt.Errorf("%s: tensor %q is storage type %v, which is no weight type: llama.cpp cannot multiply "+
				"by it; known: %s; get the model in one of these",
				f.Path(), t.Name, t.Type, weightTypes())
		}
	}
	return nil
}

// checkHParams refuses what llama_model::load_hparams and the graphs of llama.cpp assert (llama-model.cpp, ggml.c).
func (f *File) checkHParams() error {
	arch, err := f.Architecture()
	if err != nil {
		return err
	}
	c := hparams{f: f, arch: arch + "."}
	c.within("block_count", 1, MaxLayers)
	c.within("embedding_length", 1, math.MaxInt32)
	c.within("context_length", 1, math.MaxInt32)
	c.experts()
	c.rope()
	for _, kv := range f.kvs {
		key, ok := strings.CutPrefix(kv.Key, c.arch)
		if !ok || kv.Value.typ != Float32 && kv.Value.typ != Float64 {
			continue
		}
		v := floatAt(kv.Value.typ, kv.Value.raw)
		switch {
		case math.IsNaN(v):
			c.fail(key, "is NaN, expected a number")
		case strings.HasSuffix(key, "epsilon") && !(v >= 0 && v < math.MaxFloat32):
			c.fail(key, "is %g, expected a small positive number", v)
		}
	}
	return errors.Join(c.faults...)
}

// hparams collects the faults of an architecture's metadata.
type hparams struct {
	f      *File
	arch   string // with its point
	faults []error
}

func (c *hparams) fail(key, format string, args ...any) {
	c.faults = append(c.faults,
		fmt.Errorf("%s: metadata key %q "+format+"; get the model from another source, or convert it again",
			append([]any{c.f.Path(), c.arch + key}, args...)...))
}

// int reads a whole number, or gives missing: where the key is absent, a list by layer, or of a type that llama.cpp
// refuses in words.
func (c *hparams) int(key string, missing int64) int64 {
	if v, err := c.f.Int(c.arch + key); err == nil {
		return v
	}
	return missing
}

func (c *hparams) within(key string, least, most int64) {
	if v := c.int(key, least); v < least || v > most {
		c.fail(key, "is %d, expected %d to %d", v, least, most)
	}
}

func (c *hparams) experts() {
	n := c.int("expert_count", 0)
	c.within("expert_count", 0, maxExperts)
	used, groups, inUse := c.int("expert_used_count", 0), c.int("expert_group_count", 0),
		c.int("expert_group_used_count", 0)
	least := min(n, 1) // of n experts at least one is used; of none, none
	switch {
	case n < 0 || n > maxExperts: // said
	case used < least || used > n:
		c.fail("expert_used_count", "is %d of %d experts, expected %d to %d", used, n, least, n)
	case groups < 0 || n == 0 && groups > 0 || n > 0 && groups >= n:
		c.fail("expert_group_count", "is %d of %d experts, expected fewer groups than experts", groups, n)
	case groups > 1 && n%groups != 0:
		c.fail("expert_group_count", "is %d, which does not divide %d experts", groups, n)
	case groups > 1 && (inUse < 1 || inUse >= groups):
		c.fail("expert_group_used_count", "is %d of %d groups, expected 1 to %d", inUse, groups, groups-1)
	}
}

func (c *hparams) rope() {
	known := []string{"none", "linear", "yarn", "longrope"}
	if kind, err := c.f.String(c.arch + "rope.scaling.type"); err == nil && !slices.Contains(known, kind) {
		c.fail("rope.scaling.type", "is %s; known: %s", quoteShort(kind), strings.Join(known, ", "))
	}
	heads := c.int("attention.head_count", 0)
	if heads < 0 || heads > math.MaxInt32 {
		c.within("attention.head_count", 0, math.MaxInt32)
		return
	}
	head := int64(math.MaxInt64)
	if heads > 0 {
		head = c.int("embedding_length", 0) / heads
	}
	head = c.int("attention.key_length", head)
	if n := c.int("rope.dimension_count", 0); n < 0 || n > head || n%2 != 0 {
		c.fail("rope.dimension_count", "is %d, expected an even number up to the head size %d", n, head)
	}
}
