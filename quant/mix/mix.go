// Package mix decides in what storage type each tensor of a model is kept, from the tensor's place in the model. It
// knows neither weights nor how they are quantized.
package mix

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/registry"
)

// A Mix decides the storage type of each matrix, as llama.cpp's quantizer does for a name such as q4_K_M.
type Mix struct {
	Name string // llama.cpp's, in small letters: "q8_0", "q4_k_m"
	// FileType is llama.cpp's number for general.file_type (enum llama_ftype in llama.h).
	FileType uint32
	// Of gives the type that a matrix should have; Fit says whether its rows allow that. Norms, biases and other
	// tensors of one dimension are not asked for: they stay f32, as llama.cpp needs them.
	Of func(Place) gguf.Type
	// Written says that models are quantized to it, for which About says in half a line what it is good. Without, it is
	// known from the models of others.
	Written bool
	About   string
}

const kind = "storage type or mix"

var mixes = registry.New[Mix](kind)

func register(m Mix) Mix { return mixes.Register(m.Name, m) }

// Get finds a mix by name, in any case. An unknown name is an error that lists the known ones.
func Get(name string) (Mix, error) {
	m, err := mixes.Get(strings.ToLower(name))
	if err != nil {
		return m, &registry.UnknownError{Kind: kind, Name: name, Known: mixes.Names()}
	}
	return m, nil
}

// ToWrite finds a mix that models are quantized to by name, in any case. An unknown name, or one of a type that can
// only be read, is an error that lists those that can be written.
func ToWrite(name string) (Mix, error) {
	name = strings.ToLower(name)
	m, err := mixes.Get(name)
	if err == nil && m.Written {
		return m, nil
	}
	var known []string
	for _, m := range Written() {
		known = append(known, m.Name)
	}
	base, _, mixed := strings.Cut(name, "_k_") // llama.cpp's q4_K_M and its like are mixes around q4_K
	if mixed {
		base += "_k"
	}
	if t, unknown := gguf.ParseType(base); unknown == nil {
		return Mix{}, fmt.Errorf("storage type %s is read, but cannot be written; those that can: %s; "+
			"llama.cpp's llama-quantize writes the others", t, strings.Join(known, ", "))
	}
	return Mix{}, &registry.UnknownError{Kind: "storage type", Name: name, Known: known}
}

// Written lists, by name, the mixes that models are quantized to.
func Written() []Mix {
	var out []Mix
	for _, m := range mixes.All() {
		if m.Written {
			out = append(out, m)
		}
	}
	return out
}

// Fit is the type that takes the place of one whose blocks do not fill rows of n elements, or the type itself: those
// that llama.cpp's quantizer takes (the end of llama_tensor_get_type in llama-quant.cpp). A type that is unknown is
// kept.
func Fit(t gguf.Type, n int64) gguf.Type {
	if t.BlockSize() == 0 || n%int64(t.BlockSize()) == 0 {
		return t
	}
	next := t
	switch t {
	case gguf.TQ1_0, gguf.TQ2_0:
		next = gguf.Q4_0
	case gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS, gguf.IQ3_S, gguf.IQ1_S, gguf.IQ1_M, gguf.Q2_K, gguf.Q3_K,
		gguf.IQ4_XS:
		next = gguf.IQ4_NL
	case gguf.Q4_K:
		next = gguf.Q5_0
	case gguf.Q5_K:
		next = gguf.Q5_1
	case gguf.Q6_K:
		next = gguf.Q8_0
	}
	if n%int64(next.BlockSize()) != 0 {
		return gguf.F16
	}
	return next
}
