package refmodel

import "math"

// Of six layers of gemma3 the last sees everything, of two of gemma2; the others see a window, in gemma3 at rotary
// positions of base 10000.
var _ = register(Architecture{
	Name: "gemma3", Neox: true, Scaled: true,
	Tensors: family{QKNorm: "head", After: true}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		if il%6 == 5 {
			hp.Window = 0
		} else if hp.Window > 0 {
			hp.Rope.Base, hp.Rope.Scale = 10000, 1
		}
		return family{GELU: true, QKNorm: "head"}.layerWith(p, hp, il, x)
	},
	Keys: func(hp *HParams) map[string]any {
		return map[string]any{"attention.sliding_window": &hp.Window, "final_logit_softcapping": &hp.LogitCap}
	},
	Examples: []Example{
		{"gemma3", HParams{NLayer: 6, NEmbd: 32, NFF: 56, NHead: 4, NHeadKV: 2, HeadDim: 24, NVocab: 150,
			NCtxTrain: 128, NormEps: exampleEps, Window: 5,
			Rope: Rope{Dim: 24, Base: 1e6, Scale: 0.125, Neox: true, AttnFactor: 1}}, nil},
		{"gemma3 untied, logits bounded", HParams{NLayer: 1, NEmbd: 48, NFF: 33, NHead: 2, NHeadKV: 1, HeadDim: 16,
			NVocab: 96, NCtxTrain: 128, NormEps: exampleEps, LogitCap: 2, Rope: exampleRope(16, true)},
			onlyOutput},
	},
})

// Of gemma-embedding a window goes to both sides, half of it to each.
var _ = register(Architecture{
	Name: "gemma-embedding", Neox: true, Scaled: true, Both: true, Headless: true,
	Tensors: family{QKNorm: "head", After: true}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		if il%6 == 5 {
			hp.Window = 0
		} else {
			hp.Window, hp.Rope.Base, hp.Rope.Scale = hp.Window/2+1, 10000, 1
		}
		return family{GELU: true, QKNorm: "head"}.layerWith(p, hp, il, x)
	},
	Keys: func(hp *HParams) map[string]any {
		return map[string]any{"attention.sliding_window": &hp.Window, "dense_2_feat_out": &hp.NDense,
			"dense_3_feat_in": &hp.NDense}
	},
	Examples: []Example{
		{"gemma-embedding", HParams{NLayer: 6, NEmbd: 32, NFF: 56, NHead: 4, NHeadKV: 2, HeadDim: 24, NVocab: 150,
			NCtxTrain: 128, NormEps: exampleEps, Window: 7, NDense: 44,
			Rope: Rope{Dim: 24, Base: 1e6, Scale: 0.125, Neox: true, AttnFactor: 1}}, nil},
		{"gemma-embedding, nothing behind the pooling", HParams{NLayer: 1, NEmbd: 48, NFF: 33, NHead: 2, NHeadKV: 1,
			HeadDim: 16, NVocab: 96, NCtxTrain: 128, NormEps: exampleEps, Window: 4, Rope: exampleRope(16, true)}, nil},
	},
})

var _ = register(Architecture{
	Name: "gemma2", Neox: true, Scaled: true, AlwaysTied: true,
	Tensors: family{After: true}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		if il%2 == 1 {
			hp.Window = 0
		}
		return family{GELU: true}.layerWith(p, hp, il, x)
	},
	Keys: func(hp *HParams) map[string]any {
		return map[string]any{"attention.sliding_window": &hp.Window, "attn_logit_softcapping": &hp.AttnCap,
			"final_logit_softcapping": &hp.LogitCap}
	},
	Examples: []Example{
		{"gemma2", HParams{NLayer: 3, NEmbd: 40, NFF: 51, NHead: 4, NHeadKV: 2, HeadDim: 16, NVocab: 150,
			NCtxTrain: 128, NormEps: exampleEps, Window: 6, AttnCap: 0.5, LogitCap: 1.5, Rope: exampleRope(16, true)},
			nil},
	},
})

// times gives a∘b.
func (t *tape) times(a, b *node) *node {
	y := t.node(a.val.Rows, a.val.Cols)
	for i, v := range a.val.Data {
		y.val.Data[i] = v * b.val.Data[i]
	}
	t.onBackward(func() {
		for i, d := range y.grad.Data {
			a.grad.Data[i] += d * b.val.Data[i]
			b.grad.Data[i] += d * a.val.Data[i]
		}
	})
	return y
}

// softcap gives bound·tanh(x/bound).
func (t *tape) softcap(x *node, bound float64) *node {
	y := t.node(x.val.Rows, x.val.Cols)
	for i, v := range x.val.Data {
		y.val.Data[i], _ = capped(v, bound)
	}
	t.onBackward(func() {
		for i, d := range y.grad.Data {
			_, slope := capped(x.val.Data[i], bound)
			x.grad.Data[i] += d * slope
		}
	})
	return y
}

// capped is bound·tanh(x/bound) and its derivative; a bound of 0 is none.
func capped(x, bound float64) (y, slope float64) {
	if bound == 0 {
		return x, 1
	}
	h := math.Tanh(x / bound)
	return bound * h, 1 - h*h
}
