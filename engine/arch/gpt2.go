package arch

import (
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// GPT2 is GPT-2 (llama.cpp's src/models/gpt2.cpp): LayerNorm, learned positions, one matrix for q, k and v, GELU, biases.
var GPT2 = register(Arch{
	Name:    "gpt2",
	HParams: gpt2HParams,
	Global:  gpt2Global,
	Layer:   gpt2Parts,
	Embed:   gpt2Embed,
	Block:   gpt2Block,
	Final:   func(b *Builder, x graph.ID) graph.ID { return b.LayerNorm(OutputNorm, x) },
})

func gpt2Embed(b *Builder) graph.ID {
	return b.G.Add(b.Embedding(), b.G.Rows(b.Weight(PositionEmbd, ".weight"), b.Indices(InputPos, b.T)))
}

func gpt2Block(b *Builder, x graph.ID) graph.ID {
	embd, kv := int64(b.HP.NEmbd), int64(b.HP.NHeadKV*b.HP.HeadDim)
	qkv := b.Linear(AttnQKV, b.LayerNorm(AttnNorm, x), graph.None)
	q, k, v := b.G.Slice(qkv, 0, embd), b.G.Slice(qkv, embd, kv), b.G.Slice(qkv, embd+kv, kv)
	o := b.Attention(q, k, v, 1/math.Sqrt(float64(b.HP.HeadDim)))
	x = b.Linear(AttnOutput, o, x)
	return b.Linear(FFNDown, b.G.GELU(b.Linear(FFNUp, b.LayerNorm(FFNNorm, x), graph.None)), x)
}

func gpt2Global(hp HParams) []Part {
	embd, vocab := int64(hp.NEmbd), int64(hp.NVocab)
	return []Part{
		{Role: TokenEmbd, Suffix: ".weight", Shape: []int64{embd, vocab}, Linear: true},
		{Role: PositionEmbd, Suffix: ".weight", Shape: []int64{embd, int64(hp.NCtxTrain)}},
		{Role: OutputNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: OutputNorm, Suffix: ".bias", Shape: []int64{embd}},
		{Role: Output, Suffix: ".weight", Shape: []int64{embd, vocab}, Optional: true, Linear: true},
	}
}

func gpt2Parts(hp HParams) []Part {
	embd, ff, qkv := int64(hp.NEmbd), int64(hp.NFF), int64((hp.NHead+2*hp.NHeadKV)*hp.HeadDim)
	weights := []Part{
		{Role: AttnNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: AttnQKV, Suffix: ".weight", Shape: []int64{embd, qkv}, Linear: true},
		{Role: AttnOutput, Suffix: ".weight", Shape: []int64{embd, embd}, Linear: true},
		{Role: FFNNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
	}
	parts := weights
	for _, w := range weights { // every weight of a layer has its bias
		parts = append(parts, Part{Role: w.Role, Suffix: ".bias", Shape: w.Shape[len(w.Shape)-1:]})
	}
	return parts
}

func gpt2HParams(f *gguf.File) (HParams, error) {
	k := keys{f: f, arch: "gpt2"}
	hp := k.sizes()
	hp.NormEps = k.float("attention.layer_norm_epsilon", 0)
	return hp, k.err()
}
