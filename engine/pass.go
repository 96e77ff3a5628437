package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A pass is one batch on its way through the model, forward and back.
type pass struct {
	s       *Session
	opt     Options
	tokens  int64
	counted int64
	key     uint64 // of the dropout masks
	idx     indices

	embed, final *stage
	layers       []*stage
	keepAt       []int64 // offset of each layer's kept values in the keep area; the last stage's are at 0
}

// indices are a batch's integers, as the kernels take them.
type indices struct {
	tokens, pos, tree, sources, targets []int32
}

// newPass checks b, plans its stages and allocates what they need.
func (s *Session) newPass(b *Batch, opt Options) (*pass, error) {
	idx, err := s.flatten(b)
	if err != nil {
		return nil, err
	}
	p := &pass{s: s, opt: opt, idx: idx, tokens: int64(len(idx.tokens)), counted: int64(len(idx.targets)),
		key: mix(s.cfg.Seed, b.DropoutStep)}
	if opt.Backward && opt.Logits {
		return nil, errors.New("engine: forward: a backward pass starts from log-probabilities, not from logits")
	}
	if opt.Backward && len(s.params) == 0 {
		return nil, errors.New("engine: forward: a backward pass is asked for, and the session trains nothing")
	}
	if err := p.plan(); err != nil {
		return nil, err
	}
	return p, p.allocate()
}

// plan chooses every stage: as many layers as the budget allows keep their activations, from the last one down (the
// order in which the backward pass frees them would not matter: all are kept until it begins).
func (p *pass) plan() error {
	s := p.s
	sh := shape{tokens: p.tokens, counted: p.counted, segments: int64((len(p.idx.tree) - 1) / 3),
		adapter: s.adapter != nil && !p.opt.NoAdapter, dropout: p.opt.Dropout && s.cfg.Dropout > 0, back: p.opt.Backward, logits: p.opt.Logits}
	n := s.model.net.NLayer
	p.layers, p.keepAt = make([]*stage, n), make([]int64, n)
	var err error
	at := func(il int) shape {
		q := sh
		below := il - 1
		if il == stageFinal {
			below = n - 1
		}
		q.back = sh.back && (il == stageFinal || il >= s.lowest)
		q.inputGrad = q.back && s.lowest <= below
		return q
	}
	if p.final, err = s.stage(stageFinal, at(stageFinal)); err != nil {
		return err
	}
	used := p.final.keepSize
	for il := n - 1; il >= 0; il-- {
		q := at(il)
		q.recompute = true
		if q.back && s.cfg.KeepBytes > 0 {
			q.recompute = false
			st, err := s.stage(il, q)
			if err != nil {
				return err
			}
			q.recompute = used+st.keepSize > s.cfg.KeepBytes
		}
		if p.layers[il], err = s.stage(il, q); err != nil {
			return err
		}
		p.keepAt[il] = used
		used += p.layers[il].keepSize
	}
	p.embed, err = s.stage(stageEmbed, at(stageEmbed))
	return err
}

// stageList gives every stage of the pass.
func (p *pass) stageList() []*stage {
	return append([]*stage{p.embed, p.final}, p.layers...)
}

// sizes are the bytes of each area that a pass needs.
type sizes struct{ work, inputs, acts, grads, keep, outs int64 }

func (p *pass) sizes() sizes {
	row := backend.Aligned(p.tokens * int64(p.s.model.net.NEmbd) * 4)
	z := sizes{keep: p.final.keepSize, outs: backend.Aligned(p.outWidth()*p.counted*4) + backend.Aligned(p.counted*4), acts: 2 * row}
	for _, st := range p.stageList() {
		z.work = max(z.work, st.forward.Work())
		if st.backward != nil {
			z.work = max(z.work, st.backward.Work())
		}
	}
	for _, st := range p.layers {
		z.keep += st.keepSize
	}
	if p.opt.Backward {
		z.acts, z.grads = int64(len(p.layers)+1)*row, 2*row
	}
	for _, v := range p.idx.list() {
		z.inputs += backend.Aligned(int64(len(v)) * 4)
	}
	return z
}

func (p *pass) allocate() error {
	z, m, b := p.sizes(), &p.s.mem, p.s.backend
	for _, a := range []struct {
		area *area
		n    int64
	}{{&m.work, z.work}, {&m.inputs, z.inputs}, {&m.acts, z.acts}, {&m.grads, z.grads}, {&m.keep, z.keep}, {&m.outs, z.outs}} {
		if err := a.area.grow(b, a.n); err != nil {
			return fmt.Errorf("engine: memory for a batch of %d tokens: %w; use shorter rows (--seq-len), fewer rows (--batch), or keep fewer activations (--memory)", p.tokens, err)
		}
	}
	at := int64(0)
	for _, v := range p.idx.list() {
		if err := b.Upload(m.inputs.at(at), bytesOf(v)); err != nil {
			return err
		}
		at += backend.Aligned(int64(len(v)) * 4)
	}
	return nil
}

func (x *indices) list() [5][]int32 {
	return [5][]int32{x.tokens, x.pos, x.tree, x.sources, x.targets}
}

// index finds a named input of indices.
func (p *pass) index(name string) backend.Place {
	names := [5]string{arch.InputTokens, arch.InputPos, arch.InputTree, arch.InputSources, arch.InputTargets}
	at := int64(0)
	for i, v := range p.idx.list() {
		if names[i] == name {
			return p.s.mem.inputs.at(at)
		}
		at += backend.Aligned(int64(len(v)) * 4)
	}
	panic("engine: no input named " + name)
}

