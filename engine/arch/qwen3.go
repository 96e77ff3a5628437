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
	q := b.Rope(b.RMSNorm(AttnQNorm, b.Linear(AttnQ, h, graph.None)), b.HP.NHead)
	k := b.Rope(b.RMSNorm(AttnKNorm, b.Linear(AttnK, h, graph.None)), b.HP.NHeadKV)
	v := b.Linear(AttnV, h, graph.None)
	o := b.Attention(q, k, v, 1/math.Sqrt(float64(b.HP.HeadDim)))
	return swiglu(b, b.Linear(AttnOutput, o, x))
}
