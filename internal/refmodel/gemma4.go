package refmodel

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/gguf"
)

// gemma4 has heads of one size in layers that see a window, and of another in those that see everything, which take for
// values what comes of the keys' matrix. Values have a mean square of 1, scores are not divided, and a layer may end
// with a product with one number.
var _ = register(Architecture{
	Name: "gemma4", Neox: true, Scaled: true, AlwaysFactors: true,
	Tensors: gemma4Tensors, Layer: gemma4Layer, Lists: gemma4Lists{},
	Keys: func(hp *HParams) map[string]any {
		return map[string]any{"attention.sliding_window": &hp.Window, "final_logit_softcapping": &hp.LogitCap,
			"attention.key_length_swa": &hp.Near.HeadDim, "attention.value_length_swa": &hp.Near.HeadDim,
			"rope.dimension_count_swa": &hp.Near.HeadDim, "rope.freq_base_swa": &hp.Near.Base}
	},
	Examples: []Example{
		{"gemma4", HParams{NLayer: 3, NEmbd: 32, NFF: 40, NHead: 4, NHeadKV: 1, HeadDim: 24, NVocab: 120,
			NCtxTrain: 128, NormEps: exampleEps, Window: 5, LogitCap: 2, Period: 3, Rope: exampleRope(24, true),
			Near: Near{NHeadKV: 2, HeadDim: 16, Base: 1000}}, func(string) bool { return true }},
		{"gemma4, tied, without constants", HParams{NLayer: 1, NEmbd: 24, NFF: 33, NHead: 2, NHeadKV: 2, HeadDim: 10,
			NVocab: 96, NCtxTrain: 128, NormEps: exampleEps, Window: 4, LogitCap: 30, Period: 1,
			Rope: exampleRope(10, true), Near: Near{NHeadKV: 1, HeadDim: 12, Base: 10000}}, nil},
	},
})

// gemma4At is what layer il is computed with.
func gemma4At(hp HParams, il int) (layer HParams, near bool) {
	hp.AttnScale = 1
	if (il+1)%hp.Period == 0 {
		hp.Window = 0
		return hp, false
	}
	hp.NHeadKV, hp.HeadDim = hp.Near.NHeadKV, hp.Near.HeadDim
	hp.Rope.Dim, hp.Rope.Base, hp.Rope.Scale = hp.HeadDim, hp.Near.Base, 1
	return hp, true
}

// gemma4Lists are the number of key heads and which layers see a window.
type gemma4Lists struct{}

func (gemma4Lists) write(hp HParams, set func(key string, v gguf.Value)) {
	var kv []int32
	var windows []bool
	for il := range hp.NLayer {
		at, near := gemma4At(hp, il)
		kv, windows = append(kv, int32(at.NHeadKV)), append(windows, near)
	}
	set("attention.head_count_kv", gguf.NumbersValue(kv))
	set("attention.sliding_window_pattern", gguf.BoolsValue(windows))
	set("attention.shared_kv_layers", gguf.NumberValue(uint32(0)))
	set("embedding_length_per_layer_input", gguf.NumberValue(uint32(0)))
}

func (gemma4Lists) read(hp *HParams, f *gguf.File) error {
	kv, err := f.Ints("gemma4.attention.head_count_kv")
	if err != nil {
		return err
	}
	windows, err := f.Bools("gemma4.attention.sliding_window_pattern")
	if err != nil {
		return err
	}
	last := slices.Index(windows, false)
	if last < 0 || len(windows) != hp.NLayer || len(kv) != hp.NLayer {
		return fmt.Errorf("%s: %d layers with windows in %v and key heads in %v", f.Path(), hp.NLayer, windows, kv)
	}
	hp.Period, hp.NHeadKV, hp.Near.NHeadKV = last+1, int(kv[last]), int(kv[0])
	return nil
}

func gemma4Tensors(hp HParams, il int) []Tensor {
	at, near := gemma4At(hp, il)
	list := family{QKNorm: "head", After: true}.tensors(at, il)
	if !near {
		list = slices.DeleteFunc(list, func(t Tensor) bool { return t.Name == tensorName(il, "attn_v", "weight") })
	}
	return append(list, Tensor{Name: tensorName(il, "layer_output_scale", "weight"), Rows: 1, Cols: 1, Optional: true})
}

func gemma4Layer(p *Pass, il int, x *node) *node {
	hp, near := gemma4At(p.model.HParams, il)
	role := func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	h := p.norm(x, role("attn_norm"))
	q, k := p.linear(h, role("attn_q")), p.linear(h, role("attn_k"))
	v, factors := k, p.model.Weights["rope_freqs.weight"].Data
	if near {
		v, factors = p.linear(h, role("attn_v")), nil
	}
	q = p.tape.rmsNorm(q, p.weight(role("attn_q_norm.weight")), hp.NormEps)
	k = p.tape.rmsNorm(k, p.weight(role("attn_k_norm.weight")), hp.NormEps)
	ones := p.tape.node(1, hp.HeadDim)
	for i := range ones.val.Data {
		ones.val.Data[i] = 1
	}
	v = p.tape.rmsNorm(v, ones, hp.NormEps)
	q, k = p.tape.rope(q, p.tree, hp, factors), p.tape.rope(k, p.tree, hp, factors)
	h = p.linear(p.tape.attention(q, k, v, p.tree, hp), role("attn_output"))
	x = p.tape.add(x, p.norm(h, role("post_attention_norm")))
	h = p.norm(x, role("ffn_norm"))
	h = p.tape.times(p.tape.gelu(p.linear(h, role("ffn_gate"))), p.linear(h, role("ffn_up")))
	x = p.tape.add(x, p.norm(p.linear(h, role("ffn_down")), role("post_ffw_norm")))
	if s := p.model.Weights[role("layer_output_scale.weight")]; s != nil {
		x = p.tape.divide(x, 1/s.Data[0])
	}
	return x
}
