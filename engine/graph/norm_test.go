package graph

import "math"

// A normal is a run of numbers brought to a mean square of 1, and to a mean of 0 first where centred.
type normal struct {
	at  int // the run's first element
	hat []float64
	inv float64 // 1/√(variance + eps)
}

// normals cuts x into runs of n numbers.
func normals(e *evaluator, n int, centred bool) []normal {
	var out []normal
	for r, x := 0, e.in(0); r < len(x); r += n {
		run := x[r : r+n]
		mean, ms := 0.0, 0.0
		if centred {
			for _, v := range run {
				mean += v / float64(n)
			}
		}
		for _, v := range run {
			ms += (v - mean) * (v - mean) / float64(n)
		}
		h := normal{at: r, hat: make([]float64, n), inv: 1 / math.Sqrt(ms+e.n.Attr.(NormAttr).Eps)}
		for i, v := range run {
			h.hat[i] = (v - mean) * h.inv
		}
		out = append(out, h)
	}
	return out
}

// normWeights are a norm's weights, which may all be 1.
func normWeights(e *evaluator) []float64 {
	if w := e.in(1); w != nil {
		return w
	}
	ones := make([]float64, e.n.Attr.(NormAttr).Run)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}

// normForward is x̂∘w + b.
func normForward(e *evaluator, centred bool, b []float64) {
	w := normWeights(e)
	for _, h := range normals(e, len(w), centred) {
		for i, v := range h.hat {
			e.out(0)[h.at+i] = v * w[i]
			if b != nil {
				e.out(0)[h.at+i] += b[i]
			}
		}
	}
}

// normBack is the chain rule through the normalised value.
func normBack(e *evaluator, centred bool) {
	w, dy := normWeights(e), e.in(2)
	n := float64(len(w))
	for _, h := range normals(e, len(w), centred) {
		dot, sum := 0.0, 0.0
		for i, v := range h.hat {
			d := dy[h.at+i] * w[i]
			dot += d * v / n
			if centred {
				sum += d / n
			}
		}
		for i, v := range h.hat {
			e.out(0)[h.at+i] += h.inv * (dy[h.at+i]*w[i] - sum - v*dot)
		}
	}
}

// normGrad is Σ dy∘x̂, and Σ dy for a bias.
func normGrad(e *evaluator, centred bool, db []float64) {
	for _, h := range normals(e, len(e.out(0)), centred) {
		for i, v := range h.hat {
			e.out(0)[i] += e.in(1)[h.at+i] * v
			if db != nil {
				db[i] += e.in(1)[h.at+i]
			}
		}
	}
}

var (
	_ = meaning(RMSNorm, func(e *evaluator) { normForward(e, false, nil) })
	_ = meaning(RMSNormBack, func(e *evaluator) { normBack(e, false) })
	_ = meaning(RMSNormGrad, func(e *evaluator) { normGrad(e, false, nil) })
	_ = meaning(LayerNorm, func(e *evaluator) { normForward(e, true, e.in(2)) })
	_ = meaning(LayerNormBack, func(e *evaluator) { normBack(e, true) })
	_ = meaning(LayerNormGrad, func(e *evaluator) { normGrad(e, true, e.out(1)) })
)

var (
	_ = differences("rms_norm, rows", func(g *Graph) ID { return g.RMSNorm(x(g, 6, 3), param(g, "w", 6, 1), 1e-5) })
	_ = differences("rms_norm, heads", func(g *Graph) ID { return g.RMSNorm(x(g, 6, 3), param(g, "w", 3, 1), 1e-5) })
	_ = differences("rms_norm, without a weight", func(g *Graph) ID { return g.Unit(g.GELU(x(g, 6, 3)), 3, 1e-5) })
	_ = differences("layer_norm", func(g *Graph) ID {
		return g.LayerNorm(x(g, 6, 3), param(g, "w", 6, 1), param(g, "b", 6, 1), 1e-5)
	})
	_ = differences("layer_norm without bias",
		func(g *Graph) ID { return g.LayerNorm(x(g, 6, 3), param(g, "w", 6, 1), None, 1e-5) })
)
