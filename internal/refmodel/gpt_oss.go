package refmodel

import (
	"fmt"
	"math"
)

// Every other layer sees a window, each head has a sink, and each matrix a bias; the experts are chosen first and
// weighed among themselves.
var _ = register(Architecture{
	Name: "gpt-oss", Neox: true, AlwaysUntied: true,
	Keys: func(hp *HParams) map[string]any {
		keys := expertKeys(hp)
		keys["attention.sliding_window"] = &hp.Window
		return keys
	},
	Tensors: gptOSSTensors,
	Layer:   gptOSSLayer,
	Examples: []Example{
		{"gpt-oss", HParams{NLayer: 2, NEmbd: 36, NFF: 33, NHead: 4, NHeadKV: 2, HeadDim: 16, NVocab: 150,
			NCtxTrain: 128, NormEps: exampleEps, Window: 5, NExpert: 5, NExpertUsed: 2, NFFExp: 33,
			Rope: Rope{Dim: 16, Neox: true, Base: 1000, Scale: 0.25, Yarn: true, CtxOrig: 8, AttnFactor: 1}},
			onlyOutput},
	},
})

var gptOSS = family{NoBefore: true, Must: true, Biased: func(string) bool { return true },
	Experts: &gating{Kind: gateSoftmaxChosen}}

func gptOSSTensors(hp HParams, il int) []Tensor {
	vector := func(role string, n int) Tensor {
		return Tensor{Name: tensorName(il, role, "weight"), Rows: 1, Cols: n}
	}
	return append(gptOSS.tensors(hp, il), vector("attn_norm", hp.NEmbd), vector("post_attention_norm", hp.NEmbd),
		vector("attn_sinks", hp.NHead))
}

func gptOSSLayer(p *Pass, il int, x *node) *node {
	hp, role := p.model.HParams, func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	if il%2 == 1 {
		hp.Window = 0
	}
	x = p.tape.add(x, gptOSS.attend(p, hp, role, p.norm(x, role("attn_norm"))))
	h := p.norm(x, role("post_attention_norm"))
	return p.tape.add(x, p.experts(il, h, *gptOSS.Experts, p.tape.clampedSwiGLU))
}

// clampedSwiGLU gives x·σ(1.702·x)·(y + 1), of x = min(gate, 7) and y = up within ±7.
func (t *tape) clampedSwiGLU(gate, up *node) *node {
	const alpha, limit = 1.702, 7
	out := t.node(gate.val.Rows, gate.val.Cols)
	within := func(i int) (x, y float64) {
		return min(gate.val.Data[i], limit), math.Max(-limit, math.Min(limit, up.val.Data[i]))
	}
	for i := range out.val.Data {
		x, y := within(i)
		out.val.Data[i] = x * sigmoid(alpha*x) * (y + 1)
	}
	t.onBackward(func() {
		for i, d := range out.grad.Data {
			x, y := within(i)
			s := sigmoid(alpha * x)
			if x == gate.val.Data[i] {
				gate.grad.Data[i] += d * (y + 1) * (s + alpha*x*s*(1-s))
			}
			if y == up.val.Data[i] {
				up.grad.Data[i] += d * x * s
			}
		}
	})
	return out
}
