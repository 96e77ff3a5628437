package graph

import (
	"math"
	"slices"
	"sort"
	"testing"
)

var _ = meaning(TopK, func(e *evaluator) {
	experts, tokens := e.dims(0)
	k := int(e.n.Attr.(TopKAttr).K)
	for t := range tokens {
		order := make([]int, experts)
		for i := range order {
			order[i] = i
		}
		x := e.in(0)[t*experts:]
		sort.SliceStable(order, func(a, b int) bool { return x[order[a]] > x[order[b]] })
		for j := range k {
			e.out(0)[t*k+j] = float64(order[j])
		}
	}
})

var _ = meaning(Group, func(e *evaluator) {
	k, _ := e.dims(0)
	row := 0
	for expert := range e.n.Attr.(GroupAttr).Experts {
		for i, c := range e.in(0) {
			if c == float64(expert) {
				e.out(0)[i], e.out(1)[row] = float64(row), float64(i/k)
				row++
			}
		}
		e.out(2)[expert+1] = float64(row)
	}
})

// gates gives the p of a token's experts, those of the chosen, and what the weights are divided by.
func gates(a GatingAttr, x, chosen []float64) (p []float64, sum float64) {
	p = make([]float64, len(x))
	all := 0.0
	for i, v := range x {
		switch {
		case a.Kind == GateSigmoid:
			p[i] = 1 / (1 + math.Exp(-v))
		case a.Kind == GateSoftmax || slices.Contains(chosen, float64(i)):
			p[i] = math.Exp(v)
		}
		all += p[i]
	}
	if a.Kind != GateSigmoid {
		for i := range p {
			p[i] /= all
		}
	}
	if !a.Norm {
		return p, 1
	}
	for _, c := range chosen {
		sum += p[int(c)]
	}
	return p, sum
}

var _ = meaning(Gating, func(e *evaluator) {
	experts, tokens := e.dims(0)
	k, _ := e.dims(1)
	a := e.n.Attr.(GatingAttr)
	for t := range tokens {
		chosen := e.in(1)[t*k:][:k]
		p, sum := gates(a, e.in(0)[t*experts:][:experts], chosen)
		for j, c := range chosen {
			e.out(0)[t*k+j] = a.Scale * p[int(c)] / sum
		}
	}
})

// The sum over j of d(w_j)·∂w_j/∂x_i, by the quotient rule for each pair.
var _ = meaning(GatingBack, func(e *evaluator) {
	experts, tokens := e.dims(0)
	k, _ := e.dims(1)
	a := e.n.Attr.(GatingAttr)
	for t := range tokens {
		x, chosen := e.in(0)[t*experts:][:experts], e.in(1)[t*k:][:k]
		p, sum := gates(a, x, chosen)
		slope := func(c, i int) float64 { // ∂p_c/∂x_i
			switch {
			case a.Kind == GateSigmoid && c == i:
				return p[c] * (1 - p[c])
			case a.Kind == GateSigmoid:
				return 0
			case c == i:
				return p[c] * (1 - p[c])
			}
			return -p[c] * p[i]
		}
		for i := range experts {
			whole := 0.0
			for _, c := range chosen {
				whole += slope(int(c), i)
			}
			if !a.Norm {
				whole = 0
			}
			for j, c := range chosen {
				d := slope(int(c), i)/sum - p[int(c)]*whole/sum/sum
				e.out(0)[t*experts+i] += a.Scale * e.in(2)[t*k+j] * d
			}
		}
	}
})

var _ = meaning(Gather, func(e *evaluator) {
	k, _ := e.dims(0)
	for r, t := range e.in(1) {
		copy(e.out(0)[r*k:][:k], e.in(0)[int(t)*k:])
	}
})

var _ = meaning(Combine, func(e *evaluator) {
	k, _ := e.dims(0)
	for r, t := range e.in(2) {
		for i := range k {
			e.out(0)[int(t)*k+i] += e.in(0)[r*k+i]
		}
	}
})

var _ = meaning(Weigh, func(e *evaluator) {
	k, _ := e.dims(0)
	for c, r := range e.in(2) {
		for i := range k {
			e.out(0)[int(r)*k+i] = e.in(1)[c] * e.in(0)[int(r)*k+i]
		}
	}
})

var _ = meaning(WeighBack, func(e *evaluator) {
	k, _ := e.dims(0)
	for c, r := range e.in(2) {
		for i := range k {
			at := int(r)*k + i
			e.out(0)[at] = e.in(1)[c] * e.in(3)[at]
			e.out(1)[c] += e.in(0)[at] * e.in(3)[at]
		}
	}
})

var _ = meaning(WeighedBias, func(e *evaluator) {
	n, _ := e.dims(0)
	k, _ := e.dims(1)
	for c, expert := range e.in(2) {
		for i := range n {
			e.out(0)[c/k*n+i] += e.in(1)[c] * e.in(0)[int(expert)*n+i]
		}
	}
})

var _ = meaning(WeighedBiasBack, func(e *evaluator) {
	n, _ := e.dims(0)
	k, _ := e.dims(1)
	for c, expert := range e.in(1) {
		for i := range n {
			e.out(0)[c] += e.in(0)[int(expert)*n+i] * e.in(2)[c/k*n+i]
		}
	}
})

