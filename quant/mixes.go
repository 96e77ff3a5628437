package quant

import "github.com/ggtune/ggtune/engine/gguf"

// The plain mixes: one type for every matrix. llama.cpp's numbers are LLAMA_FTYPE_ALL_F32, MOSTLY_F16, MOSTLY_Q8_0 and
// MOSTLY_BF16.
var (
	F32  = register(Mix{Name: "f32", FileType: 0, About: "no loss from f16 and bf16; what full-parameter training wants", Of: one(gguf.F32)})
	F16  = register(Mix{Name: "f16", FileType: 1, About: "half the size of f32, nearly without loss", Of: one(gguf.F16)})
	BF16 = register(Mix{Name: "bf16", FileType: 32, About: "half the size of f32, its range, fewer digits than f16", Of: one(gguf.BF16)})
	Q80  = register(Mix{Name: "q8_0", FileType: 7, About: "8.5 bits a weight, close to f16", Of: q80})
)

func one(t gguf.Type) func(int64) gguf.Type { return func(int64) gguf.Type { return t } }

// q80 falls back to f16 where rows are not whole blocks, as llama.cpp's own quantizer does.
func q80(rowElements int64) gguf.Type {
	if rowElements%int64(gguf.Q8_0.BlockSize()) != 0 {
		return gguf.F16
	}
	return gguf.Q8_0
}
