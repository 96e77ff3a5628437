package mix

import (
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

// The mixes of one type that is not quantized.
var (
	F32  = register(about(Single(gguf.F32), "no loss from f16 and bf16; what full-parameter training wants"))
	F16  = register(about(Single(gguf.F16), "half the size of f32, nearly without loss"))
	BF16 = register(about(Single(gguf.BF16), "half the size of f32, its range, fewer digits than f16"))
)

func about(m Mix, text string) Mix {
	m.About = text
	return m
}

// fileTypes are llama.cpp's numbers of files that hold one type.
var fileTypes = map[gguf.Type]uint32{
	gguf.F32: 0, gguf.F16: 1, gguf.BF16: 32, gguf.Q4_0: 2, gguf.Q4_1: 3, gguf.Q8_0: 7, gguf.Q5_0: 8, gguf.Q5_1: 9,
	gguf.Q2_K: 10, gguf.Q3_K: 11, gguf.Q4_K: 14, gguf.Q5_K: 16, gguf.Q6_K: 18, gguf.IQ2_XXS: 19, gguf.IQ2_XS: 20,
	gguf.IQ3_XXS: 23, gguf.IQ1_S: 24, gguf.IQ4_NL: 25, gguf.IQ3_S: 26, gguf.IQ2_S: 28, gguf.IQ4_XS: 30, gguf.IQ1_M: 31,
	gguf.TQ1_0: 36, gguf.TQ2_0: 37, gguf.MXFP4: 38,
}

// Single is the mix of one type for every matrix, the output too.
func Single(t gguf.Type) Mix {
	return Mix{Name: strings.ToLower(t.String()), FileType: fileTypes[t], Of: func(Place) gguf.Type { return t }}
}
