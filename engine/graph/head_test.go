package graph

import (
	"math"
	"slices"
)

// A headInput is what Head and HeadGrad have in common.
type headInput struct {
	h, w, targets, h2, w2 []float64
	k, vocab, r           int
}

func headOf(e *evaluator, h, w, targets, h2, w2 int) headInput {
	d := headInput{h: e.in(h), w: e.in(w), targets: e.in(targets), h2: e.in(h2), w2: e.in(w2)}
	d.k, d.vocab = e.dims(w)
	d.r = len(d.w2) / d.vocab
	return d
}

// softmax gives token i's logits, its probabilities and the log-sum-exp.
func (d headInput) softmax(i int) (logits, p []float64, lse float64) {
	logits, p = make([]float64, d.vocab), make([]float64, d.vocab)
	sum := 0.0
	for v := range logits {
		for j := range d.k {
			logits[v] += d.h[i*d.k+j] * d.w[v*d.k+j]
		}
		for j := range d.r {
			logits[v] += d.h2[i*d.r+j] * d.w2[v*d.r+j]
		}
		sum += math.Exp(logits[v])
	}
	for v, l := range logits {
		p[v] = math.Exp(l) / sum
	}
	return logits, p, math.Log(sum)
}

// addRow adds f times row from of src to row to of dst, which may be absent.
func addRow(dst []float64, to int, f float64, src []float64, from, n int) {
	for j := range n {
		if dst != nil {
			dst[to*n+j] += f * src[from*n+j]
		}
	}
}

// of gives token i's targets; each token has n.
func (d headInput) of(i, n int) []float64 { return d.targets[i*n : (i+1)*n] }

// restOf is the probability that targets leave.
func restOf(p, targets []float64) float64 {
	left := 0.0
	for v := range p {
		if !slices.Contains(targets, float64(v)) {
			left += p[v]
		}
	}
	return left
}

// slopes are the derivatives by a token's targets, with what the rest's adds.
func slopes(coef, logp []float64, n int) []float64 {
	out := slices.Clone(coef[:n])
	for i := range out {
		if len(coef) > n {
			out[i] -= coef[n] * math.Exp(logp[i]-logp[n])
		}
	}
	return out
}

var _ = meaning(Head, func(e *evaluator) {
	d := headOf(e, 0, 1, 2, 3, 4)
	n, tokens := e.dims(2)
	per := len(e.out(0)) / tokens
	for i := range tokens {
		logits, p, lse := d.softmax(i)
		e.out(1)[i] = lse
		for j, t := range d.of(i, n) {
			e.out(0)[i*per+j] = logits[int(t)] - lse
		}
		if per > n {
			e.out(0)[i*per+n] = math.Log(restOf(p, d.of(i, n)))
		}
		for v := range d.vocab {
			addRow(e.out(2), i, p[v], d.w, v, d.k)
			addRow(e.out(3), i, p[v], d.w2, v, d.r)
		}
	}
})

var _ = meaning(HeadBack, func(e *evaluator) {
	k, vocab := e.dims(1)
	n, tokens := e.dims(2)
	per, r := len(e.in(0))/tokens, len(e.in(4))/vocab
	for i := range tokens {
		var logp []float64
		if per > n {
			logp = e.in(6)[i*per : (i+1)*per]
		}
		for j, f := range slopes(e.in(0)[i*per:(i+1)*per], logp, n) {
			t := int(e.in(2)[i*n+j])
			addRow(e.out(0), i, f, e.in(1), t, k)
			addRow(e.out(0), i, -f, e.in(3), i, k)
			addRow(e.out(1), i, f, e.in(4), t, r)
			addRow(e.out(1), i, -f, e.in(5), i, r)
		}
	}
})

var _ = meaning(HeadGrad, func(e *evaluator) {
	d := headOf(e, 0, 1, 2, 5, 6)
	n, tokens := e.dims(2)
	per := len(e.in(4)) / tokens
	for i := range tokens {
		var logp []float64
		if per > n {
			logp = e.in(7)[i*per : (i+1)*per]
		}
		_, p, _ := d.softmax(i)
		for j, f := range slopes(e.in(4)[i*per:(i+1)*per], logp, n) {
			for v := range d.vocab {
				g := -f * p[v]
				if v == int(d.of(i, n)[j]) {
					g += f
				}
				addRow(e.out(0), v, g, d.h, i, d.k)
				addRow(e.out(1), v, g, d.h2, i, d.r)
			}
		}
	}
})

var (
	_ = differences("head", func(g *Graph) ID {
		h := x(g, 5, 3)
		a := g.Linear(param(g, "a", 5, 2), h, None, None, 1)
		return g.Head(h, param(g, "w", 5, 7), bound(g, "ids", I32, 1, 3), a, param(g, "b", 2, 7),
			HeadAttr{WithMean: true})
	})
	_ = differences("head over a frozen weight", func(g *Graph) ID {
		return g.Head(x(g, 5, 3), weight(g, 5, 7), bound(g, "ids", I32, 1, 3), None, None, HeadAttr{WithMean: true})
	})
	_ = differences("head with several targets and the rest", func(g *Graph) ID {
		h := x(g, 5, 2)
		a := g.Linear(param(g, "a", 5, 2), h, None, None, 1)
		return g.Head(h, param(g, "w", 5, 7), bound(g, "named", I32, 3, 2), a, param(g, "b", 2, 7),
			HeadAttr{WithMean: true, WithRest: true})
	})
)