var _ = meaning(WeighedBiasGrad, func(e *evaluator) {
	k, _ := e.dims(0)
	n, _ := e.dims(2)
	for c, expert := range e.in(1) {
		for i := range n {
			e.out(0)[int(expert)*n+i] += e.in(0)[c] * e.in(2)[c/k*n+i]
		}
	}
})

// ofExperts calls f for each row with its expert.
func ofExperts(starts []float64, f func(expert, row int)) {
	for e := range len(starts) - 1 {
		for r := int(starts[e]); r < int(starts[e+1]); r++ {
			f(e, r)
		}
	}
}

var _ = meaning(Experts, func(e *evaluator) {
	s := e.n.Attr.(LinearAttr).Scale
	k, n := e.dims(0)
	ofExperts(e.in(3), func(x, r int) {
		for o := range n {
			for i := range k {
				e.out(0)[r*n+o] += s * e.in(0)[(x*n+o)*k+i] * e.in(1)[r*k+i]
			}
			if e.in(2) != nil {
				e.out(0)[r*n+o] += e.in(2)[x*n+o]
			}
		}
	})
})

var _ = meaning(ExpertsT, func(e *evaluator) {
	s := e.n.Attr.(LinearAttr).Scale
	k, n := e.dims(0)
	ofExperts(e.in(2), func(x, r int) {
		for o := range n {
			for i := range k {
				e.out(0)[r*k+i] += s * e.in(0)[(x*n+o)*k+i] * e.in(1)[r*n+o]
			}
		}
	})
})

var _ = meaning(ExpertsOuter, func(e *evaluator) {
	s := e.n.Attr.(LinearAttr).Scale
	k, _ := e.dims(0)
	n, _ := e.dims(1)
	ofExperts(e.in(2), func(x, r int) {
		for o := range n {
			for i := range k {
				e.out(0)[(x*n+o)*k+i] += s * e.in(0)[r*k+i] * e.in(1)[r*n+o]
			}
		}
	})
})

var _ = meaning(ExpertsBiasGrad, func(e *evaluator) {
	n, _ := e.dims(0)
	ofExperts(e.in(1), func(x, r int) {
		for o := range n {
			e.out(0)[x*n+o] += e.in(0)[r*n+o]
		}
	})
})

// matrices is a trained weight of several matrices.
func matrices(g *Graph, name string, k, n, experts int64) ID {
	return g.Bound(Value{Name: name, Kind: Param, Type: F32, Shape: Shape{k, n, experts}, Ref: None})
}

// mixture is a network of 4 experts of which each token has 2.
func mixture(a GatingAttr) func(g *Graph) ID {
	return func(g *Graph) ID {
		const embd, ff, experts = 5, 3, 4
		x := x(g, embd, 6)
		logits := g.Linear(param(g, "router", embd, experts), x, param(g, "router_bias", experts, 1), None, 1)
		chosen := g.TopK(logits, 2)
		of, w := g.Group(chosen, experts), g.Gating(logits, chosen, a)
		in := g.Gather(x, of)
		gate := g.Experts(matrices(g, "gate", embd, ff, experts), in, param(g, "gate_bias", ff, experts), of, None, 1)
		up := g.Experts(matrices(g, "up", embd, ff, experts), in, None, of, gate, -0.7)
		down := matrices(g, "down", ff, embd, experts)
		y := g.Combine(g.Experts(down, g.Weigh(g.SwiGLU(gate, up), w, of), None, of, None, 1), of, x)
		return g.WeighedBias(param(g, "down_bias", embd, experts), w, chosen, y)
	}
}

var (
	_ = differences("experts, softmax", mixture(GatingAttr{Kind: GateSoftmax, Scale: 1}))
	_ = differences("experts, softmax, norm", mixture(GatingAttr{Kind: GateSoftmax, Norm: true, Scale: 1.5}))
	_ = differences("experts, softmax of the chosen", mixture(GatingAttr{Kind: GateSoftmaxChosen, Scale: 1}))
	_ = differences("experts, sigmoid, norm", mixture(GatingAttr{Kind: GateSigmoid, Norm: true, Scale: 2.5}))
)

// TestExpertsKeepLittle: beside the router's numbers a layer keeps what gate and up give, and no more: neither gathered
// rows nor what comes of down.
func TestExpertsKeepLittle(t *testing.T) {
	f := &Graph{}
	f.Output(mixture(GatingAttr{Kind: GateSoftmax, Scale: 1})(f))
	b, err := Differentiate(f, []ID{f.Find(Input, "x")}, true)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]int{}
	for _, id := range b.Keep {
		kept[f.Nodes[f.Producer(id)].Op.Name]++
	}
	for name, n := range kept {
		if want := map[string]int{"linear": 1, "top_k": 1, "group": 3, "experts": 2}[name]; n > want {
			t.Errorf("%d values of %s are kept, want %d at most", n, name, want)
		}
	}
	if kept["experts"] != 2 {
		t.Errorf("kept: %v", kept)
	}
}
