package arch

import "github.com/ggtune/ggtune/engine/gguf"

// Qwen2 is Qwen 2 and 2.5 (llama.cpp's src/models/qwen2.cpp): as llama, with biases on q, k and v and rotary positions over
// the halves of a head.
var Qwen2 = register(Arch{
	Name:    "qwen2",
	HParams: func(f *gguf.File) (HParams, error) { return ropeHParams(f, true) },
	Global:  ropeGlobal,
	Layer:   qwen2Parts,
	Embed:   (*Builder).Embedding,
	Block:   llamaBlock,
	Final:   llamaFinal,
})

func qwen2Parts(hp HParams) []Part {
	parts := append(attentionParts(hp), swigluParts(hp)...)
	return append(parts, biases(parts, AttnQ, AttnK, AttnV)...)
}
