package refmodel

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/gguf"
)

// lfm2 has qwen3's layers where it attends, the last of each period; the others convolve.
var _ = register(Architecture{
	Name: "lfm2", Neox: true, LastNorm: "token_embd_norm",
	Tensors: lfm2Tensors, Layer: lfm2Layer, Lists: lfm2Lists{},
	Keys: func(hp *HParams) map[string]any { return map[string]any{"shortconv.l_cache": &hp.LCache} },
	Examples: []Example{
		{"lfm2", HParams{NLayer: 3, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 120, NCtxTrain: 128,
			NormEps: exampleEps, LCache: 3, Period: 3, Rope: exampleRope(12, true)}, onlyOutput},
		{"lfm2, tied, longer convolutions", HParams{NLayer: 2, NEmbd: 20, NFF: 33, NHead: 2, NHeadKV: 2, HeadDim: 10,
			NVocab: 96, NCtxTrain: 128, NormEps: exampleEps, LCache: 5, Period: 2, Rope: exampleRope(10, true)}, nil},
	},
})

func (hp HParams) attends(il int) bool { return (il+1)%hp.Period == 0 }

// lfm2Lists are the numbers of key heads, 0 in layers that convolve.
type lfm2Lists struct{}

func (lfm2Lists) write(hp HParams, set func(key string, v gguf.Value)) {
	kv := make([]int32, hp.NLayer)
	for il := range kv {
		if hp.attends(il) {
			kv[il] = int32(hp.NHeadKV)
		}
	}
	set("attention.head_count_kv", gguf.NumbersValue(kv))
}

func (lfm2Lists) read(hp *HParams, f *gguf.File) error {
	kv, err := f.Ints("lfm2.attention.head_count_kv")
	if err != nil {
		return err
	}
	last := slices.IndexFunc(kv, func(n int64) bool { return n > 0 })
	if last < 0 || len(kv) != hp.NLayer {
		return fmt.Errorf("%s: key heads of %d layers are %v", f.Path(), hp.NLayer, kv)
	}
	hp.Period, hp.NHeadKV = last+1, int(kv[last])
	return nil
}

func lfm2Tensors(hp HParams, il int) []Tensor {
	list := family{QKNorm: "head"}.tensors(hp, il)
	if hp.attends(il) {
		return list
	}
	of := func(role string, rows, cols int, linear bool) Tensor {
		return Tensor{Name: tensorName(il, "shortconv."+role, "weight"), Rows: rows, Cols: cols, Linear: linear}
	}
	list = slices.DeleteFunc(list, func(t Tensor) bool {
		return slices.ContainsFunc([]string{"attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm"},
			func(role string) bool { return t.Name == tensorName(il, role, "weight") })
	})
	return slices.Insert(list, 1, of("in_proj", 3*hp.NEmbd, hp.NEmbd, true), of("conv", hp.NEmbd, hp.LCache, false),
		of("out_proj", hp.NEmbd, hp.NEmbd, true))
}

func lfm2Layer(p *Pass, il int, x *node) *node {
	hp := p.model.HParams
	if hp.attends(il) {
		return family{QKNorm: "head"}.layer(p, il, x)
	}
	role := func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	in := p.linear(p.norm(x, role("attn_norm")), role("shortconv.in_proj"))
	part := func(i int) *node { return p.tape.slice(in, i*hp.NEmbd, hp.NEmbd) }
	h := p.tape.conv(p.tape.times(part(0), part(2)), p.weight(role("shortconv.conv.weight")), p.tree)
	x = p.tape.add(x, p.linear(p.tape.times(part(1), h), role("shortconv.out_proj")))
	h = p.norm(x, role("ffn_norm"))
	h = p.tape.swiglu(p.linear(h, role("ffn_gate")), p.linear(h, role("ffn_up")))
	return p.tape.add(x, p.linear(h, role("ffn_down")))
}

// conv gives, for each column, the sum of its numbers at a token and at those before it in its branch, times the
// column's row of w, whose last number is the token's own.
func (t *tape) conv(x, w *node, tr *tree) *node {
	y := t.node(x.val.Rows, x.val.Cols)
	each := func(f func(at, from, tap int)) {
		for at := range x.val.Rows {
			for tap, from := w.val.Cols-1, at; tap >= 0 && from >= 0; tap, from = tap-1, tr.prev[from] {
				f(at, from, tap)
			}
		}
	}
	each(func(at, from, tap int) {
		for c := range x.val.Cols {
			y.val.Row(at)[c] += w.val.Row(c)[tap] * x.val.Row(from)[c]
		}
	})
	t.onBackward(func() {
		each(func(at, from, tap int) {
			for c, d := range y.grad.Row(at) {
				x.grad.Row(from)[c] += d * w.val.Row(c)[tap]
				w.grad.Row(c)[tap] += d * x.val.Row(from)[c]
			}
		})
	})
	return y
}
