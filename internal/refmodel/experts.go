package refmodel

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// A gateKind says how the logits of the chosen experts become their weights.
type gateKind int

const (
	gateSoftmax       gateKind = iota // the softmax over all experts
	gateSoftmaxChosen                 // that over the chosen ones
	gateSigmoid                       // of each for itself
)

// A gating is how experts are weighed.
type gating struct {
	Kind  gateKind
	Norm  bool    // weights are divided by their sum
	Scale float64 // of the weights; 0 stands for 1
}

// topK chooses for each row the k largest numbers, largest first.
func topK(m *Matrix, k int) [][]int {
	out := make([][]int, m.Rows)
	for t := range out {
		row, at := m.Row(t), make([]int, m.Cols)
		for i := range at {
			at[i] = i
		}
		slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(row[b], row[a]) })
		out[t] = at[:k]
	}
	return out
}

// gates gives the chosen experts' weights, a row a token, from the logits of all.
func (t *tape) gates(logits *node, chosen [][]int, g gating) *node {
	y := t.node(len(chosen), len(chosen[0]))
	scale := g.Scale
	if scale == 0 {
		scale = 1
	}
	slopes := make([]*Matrix, len(chosen)) // of a token's weights (rows) by its logits
	for r, at := range chosen {
		all := logits.val.Row(r)
		p, slope := make([]float64, len(at)), NewMatrix(len(at), len(all))
		seen := all
		if g.Kind == gateSoftmaxChosen {
			seen = nil
			for _, e := range at {
				seen = append(seen, all[e])
			}
		}
		z := logSumExp(seen)
		for j, e := range at {
			if g.Kind == gateSigmoid {
				p[j] = sigmoid(all[e])
				slope.Row(j)[e] = p[j] * (1 - p[j])
				continue
			}
			p[j] = math.Exp(all[e] - z)
			for o, l := range all {
				if g.Kind == gateSoftmax || slices.Contains(at, o) {
					slope.Row(j)[o] = -p[j] * math.Exp(l-z)
				}
			}
			slope.Row(j)[e] += p[j]
		}
		if g.Norm {
			p, slope = normalised(p, slope)
		}
		axpy(y.val.Row(r), scale, p)
		slopes[r] = slope
	}
	t.onBackward(func() {
		for r := range chosen {
			for j, d := range y.grad.Row(r) {
				axpy(logits.grad.Row(r), scale*d, slopes[r].Row(j))
			}
		}
	})
	return y
}

// normalised divides weights by their sum, and gives the slopes of what comes of it.
func normalised(p []float64, slope *Matrix) ([]float64, *Matrix) {
	sum, all := 0.0, make([]float64, slope.Cols)
	for j, v := range p {
		sum += v
		axpy(all, 1, slope.Row(j))
	}
	q, out := make([]float64, len(p)), NewMatrix(slope.Rows, slope.Cols)
	for j, v := range p {
		q[j] = v / sum
		axpy(out.Row(j), 1/sum, slope.Row(j))
		axpy(out.Row(j), -v/(sum*sum), all)
	}
	return q, out
}

// expertLinear gives scale·W_e x for each row x, e its expert, of n experts whose rows stand one behind the other in w.
func (t *tape) expertLinear(w, x *node, experts []int, n int, scale float64) *node {
	rows := w.val.Rows / n
	y := t.node(x.val.Rows, rows)
	for i, e := range experts {
		for r := range rows {
			y.val.Row(i)[r] = scale * dot(w.val.Row(e*rows+r), x.val.Row(i))
		}
	}
	t.onBackward(func() {
		for i, e := range experts {
			for r, dy := range y.grad.Row(i) {
				axpy(x.grad.Row(i), scale*dy, w.val.Row(e*rows+r))
				axpy(w.grad.Row(e*rows+r), scale*dy, x.val.Row(i))
			}
		}
	})
	return y
}