// act is the input of layer il; il = n_layer is the last one's output.
func (p *pass) act(il int) backend.Place {
	if !p.opt.Backward {
		il &= 1
	}
	return p.s.mem.acts.at(int64(il) * backend.Aligned(p.tokens*int64(p.s.model.net.NEmbd)*4))
}

// grad is the gradient of act(il).
func (p *pass) grad(il int) backend.Place {
	return p.s.mem.grads.at(int64(il&1) * backend.Aligned(p.tokens*int64(p.s.model.net.NEmbd)*4))
}

func (p *pass) logpAt() backend.Place { return p.s.mem.outs.at(0) }
func (p *pass) coefAt() backend.Place { return p.s.mem.outs.at(backend.Aligned(p.counted * 4)) }

// outWidth is the numbers given for each counted token.
func (p *pass) outWidth() int64 {
	if p.opt.Logits {
		return int64(p.s.model.net.NVocab)
	}
	return 1
}

func (p *pass) output() (*Output, error) {
	out := make([]float32, p.outWidth()*p.counted)
	err := p.s.backend.Download(bytesOf(out), p.logpAt())
	if p.opt.Logits {
		return &Output{Logits: out}, err
	}
	return &Output{LogP: out}, err
}

func (p *pass) forward(ctx context.Context) error {
	n := len(p.layers)
	if err := p.runForward(ctx, stageEmbed, p.embed, backend.Place{}, p.act(0), 0); err != nil {
		return err
	}
	for il, st := range p.layers {
		if err := p.runForward(ctx, il, st, p.act(il), p.act(il+1), p.keepAt[il]); err != nil {
			return err
		}
	}
	return p.runForward(ctx, stageFinal, p.final, p.act(n), p.logpAt(), 0)
}

func (p *pass) backward(ctx context.Context, coef []float32) error {
	n := len(p.layers)
	if err := p.s.backend.Upload(p.coefAt(), bytesOf(coef)); err != nil {
		return err
	}
	if err := p.runBackward(ctx, stageFinal, p.final, p.act(n), p.coefAt(), p.grad(n), 0); err != nil {
		return err
	}
	for il := n - 1; il >= max(0, p.s.lowest); il-- {
		if err := p.runBackward(ctx, il, p.layers[il], p.act(il), p.grad(il+1), p.grad(il), p.keepAt[il]); err != nil {
			return err
		}
	}
	return p.runBackward(ctx, stageEmbed, p.embed, backend.Place{}, p.grad(0), backend.Place{}, 0)
}

func (p *pass) runForward(ctx context.Context, il int, st *stage, x, y backend.Place, keepAt int64) error {
	g := st.forward.Graph()
	return p.s.execute(ctx, st.forward, p.dropKey(il), func(id graph.ID, v *graph.Value) backend.Place {
		switch {
		case id == g.Outputs[0]:
			return y
		case v.Kind == graph.Temp:
			return p.kept(st, id, keepAt)
		case v.Kind == graph.Input && v.Name == arch.InputX:
			return x
		}
		return p.outside(il, v)
	})
}

func (p *pass) runBackward(ctx context.Context, il int, st *stage, x, dy, dx backend.Place, keepAt int64) error {
	if st.backward == nil {
		return nil
	}
	g := st.backward.Graph()
	return p.s.execute(ctx, st.backward, p.dropKey(il), func(id graph.ID, v *graph.Value) backend.Place {
		switch {
		case len(g.Outputs) > 0 && id == g.Outputs[0]:
			return dx
		case v.Kind == graph.Saved:
			return p.kept(st, v.Ref, keepAt)
		case v.Kind == graph.Input && v.Name == arch.InputX:
			return x
		case v.Kind == graph.Input && v.Name == graph.GradName(0):
			return dy
		}
		return p.outside(il, v)
	})
}

func (p *pass) kept(st *stage, id graph.ID, keepAt int64) backend.Place {
	for i, k := range st.keep {
		if k == id {
			return p.s.mem.keep.at(keepAt + st.keeps[i])
		}
	}
	panic(fmt.Sprintf("engine: value %d is bound to nothing", id))
}

// outside resolves weights, parameters, their gradients and the batch's indices.
func (p *pass) outside(il int, v *graph.Value) backend.Place {
	if v.Kind == graph.Input {
		return p.index(v.Name)
	}
	if v.Kind == graph.Weight {
		name, _, _ := p.s.find(il, v.Name)
		return backend.Place{Mem: p.s.weights[name]}
	}
	name := v.Name
	if il >= 0 {
		name = arch.InLayer(il, name)
	}
	param := p.s.byName[name]
	if v.Kind == graph.Grad {
		return param.Grad.At
	}
	return param.Value.At
}

// dropKey keys a stage's dropout masks: by seed, micro-batch and stage; the graph's streams tell its tensors apart.
func (p *pass) dropKey(il int) int64 { return int64(mix(p.key, uint64(il+2))) }

// mix is SplitMix64's finalizer over a pair (Steele, Lea & Flood 2014).
func mix(a, b uint64) uint64 {
	z := a + 0x9e3779b97f4a7c15*(b+1)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
