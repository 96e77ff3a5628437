package engine

import "github.com/ggtune/ggtune/engine/arch"

// A Footprint is the memory that a session needs for one batch shape, in bytes, before it is allocated.
type Footprint struct {
	Weights    int64 // the mapped model file's tensors: page cache, resident while they are in use
	Params     int64 // parameters, what they are rounded to, and the gradients of those trained
	Work       int64 // one layer's temporaries
	Inputs     int64 // the input of every layer, and the gradients that pass between layers
	Kept       int64 // activations kept for the backward pass
	KeptLayers int   // layers whose activations are kept; the others are computed again
	Layers     int
	Trained    int64 // number of trained parameters
	Fixed      int64 // of numbers beside weights that stay as they begin, in sets that are trained
	// List is the parameters trained, without memory: an optimizer's state follows from their shapes.
	List    []*Param
	AllKept int64 // what Kept would be if every layer's activations were kept
	Cache   int64 // keys and values of texts under way, where Extent.Cache asks for them
}

// Total is the memory beside the mapped weights.
func (f Footprint) Total() int64 { return f.Params + f.Work + f.Inputs + f.Kept + f.Cache }

// An Extent is the size of a batch, and what is asked for of it.
type Extent struct {
	Tokens  int
	Counted int // of them, those that count
	Row     int // tokens of a row
	Named   int // tokens named for each that counts, where output Named is asked for
	Valued  int // tokens that are given a number, where output Value is asked for
	Pooled  int // segments that are given a vector, where output Pooled is asked for
	// Pooling is Options.Pooling.
	Pooling arch.Pooling
	// Want lists the outputs of the pass; none means Model.Says.
	Want []*Output
	// Apply are the sets that take part, as in Options.
	Apply Choice
	Top   int // Options.Top, where output Top is asked for
	// Forward says that no pass back follows.
	Forward bool
	// Cache, unless nil, is a Cache of the session: what it reads shares the memory of the passes.
	Cache *CacheConfig
}

// pass gives indices that are as many as those of a batch of that size.
func (e *Extent) pass(want []*Output, p arch.Pooling) indices {
	rows := (e.Tokens + e.Row - 1) / e.Row
	x := indices{arch.InputTokens: make([]int32, e.Tokens), arch.InputPos: make([]int32, e.Tokens),
		arch.InputTree: make([]int32, 1+3*rows)}
	for _, o := range want {
		o.of.plan(x, e, p)
	}
	return x
}

// Plan computes what a session with cfg needs for batches of that size. It allocates nothing but what describes it.
func Plan(m *Model, cfg SessionConfig, e Extent) (Footprint, error) {
	s, err := newSession(m, cfg)
	if err != nil {
		return Footprint{}, err
	}
	defer s.Close()
	f := Footprint{Weights: m.Bytes(), Layers: m.net.NLayer}
	for _, t := range s.sets {
		for _, p := range s.listed(t) {
			f.Params += p.ValueBytes()
			if !t.Frozen && p.Fixed {
				f.Fixed += p.Len()
			} else if !t.Frozen {
				f.List, f.Trained, f.Params = append(f.List, p), f.Trained+p.Len(), f.Params+4*p.Len()
			}
		}
		f.Params += s.roundedBytes(t)
	}
	opt := Options{Want: e.Want, Apply: e.Apply, Backward: !e.Forward, Dropout: !e.Forward, Top: e.Top,
		Pooling: e.Pooling}
	pooling, err := s.pooling(&opt)
	if err != nil {
		return Footprint{}, err
	}
	x := e.pass(s.outputs(&opt), pooling)
	if s.late() {
		x[arch.InputActive] = make([]int32, e.Tokens)
	}
	if m.net.TokenTypes > 0 {
		x[arch.InputTypes] = make([]int32, e.Tokens)
	}
	p, err := s.plannedPass(x, opt)
	if err != nil {
		return Footprint{}, err
	}
	z := p.sizes()
	if e.Cache != nil {
		c, err := s.planCache(*e.Cache)
		if err != nil {
			return Footprint{}, err
		}
		read, err := c.largest()
		if err != nil {
			return Footprint{}, err
		}
		f.Cache, z = c.Bytes(), z.with(read.sizes())
	}
	f.Work, f.Inputs, f.Kept = z.work, z.acts+z.grads+z.inputs+z.outs, z.kept
	for _, st := range p.layers {
		if st.keptBytes > st.noted {
			f.KeptLayers++
		}
	}
	s.cfg.KeepBytes = 1 << 62
	if err := p.plan(); err != nil {
		return Footprint{}, err
	}
	f.AllKept = p.sizes().kept
	return f, nil
}
