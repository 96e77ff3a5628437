package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A pass is one batch on its way through the model, forward and back.
type pass struct {
	s      *Session
	opt    Options
	tokens int64
	key    uint64 // of the dropout masks
	want   want
	apply  mask // sets in force
	train  mask // of them, those that get gradients
	lowest int  // the lowest stage with something trained
	idx    indices
	idxAt  map[string]int64 // where lists of indices, noise and the first dropout key lie among the inputs, bytes

	embed, final *stage
	layers       []*stage
	keptAt       []int64 // offset of each layer's kept values in the area of kept values; the last stage's are at 0

	chosen map[int][]int32 // by layer, where the pass fills Options.Routes in
}

// newPass checks b, plans its stages and allocates what they need.
func (s *Session) newPass(b *Batch, opt Options) (*pass, error) {
	idx, err := s.flatten(b, &opt)
	if err != nil {
		return nil, err
	}
	if opt.Routes != nil {
		opt.Routes.hold(idx)
	}
	p, err := s.plannedPass(idx, opt)
	if err != nil {
		return nil, err
	}
	if err := p.checkRoutes(); err != nil {
		return nil, err
	}
	p.key = mix(s.cfg.Seed, b.DropoutStep)
	return p, p.allocate()
}

// plannedPass chooses the stages of a pass over flattened rows, and takes no memory.
func (s *Session) plannedPass(idx indices, opt Options) (*pass, error) {
	p := &pass{s: s, opt: opt, idx: idx, tokens: int64(len(idx[arch.InputTokens]))}
	var err error
	if p.want, err = s.want(&opt, idx); err != nil {
		return nil, err
	}
	if p.apply, p.train, err = s.choose(&opt); err != nil {
		return nil, err
	}
	if err := s.checkHeads(p.want, p.apply); err != nil {
		return nil, err
	}
	p.lowest = s.model.net.NLayer + 1
	for _, t := range s.in(p.train) {
		p.lowest = min(p.lowest, t.lowest)
	}
	return p, p.plan()
}

// plan chooses every stage: as many layers as the budget allows keep their activations, from the last one down (the
// order in which the backward pass frees them would not matter: all are kept until it begins).
func (p *pass) plan() error {
	s := p.s
	sh := shape{tokens: p.tokens, segments: int64((len(p.idx[arch.InputTree]) - 1) / 3),
		apply: p.apply, train: p.train, dropout: p.drops(), back: p.opt.Backward}
	if c := p.opt.cache; c != nil {
		sh.pages, sh.table = c.pages, int64(len(p.idx[arch.InputTable]))
		sh.slots, sh.runs = c.slots, int64(len(p.idx[arch.InputRuns]))
	}
	n := s.model.net.NLayer
	p.layers, p.keptAt, p.chosen = make([]*stage, n), make([]int64, n), map[int][]int32{}
	var err error
	at := func(il int) shape {
		q := sh
		below := il - 1
		if il == stageFinal {
			below = n - 1
		}
		q.back = sh.back && (il == stageFinal || il >= p.lowest)
		q.inputGrad = q.back && p.lowest <= below
		if il >= 0 {
			q.routes = p.opt.Routes.routing()
		}
		return q
	}
	last := at(stageFinal)
	last.temp = p.opt.temp()
	if p.final, err = s.stage(stageFinal, last, p.want); err != nil {
		return err
	}
	used := p.final.keptBytes
	for il := n - 1; il >= 0; il-- {
		q := at(il)
		q.recompute = true
		if q.back && s.cfg.KeepBytes > 0 {
			q.recompute = false
			st, err := s.stage(il, q, nil)
			if err != nil {
				return err
			}
			q.recompute = used+st.keptBytes > s.cfg.KeepBytes
		}
		q.inputs = p.opt.Inputs != nil && !p.opt.Backward
		if p.layers[il], err = s.stage(il, q, nil); err != nil {
			return err
		}
		p.keptAt[il] = used
		if q.back { // else it is of no use once the layer is done
			used += p.layers[il].keptBytes
		}
	}
	q := at(stageEmbed)
	q.noise, q.recompute = p.noises(), true // it costs next to nothing
	p.embed, err = s.stage(stageEmbed, q, nil)
	return err
}

// stageList gives every stage of the pass.
func (p *pass) stageList() []*stage {
	return append([]*stage{p.embed, p.final}, p.layers...)
}

// sizes are the bytes of each area that a pass needs.
type sizes struct{ work, inputs, acts, grads, kept, outs int64 }

