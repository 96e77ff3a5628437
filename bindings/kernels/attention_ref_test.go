package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"unsafe"
)

// A treeSeg is one segment of a test's tree.
type treeSeg struct{ start, end, parent int }

// treeArg is the tree as an argument; the call borrows data.
func treeArg(segs []treeSeg) Arg {
	data := []int32{int32(len(segs))}
	for _, s := range segs {
		data = append(data, int32(s.start), int32(s.end), int32(s.parent))
	}
	return Matrix(unsafe.Pointer(&data[0]), I32, int64(len(data)), 1, int64(len(data))*4)
}

// treeOf makes consecutive segments from pairs of length and parent.
func treeOf(pairs ...int) []treeSeg {
	var segs []treeSeg
	at := 0
	for i := 0; i < len(pairs); i += 2 {
		segs = append(segs, treeSeg{at, at + pairs[i], pairs[i+1]})
		at += pairs[i]
	}
	return segs
}

func treeTokens(segs []treeSeg) int {
	if len(segs) == 0 {
		return 0
	}
	return segs[len(segs)-1].end
}

// randomTree makes up to maxSegs segments of up to maxLen tokens, empty ones among them, below any earlier one or none.
func randomTree(r *rand.Rand, maxSegs, maxLen int) []treeSeg {
	var pairs []int
	for s := range 1 + r.IntN(maxSegs) {
		pairs = append(pairs, r.IntN(maxLen+1), r.IntN(s+1)-1)
	}
	return treeOf(pairs...)
}

// positions are the tokens': a segment's go on from its parent's.
func positions(segs []treeSeg) []int {
	var out []int
	for _, s := range segs {
		at := 0
		for p := s.parent; p >= 0; p = segs[p].parent {
			at += segs[p].end - segs[p].start
		}
		for range s.end - s.start {
			out = append(out, at)
			at++
		}
	}
	return out
}

// visible lists, for every token, the tokens it sees, straight from the definition in attention.inc.h.
func visible(segs []treeSeg, both bool, window int) [][]int {
	var out [][]int
	pos := positions(segs)
	for s, seg := range segs {
		for t := seg.start; t < seg.end; t++ {
			var seen []int
			for u := seg.start; u <= t || both && u < seg.end; u++ {
				seen = append(seen, u)
			}
			for a := segs[s].parent; a >= 0; a = segs[a].parent {
				for u := segs[a].start; u < segs[a].end; u++ {
					seen = append(seen, u)
				}
			}
			if window > 0 {
				seen = slices.DeleteFunc(seen, func(u int) bool { return max(pos[t]-pos[u], pos[u]-pos[t]) >= window })
			}
			out = append(out, seen)
		}
	}
	return out
}

// attnRef is attention in float64, token by token. Its inputs are q, k, v and, where heads have them, sinks.
type attnRef struct {
	nHead, nKV, d int
	scale, cap    float64
	sees          [][]int
	drop          attnDrop
}

// attnDrop is the dropout of probabilities.
type attnDrop struct {
	rate         float64
	seed, stream int64
}

// factor is what a query's probability of a key is multiplied by, by the counters that attn_drop.inc.h describes.
func (x attnDrop) factor(head, query, key int) float64 {
	if x.rate == 0 {
		return 1
	}
	words := philox([4]uint32{uint32(query), uint32(key / 4), uint32(x.stream), uint32(head)},
		[2]uint32{uint32(x.seed), uint32(x.seed >> 32)})
	if words[key%4]>>8 < uint32(math.Round(x.rate*(1<<24))) {
		return 0
	}
	return 1 / (1 - x.rate)
}

// score is a scaled product within the bound, where there is one, and the derivative of one by the other.
func (a attnRef) score(x float64) (float64, float64) {
	if a.cap == 0 {
		return x, 1
	}
	th := math.Tanh(x / a.cap)
	return a.cap * th, 1 - th*th
}

func (a attnRef) head(m mat, t, h int) []float64 { return m.row(t)[h*a.d:][:a.d] }

func dot64(x, y []float64) float64 {
	sum := 0.0
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

func addScaled(dst []float64, f float64, x []float64) {
	for i := range dst {
		dst[i] += f * x[i]
	}
}

// probs returns the softmax of token t's scores in head h over the tokens it sees, and their log-sum-exp.
func (a attnRef) probs(in []mat, t, h int) ([]float64, float64) {
	q, k := in[0], in[1]
	p, most, sum := make([]float64, len(a.sees[t])), math.Inf(-1), 0.0
	if len(in) > 3 {
		most = in[3].d[h]
	}
	for i, u := range a.sees[t] {
		p[i], _ = a.score(a.scale * dot64(a.head(q, t, h), a.head(k, u, h/(a.nHead/a.nKV))))
		most = max(most, p[i])
	}
	for _, s := range p {
		sum += math.Exp(s - most)
	}
	if len(in) > 3 {
		sum += math.Exp(in[3].d[h] - most)
	}
	lse := most + math.Log(sum)
	for i, s := range p {
		p[i] = math.Exp(s - lse)
	}
	return p, lse
}

// forward returns o and the log-sum-exp.
func (a attnRef) forward(in []mat) (o, lse mat) {
	q, v := in[0], in[2]
	o, lse = newMat(q.ne0, q.ne1), newMat(a.nHead, q.ne1)
	for t := range q.ne1 {
		for h := range a.nHead {
			p, l := a.probs(in, t, h)
			lse.row(t)[h] = l
			for i, u := range a.sees[t] {
				addScaled(a.head(o, t, h), p[i]*a.drop.factor(h, t, u), a.head(v, u, h/(a.nHead/a.nKV)))
			}
		}
	}
	return o, lse
}

// backward returns delta and the gradients of q, k, v and the sinks for the gradient do of o.
func (a attnRef) backward(in []mat, o, do mat) (delta, dq, dk, dv, dsinks mat) {
	q, k, v := in[0], in[1], in[2]
	dsinks = newMat(a.nHead, 1)
	delta, dq, dk, dv = newMat(a.nHead, q.ne1), newMat(q.ne0, q.ne1), newMat(k.ne0, k.ne1), newMat(v.ne0, v.ne1)
	for t := range q.ne1 {
		for h := range a.nHead {
			kv := h / (a.nHead / a.nKV)
			p, lse := a.probs(in, t, h)
			dl := dot64(a.head(o, t, h), a.head(do, t, h))
			delta.row(t)[h] = dl
			if len(in) > 3 {
				dsinks.d[h] -= math.Exp(in[3].d[h]-lse) * dl
			}
			for i, u := range a.sees[t] {
				_, slope := a.score(a.scale * dot64(a.head(q, t, h), a.head(k, u, kv)))
				kept := a.drop.factor(h, t, u)
				ds := slope * a.scale * p[i] * (kept*dot64(a.head(do, t, h), a.head(v, u, kv)) - dl)
				addScaled(a.head(dq, t, h), ds, a.head(k, u, kv))
				addScaled(a.head(dk, u, kv), ds, a.head(q, t, h))
				addScaled(a.head(dv, u, kv), p[i]*kept, a.head(do, t, h))
			}
		}
	}
	return delta, dq, dk, dv, dsinks
}
