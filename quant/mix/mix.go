// Package mix decides in what storage type each tensor of a model is kept, from the tensor's place in the model. It
// knows neither weights nor how they are quantized.
package mix

import (
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/registry"
)

// A Mix decides the storage type of each matrix, as llama.cpp's quantizer does for a name such as Q4_K_M.
type Mix struct {
	Name string // llama.cpp's, in small letters: "q8_0", "q4_k_m"
	// FileType is llama.cpp's number for general.file_type (enum llama_ftype in llama.h).
	FileType uint32
	// Of gives the type that a matrix should have; Fit says whether its rows allow that. It is not asked for what is
	// kept (Place.Kept).
	Of    func(Place) gguf.Type
	About string // half a line on what it is good for
}

const kindOfMix = "storage type or mix"

var mixes = registry.New[Mix](kindOfMix)

func register(m Mix) Mix { return mixes.Register(m.Name, m) }

// Get finds a mix by name, in any case. An unknown name is an error that lists the known ones.
func Get(name string) (Mix, error) {
	m, err := mixes.Get(strings.ToLower(name))
	if err != nil {
		return m, &registry.UnknownError{Kind: kindOfMix, Name: name, Known: mixes.Names()}
	}
	return m, nil
}

// shorthands are llama.cpp's names for a family's usual mix.
var shorthands = map[string]string{"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}

// ToWrite is Get for what a user asks to have written: q4_K means q4_k_m, as it does to llama.cpp's tool.
func ToWrite(name string) (Mix, error) {
	if long, ok := shorthands[strings.ToLower(name)]; ok {
		name = long
	}
	return Get(name)
}

// All lists the mixes by name.
func All() []Mix { return mixes.All() }

// NeedsImportance says whether a matrix in type t would be worth nothing without an importance matrix (the loop over
// tensors in llama_model_quantize_impl of llama-quant.cpp).
func (m Mix) NeedsImportance(p Place, t gguf.Type) bool {
	table := p.Role == "token_embd"
	switch t {
	case gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ1_S:
		return true
	case gguf.IQ1_M:
		return !table && p.Role != "output"
	case gguf.Q2_K:
		return m.Name == "q2_k_s" && !table
	}
	return false
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