func (p *pass) sizes() sizes {
	row := backend.Aligned(p.tokens * int64(p.s.model.net.NEmbd) * 4)
	z := sizes{kept: p.final.keptBytes, outs: p.want.bytes(), acts: 2 * row}
	for _, st := range p.stageList() {
		z.work = max(z.work, st.forward.Work())
		if st.backward != nil {
			z.work = max(z.work, st.backward.Work())
		}
	}
	for il, st := range p.layers {
		z.kept = max(z.kept, p.keptAt[il]+st.keptBytes)
	}
	if p.opt.Backward {
		z.acts, z.grads = int64(len(p.layers)+1)*row, 2*row
	}
	for _, v := range p.idx {
		z.inputs += backend.Aligned(int64(len(v)) * 4)
	}
	if p.drops() {
		z.inputs += dropKeyAt(len(p.layers))
	}
	z.inputs += p.noiseBytes()
	return z
}

// with are the sizes of areas that serve passes of both.
func (z sizes) with(y sizes) sizes {
	return sizes{max(z.work, y.work), max(z.inputs, y.inputs), max(z.acts, y.acts), max(z.grads, y.grads),
		max(z.kept, y.kept), max(z.outs, y.outs)}
}

func (p *pass) allocate() error {
	z, m, b := p.sizes(), &p.s.mem, p.s.backend
	for _, a := range []struct {
		area *area
		n    int64
	}{{&m.work, z.work}, {&m.inputs, z.inputs}, {&m.acts, z.acts}, {&m.grads, z.grads}, {&m.kept, z.kept},
		{&m.outs, z.outs}} {
		if err := a.area.grow(b, a.n); err != nil {
			return fmt.Errorf("engine: memory for a batch of %d tokens: %w; use shorter rows (--seq-len), fewer "+
				"rows (--batch), or keep fewer activations (--memory)", p.tokens, err)
		}
	}
	at := int64(0)
	p.idxAt = map[string]int64{}
	for _, name := range slices.Sorted(maps.Keys(p.idx)) {
		v := p.idx[name]
		if err := b.Upload(m.inputs.at(at), backend.BytesOf(v)); err != nil {
			return err
		}
		p.idxAt[name] = at
		at += backend.Aligned(int64(len(v)) * 4)
	}
	p.idxAt[arch.InputNoise] = at
	if err := p.addNoise(m.inputs.at(at)); err != nil {
		return err
	}
	at += p.noiseBytes()
	p.idxAt[arch.InputDropKey] = at
	return b.Upload(m.inputs.at(at), backend.BytesOf(p.dropKeys()))
}

