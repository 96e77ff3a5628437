package arch

import (
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// Llama is Llama 2 and 3, Mistral, TinyLlama, SmolLM and others of their shape (llama.cpp's src/models/llama.cpp): RMSNorm,
// rotary positions over adjacent pairs, grouped-query attention, SwiGLU.
var Llama = register(Arch{
	Name:    "llama",
	HParams: func(f *gguf.File) (HParams, error) { return ropeHParams(f, false) },
	Global:  ropeGlobal,
	Layer:   llamaParts,
	Embed:   (*Builder).Embedding,
	Block:   llamaBlock,
	Final:   llamaFinal,
})

func llamaParts(hp HParams) []Part {
	parts := append(attentionParts(hp), swigluParts(hp)...)
	return append(parts, biases(parts)...)
}

func llamaBlock(b *Builder, x graph.ID) graph.ID {
	h := b.RMSNorm(AttnNorm, x)
	qkv := b.Linears(h, AttnQ, AttnK, AttnV)
	q, k := b.Rope(qkv[0], b.HP.NHead), b.Rope(qkv[1], b.HP.NHeadKV)
	o := b.Attention(q, k, qkv[2], 1/math.Sqrt(float64(b.HP.HeadDim)))
	return swiglu(b, b.Linear(AttnOutput, o, x))
}

func llamaFinal(b *Builder, x graph.ID) graph.ID { return b.RMSNorm(OutputNorm, x) }

// swiglu adds the feed-forward half of a layer to x.
func swiglu(b *Builder, x graph.ID) graph.ID {
	h := b.RMSNorm(FFNNorm, x)
	in := b.Linears(h, FFNGate, FFNUp)
	return b.Linear(FFNDown, b.G.SwiGLU(in[0], in[1]), x)
}

// ropeGlobal lists the tensors outside the layers of a model with RMSNorm and rotary positions.
func ropeGlobal(hp HParams) []Part {
	embd, vocab := int64(hp.NEmbd), int64(hp.NVocab)
	return []Part{
		{Role: TokenEmbd, Suffix: ".weight", Shape: []int64{embd, vocab}, Linear: true},
		{Role: OutputNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: Output, Suffix: ".weight", Shape: []int64{embd, vocab}, Optional: true, Linear: true},
		{Role: RopeFreqs, Suffix: ".weight", Shape: []int64{int64(hp.Rope.Dim / 2)}, Optional: true},
	}
}

// attentionParts lists the matrices and norms of a layer's attention half.
func attentionParts(hp HParams) []Part {
	embd, q, kv := int64(hp.NEmbd), int64(hp.NHead*hp.HeadDim), int64(hp.NHeadKV*hp.HeadDim)
	return []Part{
		{Role: AttnNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: AttnQ, Suffix: ".weight", Shape: []int64{embd, q}, Linear: true},
		{Role: AttnK, Suffix: ".weight", Shape: []int64{embd, kv}, Linear: true},
		{Role: AttnV, Suffix: ".weight", Shape: []int64{embd, kv}, Linear: true},
		{Role: AttnOutput, Suffix: ".weight", Shape: []int64{q, embd}, Linear: true},
	}
}

func swigluParts(hp HParams) []Part {
	embd, ff := int64(hp.NEmbd), int64(hp.NFF)
	return []Part{
		{Role: FFNNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: FFNGate, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
	}
}

// biases lists an optional bias for each linear part, or for those of the roles given.
func biases(parts []Part, roles ...Role) []Part {
	var out []Part
	for _, p := range parts {
		if p.Linear && (len(roles) == 0 || slices.Contains(roles, p.Role)) {
			out = append(out, Part{Role: p.Role, Suffix: ".bias", Shape: p.Shape[1:], Optional: true})
		}
	}
	return out
}
