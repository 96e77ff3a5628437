package graph

import "math"

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

var _ = meaning(Head, func(e *evaluator) {
	d := headOf(e, 0, 1, 2, 3, 4)
	for i, t := range d.targets {
		logits, p, lse := d.softmax(i)
		e.out(0)[i], e.out(1)[i] = logits[int(t)]-lse, lse
		for v := range d.vocab {
			addRow(e.out(2), i, p[v], d.w, v, d.k)
			addRow(e.out(3), i, p[v], d.w2, v, d.r)
		}
	}
})

var _ = meaning(HeadBack, func(e *evaluator) {
	k, vocab := e.dims(1)
	coef, r := e.in(0), len(e.in(4))/vocab
	for i, t := range e.in(2) {
		addRow(e.out(0), i, coef[i], e.in(1), int(t), k)
		addRow(e.out(0), i, -coef[i], e.in(3), i, k)
		addRow(e.out(1), i, coef[i], e.in(4), int(t), r)
		addRow(e.out(1), i, -coef[i], e.in(5), i, r)
	}
})

var _ = meaning(HeadGrad, func(e *evaluator) {
	d := headOf(e, 0, 1, 2, 5, 6)
	for i, t := range d.targets {
		_, p, _ := d.softmax(i)
		for v := range d.vocab {
			g := -p[v]
			if v == int(t) {
				g++
			}
			addRow(e.out(0), v, g*e.in(4)[i], d.h, i, d.k)
			addRow(e.out(1), v, g*e.in(4)[i], d.h2, i, d.r)
		}
	}
})

var (
	_ = differences("head", func(g *Graph) ID {
		h := x(g, 5, 3)
		a := g.Linear(param(g, "a", 5, 2), h, None, None, 1)
		return g.Head(h, param(g, "w", 5, 7), bound(g, "ids", I32, 1, 3), a, param(g, "b", 2, 7), true)
	})
	_ = differences("head over a frozen weight", func(g *Graph) ID {
		return g.Head(x(g, 5, 3), weight(g, 5, 7), bound(g, "ids", I32, 1, 3), None, None, true)
	})
)