// input finds a named input of stage il.
func (p *pass) input(il int, name string) backend.Place {
	at, ok := p.idxAt[name]
	if !ok {
		panic("engine: no input named " + name)
	}
	if name == arch.InputDropKey {
		at += dropKeyAt(il)
	}
	return p.s.mem.inputs.at(at)
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

// outputs downloads what was asked for.
func (p *pass) outputs() (Outputs, error) {
	out := Outputs{}
	for _, a := range p.want {
		v := make([]float32, a.count)
		if err := p.s.backend.Download(backend.BytesOf(v), p.s.mem.outs.at(a.value)); err != nil {
			return nil, err
		}
		out[a.Output] = v
	}
	return out, nil
}

func (p *pass) forward(ctx context.Context) error {
	n := len(p.layers)
	if err := p.runForward(ctx, stageEmbed, p.embed, backend.Place{}, 0, p.act(0)); err != nil {
		return err
	}
	for il, st := range p.layers {
		if err := p.runForward(ctx, il, st, p.act(il), p.keptAt[il], p.act(il+1)); err != nil {
			return err
		}
		if err := errors.Join(p.tell(il, st), p.noteRoutes(il, st), p.noteLoad(il, st)); err != nil {
			return err
		}
	}
	if p.opt.Routes.routing() == routesTold {
		p.opt.Routes.of = p.chosen
	}
	return p.runForward(ctx, stageFinal, p.final, p.act(n), 0, p.given()...)
}

// given are the places of what was asked for.
func (p *pass) given() (y []backend.Place) {
	for _, a := range p.want {
		y = append(y, p.s.mem.outs.at(a.value))
	}
	return y
}

// tell gives what the matrices of a layer were multiplied with to whoever asked for it.
func (p *pass) tell(il int, st *stage) error {
	var x []float32
	for _, in := range st.seen {
		at := p.act(il)
		if slices.Contains(st.kept, in.x) {
			at = p.keptPlace(st, in.x, p.keptAt[il])
		}
		n := st.forward.Graph().Value(in.x).Shape.Elements()
		if x = slices.Grow(x[:0], int(n))[:n]; n > 0 {
			if err := p.s.backend.Download(backend.BytesOf(x), at); err != nil {
				return err
			}
		}
		told := Input{Layer: il, Role: in.role, X: x}
		if in.starts != graph.None {
			told.Starts = make([]int32, st.forward.Graph().Value(in.starts).Shape.Elements())
			at := p.keptPlace(st, in.starts, p.keptAt[il])
			if err := p.s.backend.Download(backend.BytesOf(told.Starts), at); err != nil {
				return err
			}
		}
		if err := p.opt.Inputs(told); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) backward(ctx context.Context, grad Outputs, ready func(*Param) error) error {
	var dy []backend.Place
	for _, a := range p.want {
		at := p.s.mem.outs.at(a.grad)
		if err := p.s.backend.Upload(at, backend.BytesOf(grad[a.Output])); err != nil {
			return err
		}
		dy = append(dy, at)
	}
	way := p.wayBack()
	w := p.watch(way, ready)
	for i, one := range way {
		var err error
		switch il, n := one.il, len(p.layers); il {
		case stageFinal:
			err = p.runBackward(ctx, il, one.st, p.act(n), p.grad(n), 0, dy...)
		case stageEmbed:
			err = p.runBackward(ctx, il, one.st, backend.Place{}, backend.Place{}, 0, p.grad(0))
		default:
			err = p.runBackward(ctx, il, one.st, p.act(il), p.grad(il), p.keptAt[il], p.grad(il+1))
		}
		if err == nil {
			err = w.after(p, i, i == len(way)-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runForward computes a stage's outputs y from its input x.
func (p *pass) runForward(ctx context.Context, il int, st *stage, x backend.Place, keptAt int64,
	y ...backend.Place) error {
	g := st.forward.Graph()
	return p.s.execute(ctx, st.forward, func(id graph.ID, v *graph.Value) backend.Place {
		if i := slices.Index(g.Outputs, id); i >= 0 {
			return y[i]
		}
		switch {
		case v.Kind == graph.Temp:
			return p.keptPlace(st, id, keptAt)
		case v.Kind == graph.Input && v.Name == arch.InputX:
			return x
		}
		return p.outside(il, v)
	})
}

// runBackward computes the gradient dx of a stage's input x from those of its outputs, and adds to the parameters'.
func (p *pass) runBackward(ctx context.Context, il int, st *stage, x, dx backend.Place, keptAt int64,
	dy ...backend.Place) error {
	if st.backward == nil {
		return nil
	}
	g := st.backward.Graph()
	places := map[string]backend.Place{arch.InputX: x}
	for i, at := range dy {
		places[graph.GradName(i)] = at
	}
	return p.s.execute(ctx, st.backward, func(id graph.ID, v *graph.Value) backend.Place {
		switch {
		case len(g.Outputs) > 0 && id == g.Outputs[0]:
			return dx
		case v.Kind == graph.Saved:
			if i := slices.Index(st.forward.Graph().Outputs, v.Ref); i >= 0 && il == stageFinal {
				return p.given()[i] // it lies there only
			}
			return p.keptPlace(st, v.Ref, keptAt)
		case v.Kind == graph.Input:
			if at, ok := places[v.Name]; ok {
				return at
			}
		}
		return p.outside(il, v)
	})
}

func (p *pass) keptPlace(st *stage, id graph.ID, keptAt int64) backend.Place {
	for i, k := range st.kept {
		if k == id {
			return p.s.mem.kept.at(keptAt + st.keptAt[i])
		}
	}
	panic(fmt.Sprintf("engine: value %d is bound to nothing", id))
}

// outside resolves weights, parameters, their gradients and the batch's indices.
func (p *pass) outside(il int, v *graph.Value) backend.Place {
	if v.Kind == graph.Input && v.Name == arch.InputChosen {
		return p.input(il, chosenIn(il))
	}
	if v.Kind == graph.Input {
		return p.input(il, v.Name)
	}
	if v.Kind == graph.State {
		return p.opt.cache.place(il)
	}
	if v.Kind == graph.Weight {
		name, _, _ := p.s.find(il, v.Name)
		return backend.Place{Mem: p.s.weights[name]}
	}
	set, name, ok := strings.Cut(v.Name, "/")
	if !ok {
		set, name = "", v.Name
	}
	if il >= 0 {
		name = arch.InLayer(il, name)
	}
	if ok {
		name = set + "/" + name
	}
	param := p.s.byName[name]
	if v.Kind == graph.Grad {
		return param.Grad.At
	}
	if v.Row > 0 {
		return p.s.rounded[name].at
	}
	return param.Value.At
}

// mix is SplitMix64's finalizer over a pair (Steele, Lea & Flood 2014).
func mix(a, b uint64) uint64 {
	z := a + 0x9e3779b97f4a7c15*(b+1)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
