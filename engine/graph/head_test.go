package graph

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// A headInput is what Head and HeadGrad have in common.
type headInput struct {
	h, w, targets, h2, w2 []float64
	k, vocab, r           int
	scale, cap            float64
}

// capOf is a logit's place within a bound, and the derivative of what is there by what was; 0: no bound.
func capOf(l, bound float64) (y, slope float64) {
	if bound == 0 {
		return l, 1
	}
	th := math.Tanh(l / bound)
	return bound * th, 1 - th*th
}

func headOf(e *evaluator, h, w, targets, h2, w2 int) headInput {
	d := headInput{h: e.in(h), w: e.in(w), targets: e.in(targets), h2: e.in(h2), w2: e.in(w2)}
	d.k, d.vocab = e.dims(w)
	d.r, d.scale, d.cap = len(d.w2)/d.vocab, e.n.Attr.(HeadAttr).Scale, e.n.Attr.(HeadAttr).Cap
	return d
}

// softmax gives token i's logits, their derivatives by the products, its probabilities and the log-sum-exp.
func (d headInput) softmax(i int) (logits, slopes, p []float64, lse float64) {
	logits, slopes, p = make([]float64, d.vocab), make([]float64, d.vocab), make([]float64, d.vocab)
	sum := 0.0
	for v := range logits {
		for j := range d.k {
			logits[v] += d.h[i*d.k+j] * d.w[v*d.k+j]
		}
		for j := range d.r {
			logits[v] += d.h2[i*d.r+j] * d.w2[v*d.r+j]
		}
		logits[v], slopes[v] = capOf(logits[v], d.cap)
		logits[v] *= d.scale
		sum += math.Exp(logits[v])
	}
	for v, l := range logits {
		p[v] = math.Exp(l) / sum
	}
	return logits, slopes, p, math.Log(sum)
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

// entropyOf is that of probabilities.
func entropyOf(p []float64) float64 {
	sum := 0.0
	for _, x := range p {
		sum -= x * math.Log(x)
	}
	return sum
}

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

// slopes are the derivatives by a token's targets, with what the rest's adds; none where coef is nil.
func slopes(coef, logp []float64, n int) []float64 {
	if coef == nil {
		return nil
	}
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
		logits, by, p, lse := d.softmax(i)
		e.out(1)[i] = lse
		for j, t := range d.of(i, n) {
			e.out(0)[i*per+j] = logits[int(t)] - lse
		}
		if per > n {
			e.out(0)[i*per+n] = math.Log(restOf(p, d.of(i, n)))
		}
		entropy := entropyOf(p)
		if e.out(4) != nil {
			e.out(4)[i] = entropy
		}
		for v := range d.vocab {
			addRow(e.out(2), i, p[v]*by[v], d.w, v, d.k)
			addRow(e.out(3), i, p[v]*by[v], d.w2, v, d.r)
			lean := -p[v] * (math.Log(p[v]) + entropy) * by[v]
			addRow(e.out(5), i, lean, d.w, v, d.k)
			addRow(e.out(6), i, lean, d.w2, v, d.r)
		}
	}
})

// part gives token i's numbers of an input that may be absent.
func part(all []float64, i, per int) []float64 {
	if all == nil {
		return nil
	}
	return all[i*per : (i+1)*per]
}

var _ = meaning(HeadBack, func(e *evaluator) {
	k, vocab := e.dims(1)
	n, tokens := e.dims(2)
	a := e.n.Attr.(HeadAttr)
	per, r, scale := len(e.in(0))/tokens, len(e.in(4))/vocab, a.Scale
	for i := range tokens {
		var left []float64 // log-probabilities, where they say what the rest's derivative adds
		if a.WithRest {
			left = part(e.in(6), i, per)
		}
		for j, f := range slopes(part(e.in(0), i, per), left, n) {
			t, near := int(e.in(2)[i*n+j]), 1.0
			if a.Cap > 0 {
				y := (e.in(6)[i*per+j] + e.in(10)[i]) / scale / a.Cap
				near = 1 - y*y
			}
			addRow(e.out(0), i, scale*f*near, e.in(1), t, k)
			addRow(e.out(0), i, -scale*f, e.in(3), i, k)
			addRow(e.out(1), i, scale*f*near, e.in(4), t, r)
			addRow(e.out(1), i, -scale*f, e.in(5), i, r)
		}
		if g := e.in(7); g != nil {
			addRow(e.out(0), i, scale*g[i], e.in(8), i, k)
			addRow(e.out(1), i, scale*g[i], e.in(9), i, r)
		}
	}
})

