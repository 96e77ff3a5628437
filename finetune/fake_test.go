package finetune

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
)

// A fakeEngine is a bigram model with a low-rank adapter, computed in F64: the logits of the token after x are
// W[x] + drop(E[x])·A·B, with W and E fixed, A and B trained. It knows trees and dropout, as the real engine does.
type fakeEngine struct {
	vocab, dim, rank int
	w, e             []float64 // [vocab][vocab], [vocab][dim]
	a, b             *engine.Param
	av, bv, ag, bg   []float32 // their numbers and gradients
	dropout          float64
	seed             uint64

	last      *engine.Batch
	lastOpt   engine.Options
	forwards  int
	onForward func(n int, out engine.Outputs) // may spoil the output or stop the run
	// afterBackward may spoil gradients
	afterBackward func()
}

func newFakeEngine(t *testing.T, vocab int, seed uint64) *fakeEngine {
	t.Helper()
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
	b := newBackend(t)
	f.a, f.av, f.ag = newParam(t, b, "blk.0.fake.lora_a", "lora_a", f.dim, f.rank)
	f.b, f.bv, f.bg = newParam(t, b, "blk.0.fake.lora_b", "lora_b", f.rank, vocab)
	for i, x := range fill(len(f.av), 0.5) {
		f.av[i] = float32(x)
	}
	return f
}

func newBackend(t *testing.T) backend.Backend {
	t.Helper()
	b, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// newParam gives a matrix of zeros to train, with its numbers and gradients where they lie.
func newParam(t *testing.T, b backend.Backend, name, group string, ne0, ne1 int) (
	p *engine.Param, value, grad []float32) {
	t.Helper()
	p = &engine.Param{Name: name, Shape: []int64{int64(ne0), int64(ne1)}, Group: group, Decay: true}
	for f, host := range map[*backend.Floats]*[]float32{&p.Value: &value, &p.Grad: &grad} {
		var err error
		if *f, err = backend.NewFloats(b, int64(ne0*ne1)); err != nil {
			t.Fatal(err)
		}
		if *host, err = f.Host(); err != nil {
			t.Fatal(err)
		}
	}
	return p, value, grad
}

func (f *fakeEngine) Params() []*engine.Param {
	return []*engine.Param{f.a, f.b}
}

func (f *fakeEngine) ZeroGrad() error {
	clear(f.ag)
	clear(f.bg)
	return nil
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
			mid[r] += v * float64(f.av[d*f.rank+r])
		}
	}
	p = append([]float64(nil), f.w[int(x)*f.vocab:(int(x)+1)*f.vocab]...)
	sum := 0.0
	for v := range p {
		if !f.lastOpt.Apply.None() {
			for r := range mid {
				p[v] += mid[r] * float64(f.bv[r*f.vocab+v])
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

func (f *fakeEngine) Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	if ctx.Err() != nil {
		return nil, errors.New("the engine was given a cancelled context")
	}
	f.last, f.lastOpt = b, o
	out := engine.Outputs{}
	each(b, func(k int, prev, tok int32, key uint64) {
		p, _ := f.softmax(prev, f.input(prev, key))
		out[engine.LogP] = append(out[engine.LogP], float32(math.Log(p[tok])))
	})
	f.forwards++
	if f.onForward != nil {
		f.onForward(f.forwards, out)
	}
	return out, nil
}

func (f *fakeEngine) Backward(ctx context.Context, g engine.Outputs, _ func(*engine.Param) error) error {
	if ctx.Err() != nil {
		return errors.New("the engine was given a cancelled context")
	}
	if f.last == nil || !f.lastOpt.Backward {
		return errors.New("no forward pass to go back from")
	}
	da, db := make([]float64, len(f.ag)), make([]float64, len(f.bg))
	each(f.last, func(k int, prev, tok int32, key uint64) {
		in := f.input(prev, key)
		p, mid := f.softmax(prev, in)
		dmid := make([]float64, f.rank)
		for v := range p {
			d := -p[v]
			if int32(v) == tok {
				d++
			}
			d *= float64(g[engine.LogP][k])
			for r := range mid {
				db[r*f.vocab+v] += d * mid[r]
				dmid[r] += d * float64(f.bv[r*f.vocab+v])
			}
		}
		for i, v := range in {
			for r := range dmid {
				da[i*f.rank+r] += v * dmid[r]
			}
		}
	})
	for i, d := range da {
		f.ag[i] += float32(d)
	}
	for i, d := range db {
		f.bg[i] += float32(d)
	}
	f.last = nil
	if f.afterBackward != nil {
		f.afterBackward()
	}
	return nil
}
