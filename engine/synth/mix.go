package synth

import (
	"sort"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/registry"
)

// A Mix chooses a storage type for each matrix, as llama.cpp's quantizer does for a name such as Q4_K_M.
type Mix struct {
	Name     string // as llama.cpp writes it: "Q4_K_M"
	FileType uint32 // enum llama_ftype of llama.h
	Pick     func(Place) gguf.Type
}

// A Place is where a matrix stands.
type Place struct {
	Role   string
	Layer  int // -1 outside the layers
	Layers int
	In     int // elements a row
	GQA    int // heads per KV head
	Tied   bool
}

// fileTypes are the llama_ftype numbers of files that hold one type.
var fileTypes = map[gguf.Type]uint32{
	gguf.F32: 0, gguf.F16: 1, gguf.BF16: 32, gguf.Q4_0: 2, gguf.Q4_1: 3, gguf.Q8_0: 7, gguf.Q5_0: 8, gguf.Q5_1: 9,
	gguf.Q2_K: 10, gguf.Q3_K: 11, gguf.Q4_K: 14, gguf.Q5_K: 16, gguf.Q6_K: 18, gguf.IQ2_XXS: 19, gguf.IQ2_XS: 20,
	gguf.IQ3_XXS: 23, gguf.IQ1_S: 24, gguf.IQ4_NL: 25, gguf.IQ3_S: 26, gguf.IQ2_S: 28, gguf.IQ4_XS: 30, gguf.IQ1_M: 31,
	gguf.TQ1_0: 36, gguf.TQ2_0: 37, gguf.MXFP4: 38,
}

// fallback is the type llama.cpp's quantizer takes where rows are not a whole number of t's blocks (the end of
// llama_tensor_get_type in llama-quant.cpp). A type without one is kept, for Validate to refuse.
func fallback(t gguf.Type, row int) gguf.Type {
	if t.BlockSize() == 0 || row%t.BlockSize() == 0 {
		return t
	}
	next := t
	switch t {
	case gguf.TQ1_0, gguf.TQ2_0:
		next = gguf.Q4_0
	case gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS, gguf.IQ3_S, gguf.IQ1_S, gguf.IQ1_M, gguf.Q2_K, gguf.Q3_K, gguf.IQ4_XS:
		next = gguf.IQ4_NL
	case gguf.Q4_K:
		next = gguf.Q5_0
	case gguf.Q5_K:
		next = gguf.Q5_1
	case gguf.Q6_K:
		next = gguf.Q8_0
	}
	if row%next.BlockSize() != 0 {
		return gguf.F16
	}
	return next
}

// useMoreBits is llama-quant.cpp's choice of layers that keep a better type: the first and last eighth and every third
// between.
func useMoreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// llamaMix makes the Mix of a quantized base type: output (or the tied embedding) in Q6_K, or Q8_0 where rows do not fit;
// more says which other matrices take a better type. Source: llama_tensor_get_type in llama-quant.cpp.
func llamaMix(name string, ft uint32, base gguf.Type, more func(Place) (gguf.Type, bool)) Mix {
	return Mix{Name: name, FileType: ft, Pick: func(p Place) gguf.Type {
		if p.Role == Output || p.Tied && p.Role == TokenEmbd {
			switch {
			case p.In%base.BlockSize() != 0:
				return gguf.Q8_0
			case base != gguf.Q8_0:
				return gguf.Q6_K
			}
			return base
		}
		if more != nil {
			if t, ok := more(p); ok {
				return t
			}
		}
		return base
	}}
}

func plain(name string, t gguf.Type) Mix {
	return Mix{Name: name, FileType: fileTypes[t], Pick: func(Place) gguf.Type { return t }}
}

// moreBits is the rule of Q4_K_M and Q5_K_M; qkv is their type of fused attn_qkv.
func moreBits(qkv gguf.Type) func(Place) (gguf.Type, bool) {
	return func(p Place) (gguf.Type, bool) {
		switch p.Role {
		case AttnV, FFNDown:
			return gguf.Q6_K, useMoreBits(p.Layer, p.Layers)
		case AttnQKV:
			return qkv, true
		}
		return 0, false
	}
}

func q3KM(p Place) (gguf.Type, bool) {
	switch p.Role {
	case AttnV:
		if p.Layer < 2 {
			return gguf.Q5_K, true
		}
		return gguf.Q4_K, true
	case FFNDown:
		if p.Layer < p.Layers/16 {
			return gguf.Q5_K, true
		}
		return gguf.Q4_K, true
	case AttnOutput, AttnQKV:
		return gguf.Q4_K, true
	}
	return 0, false
}

func q2K(p Place) (gguf.Type, bool) {
	switch p.Role {
	case AttnV:
		if p.GQA >= 4 {
			return gguf.Q4_K, true
		}
		return gguf.Q3_K, true
	case FFNDown, AttnOutput:
		return gguf.Q3_K, true
	}
	return 0, false
}

func q4KS(p Place) (gguf.Type, bool) {
	return gguf.Q5_K, p.Role == AttnV && p.Layer < 4 || p.Role == FFNDown && p.Layer < p.Layers/8
}

func iq4(p Place) (gguf.Type, bool) {
	return gguf.Q5_K, p.Role == AttnV && p.GQA >= 4 || p.Role == FFNDown && p.Layer < p.Layers/8
}

var mixes = makeMixes()

func makeMixes() map[string]Mix {
	out := map[string]Mix{}
	for _, m := range []Mix{
		plain("F32", gguf.F32), plain("F16", gguf.F16), plain("BF16", gguf.BF16),
		llamaMix("Q4_0", 2, gguf.Q4_0, nil), llamaMix("Q4_1", 3, gguf.Q4_1, nil),
		llamaMix("Q5_0", 8, gguf.Q5_0, nil), llamaMix("Q5_1", 9, gguf.Q5_1, nil),
		llamaMix("Q8_0", 7, gguf.Q8_0, nil), llamaMix("Q6_K", 18, gguf.Q6_K, nil),
		llamaMix("Q2_K", 10, gguf.Q2_K, q2K), llamaMix("Q3_K_M", 12, gguf.Q3_K, q3KM),
		llamaMix("Q4_K_S", 14, gguf.Q4_K, q4KS), llamaMix("Q4_K_M", 15, gguf.Q4_K, moreBits(gguf.Q5_K)),
		llamaMix("Q5_K_S", 16, gguf.Q5_K, nil), llamaMix("Q5_K_M", 17, gguf.Q5_K, moreBits(gguf.Q6_K)),
		llamaMix("IQ4_NL", 25, gguf.IQ4_NL, iq4), llamaMix("IQ4_XS", 30, gguf.IQ4_XS, iq4),
	} {
		out[strings.ToLower(m.Name)] = m
	}
	return out
}

// MixNames lists the known mixes, sorted.
func MixNames() []string {
	var names []string
	for _, m := range mixes {
		names = append(names, m.Name)
	}
	sort.Strings(names)
	return names
}

// MixByName finds a mix by llama.cpp's name in any case: "Q4_K_M", "q8_0". The error lists the known ones.
func MixByName(name string) (Mix, error) {
	m, ok := mixes[strings.ToLower(name)]
	if !ok {
		return Mix{}, &registry.UnknownError{Kind: "storage type or mix", Name: name, Known: MixNames()}
	}
	return m, nil
}