// mix adds up the rows of each token, times the token's weights.
func (t *tape) mix(x, weights *node) *node {
	k := weights.val.Cols
	y := t.node(weights.val.Rows, x.val.Cols)
	for i := range x.val.Rows {
		axpy(y.val.Row(i/k), weights.val.Row(i / k)[i%k], x.val.Row(i))
	}
	t.onBackward(func() {
		for i := range x.val.Rows {
			axpy(x.grad.Row(i), weights.val.Row(i / k)[i%k], y.grad.Row(i/k))
			weights.grad.Row(i / k)[i%k] += dot(y.grad.Row(i/k), x.val.Row(i))
		}
	})
	return y
}

// expertLinear multiplies each row by its expert's part of role.weight, adds its part of the LoRA pair and its bias
// where they exist.
func (p *Pass) expertLinear(x *node, experts []int, role string) *node {
	name, n := role+".weight", p.model.NExpert
	y := p.tape.expertLinear(p.weight(name), x, experts, n, 1)
	if a, b, scale := p.pair(name); a != nil {
		y = p.tape.add(y, p.tape.expertLinear(b, p.tape.expertLinear(a, x, experts, n, 1), experts, n, scale))
	}
	if bias := p.weight(role + ".bias"); bias != nil {
		y = p.tape.add(y, p.tape.rows(bias, experts))
	}
	return y
}

// experts is a feed-forward network of experts, of roles below "blk.N.", with act between its products.
func (p *Pass) experts(il int, h *node, g gating, act func(gate, up *node) *node) *node {
	role := func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	logits := p.linear(h, role("ffn_gate_inp"))
	chosen := topK(logits.val, p.model.NExpertUsed)
	weights := p.tape.gates(logits, chosen, g)
	var tokens, experts []int
	for t, at := range chosen {
		for _, e := range at {
			tokens, experts = append(tokens, t), append(experts, e)
		}
	}
	x := p.tape.rows(h, tokens)
	x = act(p.expertLinear(x, experts, role("ffn_gate_exps")), p.expertLinear(x, experts, role("ffn_up_exps")))
	y := p.tape.mix(p.expertLinear(x, experts, role("ffn_down_exps")), weights)
	if p.model.NFFShared > 0 {
		x = act(p.linear(h, role("ffn_gate_shexp")), p.linear(h, role("ffn_up_shexp")))
		y = p.tape.add(y, p.linear(x, role("ffn_down_shexp")))
	}
	return y
}

// expertTensors lists those of a layer's experts; biased says that each matrix has a bias.
func expertTensors(hp HParams, il int, biased bool) []Tensor {
	var list []Tensor
	add := func(role string, experts, rows, cols int) {
		list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: max(experts, 1) * rows, Cols: cols,
			Linear: true, Experts: experts})
		if biased {
			list = append(list, Tensor{Name: tensorName(il, role, "bias"), Rows: max(experts, 1), Cols: rows,
				Experts: experts})
		}
	}
	add("ffn_gate_inp", 0, hp.NExpert, hp.NEmbd)
	ff := hp.NFF
	if hp.NFFExp > 0 { // a key of its own
		ff = hp.NFFExp
	}
	add("ffn_gate_exps", hp.NExpert, ff, hp.NEmbd)
	add("ffn_up_exps", hp.NExpert, ff, hp.NEmbd)
	add("ffn_down_exps", hp.NExpert, hp.NEmbd, ff)
	if hp.NFFShared > 0 {
		add("ffn_gate_shexp", 0, hp.NFFShared, hp.NEmbd)
		add("ffn_up_shexp", 0, hp.NFFShared, hp.NEmbd)
		add("ffn_down_shexp", 0, hp.NEmbd, hp.NFFShared)
	}
	return list
}

// expertCounts are the metadata of experts.
func expertCounts(hp *HParams) map[string]any {
	return map[string]any{"expert_count": &hp.NExpert, "expert_used_count": &hp.NExpertUsed}
}

// expertKeys are expertCounts, and the key of an expert's inner width.
func expertKeys(hp *HParams) map[string]any {
	keys := expertCounts(hp)
	keys["expert_feed_forward_length"] = &hp.NFFExp
	return keys
}
