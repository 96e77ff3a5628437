package finetune

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"

	"github.com/ggtune/ggtune/engine"
)

// A fakeEngine is a bigram model with a low-rank adapter, computed in F64: the logits of the token after x are
// W[x] + drop(E[x])·A·B, with W and E fixed, A and B trained. It knows trees and dropout, as the real engine does.
type fakeEngine struct {
	vocab, dim, rank int
	w, e             []float64 // [vocab][vocab], [vocab][dim]
	a, b             *engine.Param
	dropout          float64
	seed             uint64

	last      *engine.Batch
	lastOpt   engine.Options
	forwards  int
	onForward func(n int, out *engine.Output) // may spoil the output or stop the run
	onParams  func()                          // called before gradients are looked at
}

func newFakeEngine(vocab int, seed uint64) *fakeEngine {
	f := &fakeEngine{vocab: vocab, dim: 6, rank: 3, seed: seed}
	g := rand.New(rand.NewPCG(seed, 1))
	fill := func(n int, scale float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = scale * g.NormFloat64()
		}
		return out
	}
	f.w, f.e = fill(vocab*vocab, 0.5), fill(vocab*f.dim, 1)
	f.a = &engine.Param{Name: "blk.0.fake.lora_a", Shape: []int64{int64(f.dim), int64(f.rank)}, Data: make([]float32, f.dim*f.rank), Grad: make([]float32, f.dim*f.rank), Group: "lora_a", Decay: true}
	f.b = &engine.Param{Name: "blk.0.fake.lora_b", Shape: []int64{int64(f.rank), int64(vocab)}, Data: make([]float32, f.rank*vocab), Grad: make([]float32, f.rank*vocab), Group: "lora_b", Decay: true}
	for i, x := range fill(len(f.a.Data), 0.5) {
		f.a.Data[i] = float32(x)
	}
	return f
}

func (f *fakeEngine) Params() []*engine.Param {
	if f.onParams != nil {
		f.onParams()
	}
	return []*engine.Param{f.a, f.b}
}

func (f *fakeEngine) ZeroGrad() {
	clear(f.a.Grad)
	clear(f.b.Grad)
}

// each calls do for every counted token with its number, its predecessor's token, itself, and a key for its dropout.
func each(b *engine.Batch, do func(k int, prev, tok int32, key uint64)) {
	k := 0
	for ri, row := range b.Rows {
		before := make([]int, len(row.Tokens)) // index of the predecessor in the tree
		for _, s := range row.Segments {
			for i := s.Start; i < s.Start+s.Len; i++ {
				before[i] = i - 1
				if i == s.Start {
					before[i] = -1
					if s.Parent >= 0 {
						p := row.Segments[s.Parent]
						before[i] = p.Start + p.Len - 1
					}
				}
			}
		}
		for _, c := range row.Counted {
			do(k, row.Tokens[before[c]], row.Tokens[c], uint64(ri)<<32|uint64(c))
			k++
		}
	}
}

// input is E[x] with dropout applied.
func (f *fakeEngine) input(x int32, key uint64) []float64 {
	in := append([]float64(nil), f.e[int(x)*f.dim:(int(x)+1)*f.dim]...)
	if f.lastOpt.Dropout && f.dropout > 0 {
		g := rand.New(rand.NewPCG(f.seed^f.last.DropoutStep*0x9e3779b97f4a7c15, key))
		for i := range in {
			if g.Float64() < f.dropout {
				in[i] = 0
			} else {
				in[i] /= 1 - f.dropout
			}
		}
	}
	return in
}

// softmax gives the probabilities after x, and what lies between A and B.
func (f *fakeEngine) softmax(x int32, in []float64) (p, mid []float64) {
	mid = make([]float64, f.rank)
	for r := range mid {
		for d, v := range in {
			mid[r] += v * float64(f.a.Data[d*f.rank+r])
		}
	}
	p = append([]float64(nil), f.w[int(x)*f.vocab:(int(x)+1)*f.vocab]...)
	sum := 0.0
	for v := range p {
		if !f.lastOpt.NoAdapter {
			for r := range mid {
				p[v] += mid[r] * float64(f.b.Data[r*f.vocab+v])
			}
		}
		p[v] = math.Exp(p[v])
		sum += p[v]
	}
	for v := range p {
		p[v] /= sum
	}
	return p, mid
}

func (f *fakeEngine) Forward(ctx context.Context, b *engine.Batch, o engine.Options) (*engine.Output, error) {
	if ctx.Err() != nil {
		return nil, errors.New("the engine was given a cancelled context")
	}
	f.last, f.lastOpt = b, o
	out := &engine.Output{}
	each(b, func(k int, prev, tok int32, key uint64) {
		p, _ := f.softmax(prev, f.input(prev, key))
		out.LogP = append(out.LogP, float32(math.Log(p[tok])))
	})
	f.forwards++
	if f.onForward != nil {
		f.onForward(f.forwards, out)
	}
	return out, nil
}

func (f *fakeEngine) Backward(ctx context.Context, g *engine.OutputGrad) error {
	if ctx.Err() != nil {
		return errors.New("the engine was given a cancelled context")
	}
	if f.last == nil || !f.lastOpt.Backward {
		return errors.New("no forward pass to go back from")
	}
	da, db := make([]float64, len(f.a.Grad)), make([]float64, len(f.b.Grad))
	each(f.last, func(k int, prev, tok int32, key uint64) {
		in := f.input(prev, key)
		p, mid := f.softmax(prev, in)
		dmid := make([]float64, f.rank)
		for v := range p {
			d := -p[v]
			if int32(v) == tok {
				d++
			}
			d *= float64(g.LogP[k])
			for r := range mid {
				db[r*f.vocab+v] += d * mid[r]
				dmid[r] += d * float64(f.b.Data[r*f.vocab+v])
			}
		}
		for i, v := range in {
			for r := range dmid {
				da[i*f.rank+r] += v * dmid[r]
			}
		}
	})
	for i, d := range da {
		f.a.Grad[i] += float32(d)
	}
	for i, d := range db {
		f.b.Grad[i] += float32(d)
	}
	f.last = nil
	return nil
}
