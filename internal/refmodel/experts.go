package refmodel

import (
	"cmp"
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