var _ = meaning(HeadGrad, func(e *evaluator) {
	d := headOf(e, 0, 1, 2, 5, 6)
	n, tokens := e.dims(2)
	per := len(e.in(4)) / tokens
	for i := range tokens {
		_, bend, p, _ := d.softmax(i)
		by := make([]float64, d.vocab)
		for j, f := range slopes(part(e.in(4), i, per), part(e.in(7), i, per), n) {
			by[int(d.of(i, n)[j])] += f
			for v := range by {
				by[v] -= f * p[v]
			}
		}
		for v := range by {
			if g := e.in(8); g != nil {
				by[v] -= g[i] * p[v] * (math.Log(p[v]) + e.in(9)[i])
			}
			addRow(e.out(0), v, d.scale*by[v]*bend[v], d.h, i, d.k)
			addRow(e.out(1), v, d.scale*by[v]*bend[v], d.h2, i, d.r)
		}
	}
})

// pairedHead is a trained head with a second pair.
func pairedHead(g *Graph, name string, n, tokens int64, a HeadAttr) (logp, entropy ID) {
	h := x(g, 5, tokens)
	h2 := g.Linear(param(g, "a", 5, 2), h, None, None, 1)
	return g.Head(h, param(g, "w", 5, 7), bound(g, name, I32, n, tokens), h2, param(g, "b", 2, 7), a)
}

// frozenHead is one that is not trained.
func frozenHead(g *Graph, a HeadAttr) (logp, entropy ID) {
	return g.Head(x(g, 5, 3), weight(g, 5, 7), bound(g, "ids", I32, 1, 3), None, None, a)
}

var (
	_ = differences("head", func(g *Graph) ID {
		logp, _ := pairedHead(g, "ids", 1, 3, HeadAttr{WithMean: true, Scale: 1})
		return logp
	})
	_ = differences("head over a frozen weight, logits scaled", func(g *Graph) ID {
		logp, _ := frozenHead(g, HeadAttr{WithMean: true, Scale: 1.5})
		return logp
	})
	_ = differences("head with several targets and the rest, logits scaled", func(g *Graph) ID {
		logp, _ := pairedHead(g, "named", 3, 2, HeadAttr{WithMean: true, WithRest: true, Scale: 0.5})
		return logp
	})
	_ = differences("head with its entropy, logits scaled", func(g *Graph) ID { // each has slopes of its own
		return g.SwiGLU(pairedHead(g, "ids", 1, 3, HeadAttr{WithMean: true, WithEntropy: true, Scale: 0.75}))
	})
	_ = differences("head, logits bounded", func(g *Graph) ID {
		logp, _ := pairedHead(g, "ids", 1, 3, HeadAttr{WithMean: true, Scale: 1, Cap: 0.9})
		return logp
	})
	_ = differences("head with several targets and the rest, logits bounded and scaled", func(g *Graph) ID {
		logp, _ := pairedHead(g, "named", 3, 2, HeadAttr{WithMean: true, WithRest: true, Scale: 0.5, Cap: 1.2})
		return logp
	})
	_ = differences("head with its entropy, logits bounded and scaled", func(g *Graph) ID {
		return g.SwiGLU(pairedHead(g, "ids", 1, 3, HeadAttr{WithMean: true, WithEntropy: true, Scale: 0.75, Cap: 0.6}))
	})
	_ = differences("the entropy alone", func(g *Graph) ID {
		_, entropy := pairedHead(g, "ids", 1, 3, HeadAttr{WithMean: true, WithEntropy: true, Scale: 1.5})
		return entropy
	})
	_ = differences("the entropy over a frozen weight", func(g *Graph) ID {
		_, entropy := frozenHead(g, HeadAttr{WithMean: true, WithEntropy: true, Scale: 1})
		return entropy
	})
)

func TestHeadRefuses(t *testing.T) {
	for want, a := range map[string]HeadAttr{
		"not given together": {WithRest: true, WithEntropy: true, Scale: 1},
		"logits times 0":     {},
		"logits times -1":    {Scale: -1},
		"logits times NaN":   {Scale: math.NaN()},
		"logits times +Inf":  {Scale: math.Inf(1)},
	} {
		g := &Graph{}
		frozenHead(g, a)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
	g := &Graph{}
	g.HeadTop(x(g, 5, 3), weight(g, 5, 7), None, None, HeadTopAttr{N: 2})
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "logits times 0") {
		t.Errorf("the largest logits times 0: %v", err)
	}
}
