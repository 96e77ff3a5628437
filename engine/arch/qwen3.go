package arch

import (
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// Qwen3 is Qwen 3, dense (llama.cpp's src/models/qwen3.cpp): as qwen2 without the biases, each head of q and k normalised
// before it is rotated, and a head size of its own.
var Qwen3 = register(Arch{
	Name:    "qwen3",
	HParams: func(f *gguf.File) (HParams, error) { return ropeHParams(f, true) },
	Global:  ropeGlobal,
	Layer:   qwen3Parts,
	Embed:   (*Builder).Embedding,
	Block:   qwen3Block,
	Final:   llamaFinal,
})

func qwen3Parts(hp HParams) []Part {
	head := []int64{int64(hp.HeadDim)}
	parts := append(attentionParts(hp), swigluParts(hp)...)
	return append(parts,
		Part{Role: AttnQNorm, Suffix: ".weight", Shape: head},
		Part{Role: AttnKNorm, Suffix: ".weight", Shape: head})
}

func qwen3Block(b *Builder, x graph.ID) graph.ID {
	h := b.RMSNorm(AttnNorm, x)
	qkv := b.Linears(h, AttnQ, AttnK, AttnV)
	q := b.Rope(b.RMSNorm(AttnQNorm, qkv[0]), b.HP.NHead)
	k := b.Rope(b.RMSNorm(AttnKNorm, qkv[1]), b.HP.NHeadKV)
	o := b.Attention(q, k, qkv[2], 1/math.Sqrt(float64(b.HP.HeadDim)))
	return swiglu(b, b.Linear(AttnOutput, o, x))
}
