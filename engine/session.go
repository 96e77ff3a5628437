package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/engine/graph"
)

// A SessionConfig says what a session trains and how it computes.
type SessionConfig struct {
	// Backend computes; the session must be closed before it. nil: a CPU backend of the session's own, with Threads threads.
	Backend backend.Backend
	Threads int // 1 to ggml.MaxThreads; read where Backend is nil
	// Exact computes every product in f32; the default packs activations for the fastest product the CPU has.
	Exact bool
	// Adapter holds the LoRA pairs to train, or nil. The session moves their numbers into its own memory: until Close, A
	// and B of each pair are the live parameters.
	Adapter *adapter.Adapter
	// Full trains every tensor of the model, in f32.
	Full bool
	// Dropout is the probability that an element of a LoRA pair's input is zeroed in training, 0 to below 1.
	Dropout float64
	// Seed keys the dropout masks.
	Seed uint64
	// KeepBytes is the memory that activations kept for the backward pass may take, in bytes; layers beyond it are computed again. 0
	// computes every layer again.
	KeepBytes int64
	// Profile sums the time spent in each Phase.
	Profile bool
}

// A Session runs passes over one model. It belongs to one goroutine at a time, which a mutex enforces; Backward goes
// with the Forward before it.
type Session struct {
	mu      sync.Mutex
	closed  bool
	cfg     SessionConfig
	model   *Model
	adapter *adapter.Adapter
	full    bool
	pairs   map[string]*adapter.Pair // by tensor name
	pairAt  map[*adapter.Pair]int64  // where a pair's A begins among those of its layer, in floats
	params  []*Param
	byName  map[string]*Param
	lowest  int // the lowest stage with something trained: -1 the embedding, a layer, or n_layer: the head

	backend    backend.Backend
	owned      bool                   // the backend is the session's own
	weights    map[string]backend.Mem // by tensor name
	rooms      []backend.Mem          // of the parameters
	stages     map[stageKey]*stage
	signatures map[int]string
	mem        memory
	run        *pass // the forward pass that a Backward may follow, or nil
	profile    backend.Profile
}

// NewSession makes a session over m. Close it before m.
func NewSession(m *Model, cfg SessionConfig) (*Session, error) {
	s, err := newSession(m, cfg)
	if err != nil {
		return nil, err
	}
	if err = s.hold(); err == nil {
		err = s.addParams()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// hold gives the backend the model's weights.
func (s *Session) hold() error {
	for name, t := range s.model.tensors {
		m, err := s.backend.Hold(backend.Weight{Name: name, Type: int32(t.info.Type), Shape: t.shape, Row: t.row, Data: t.data})
		if err != nil {
			return fmt.Errorf("engine: tensor %q: %w", name, err)
		}
		s.weights[name] = m
	}
	return nil
}

// newSession makes a session that has taken no memory and no thread yet.
func newSession(m *Model, cfg SessionConfig) (*Session, error) {
	if cfg.Full && cfg.Adapter != nil {
		return nil, errors.New("engine: a session trains an adapter or the full model, not both")
	}
	if !(cfg.Dropout >= 0 && cfg.Dropout < 1) {
		return nil, fmt.Errorf("engine: dropout is %g, expected 0 to below 1", cfg.Dropout)
	}
	s := &Session{cfg: cfg, model: m, adapter: cfg.Adapter, full: cfg.Full, lowest: m.hp.NLayer + 1,
		pairs: map[string]*adapter.Pair{}, pairAt: map[*adapter.Pair]int64{}, byName: map[string]*Param{},
		weights: map[string]backend.Mem{}, stages: map[stageKey]*stage{}, signatures: map[int]string{}, backend: cfg.Backend}
	if s.backend == nil {
		b, err := cpu.New(cfg.Threads)
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		s.backend, s.owned = b, true
	}
	if s.full {
		s.lowest = stageEmbed
		return s, m.CheckFull()
	}
	if s.adapter != nil {
		for i := range s.adapter.Pairs {
			if err := s.addPair(&s.adapter.Pairs[i]); err != nil {
				return nil, err
			}
		}
		for il := range m.hp.NLayer {
			s.stack(il)
		}
	}
	return s, nil
}

// stack gives the A halves of a layer's pairs their places one after the other, in the order of the architecture's parts:
// those of roles that share an input are one matrix then (arch.Builder.Linears). It returns them and their floats.
func (s *Session) stack(il int) (pairs []*adapter.Pair, floats int64) {
	for _, part := range s.model.arch.Layer(s.model.hp) {
		if p, ok := s.pairs[part.Name(il)]; ok && part.Linear {
			s.pairAt[p] = floats
			pairs, floats = append(pairs, p), floats+int64(len(p.A))
		}
	}
	return pairs, floats
}

// Close frees the session's memory. The adapter's numbers are copied out first, so that it stays usable.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, p := range s.pairs {
		p.A, p.B = append([]float32(nil), p.A...), append([]float32(nil), p.B...)
	}
	s.params = nil
	if s.owned {
		return s.backend.Close()
	}
	for _, m := range append(s.rooms, s.mem.all()...) {
		s.backend.Free(m)
	}
	return nil
}

// Params lists the trained tensors.
func (s *Session) Params() []*Param { return s.params }

// ZeroGrad sets every gradient to zero.
func (s *Session) ZeroGrad() {
	for _, p := range s.params {
		clear(p.Grad)
	}
}

// Model is the model the session runs over.
func (s *Session) Model() *Model { return s.model }

// Config says what the session trains and how it computes.
func (s *Session) Config() SessionConfig { return s.cfg }

// Adapter holds the trained pairs, or is nil.
func (s *Session) Adapter() *adapter.Adapter { return s.adapter }

// Bytes is the memory the session has allocated beside the mapped weights.
func (s *Session) Bytes() int64 { return s.backend.Bytes() }

// Profile gives the time spent in each phase since the session began, if the config asked for it.
func (s *Session) Profile() map[backend.Phase]time.Duration {
	out := map[backend.Phase]time.Duration{}
	for p, d := range s.profile {
		if d > 0 {
			out[backend.Phase(p)] = d
		}
	}
	return out
}

// Forward computes the log-probabilities of b's counted tokens.
func (s *Session) Forward(ctx context.Context, b *Batch, opt Options) (*Output, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("engine: forward: session %w", ErrClosed)
	}
	s.run = nil
	p, err := s.newPass(b, opt)
	if err != nil {
		return nil, err
	}
	if err := p.forward(ctx); err != nil {
		return nil, err
	}
	if opt.Backward {
		s.run = p
	}
	return p.output()
}

// Backward adds the gradients of the parameters, given those of the outputs of the Forward before it (which must have been
// asked with Options.Backward). It may follow a Forward once.
func (s *Session) Backward(ctx context.Context, g *OutputGrad) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("engine: backward: session %w", ErrClosed)
	case s.run == nil:
		return errors.New("engine: backward without a forward pass before it that was asked to keep what it needs")
	case len(g.LogP) != int(s.run.counted):
		return fmt.Errorf("engine: backward: %d gradients for %d counted tokens", len(g.LogP), s.run.counted)
	}
	p := s.run
	s.run = nil
	return p.backward(ctx, g.LogP)
}

// execute runs a program on the session's memory.
func (s *Session) execute(ctx context.Context, p backend.Program, dropKey int64, of func(graph.ID, *graph.Value) backend.Place) error {
	b := backend.Binding{Work: s.mem.work.at(0), Of: of, DropKey: dropKey}
	if s.cfg.Profile {
		b.Profile = &s.profile
	}
	return p.Run(ctx, &b)
}

// addPair registers a pair after checking that it fits its tensor.
func (s *Session) addPair(p *adapter.Pair) error {
	t, ok := s.model.tensors[p.Tensor]
	in, out := p.AShape[0], p.BShape[1]
	if p.Flipped {
		in, out = p.BShape[1], p.AShape[1]
	}
	if !ok || t.shape != (graph.Shape{in, out}) {
		return fmt.Errorf("engine: adapter pair %q is for a tensor of shape [%d %d], the model's is %v; the adapter belongs to another model", p.Tensor, in, out, t.shape)
	}
	s.pairs[p.Tensor] = p
	switch {
	case p.Layer >= 0:
		s.lowest = min(s.lowest, p.Layer)
	case p.Flipped:
		s.lowest = stageEmbed
	default:
		s.lowest = min(s.lowest, s.model.hp.NLayer)
	}
	return nil
}

// addParams moves what is trained into memory of the session's own.
func (s *Session) addParams() error {
	if s.adapter != nil {
		if err := s.addPairs(); err != nil {
			return err
		}
	}
	if !s.full {
		return nil
	}
	for _, info := range s.model.file.Tensors {
		if t, ok := s.model.tensors[info.Name]; ok && t.trainable() {
			if err := s.addTensor(info.Name, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// addPairs adds the adapter's halves in its own order; where they lie is another matter: see stack.
func (s *Session) addPairs() error {
	as := map[*adapter.Pair]room{}
	for il := range s.model.hp.NLayer {
		pairs, n := s.stack(il)
		layer, err := s.newRoom(n)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			as[p] = layer.part(s.pairAt[p], int64(len(p.A)))
		}
	}
	for i := range s.adapter.Pairs {
		p := &s.adapter.Pairs[i]
		a, ok := as[p]
		var errA error
		if !ok { // outside the layers
			a, errA = s.newRoom(int64(len(p.A)))
		}
		b, errB := s.newRoom(int64(len(p.B)))
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		s.addHalf(p.Tensor, "lora_a", &p.A, p.AShape, a)
		s.addHalf(p.Tensor, "lora_b", &p.B, p.BShape, b)
	}
	return nil
}

// addHalf moves half a pair into its room.
func (s *Session) addHalf(tensor, half string, data *[]float32, shape [2]int64, r room) {
	p := s.addParam(&Param{Name: tensor + "." + half, Shape: shape[:], Group: half, Decay: true}, r)
	copy(p.Data, *data)
	*data = p.Data
}

func (s *Session) addTensor(name string, t tensor) error {
	n := int64(1)
	for _, d := range t.part.Shape {
		n *= d
	}
	r, err := s.newRoom(n)
	if err != nil {
		return err
	}
	p := s.addParam(&Param{Name: name, Shape: t.part.Shape, Group: "full", Decay: len(t.part.Shape) == 2}, r)
	return ggml.DequantizeTo(ggml.Type(t.info.Type), p.Data, t.data)
}

// addParam adds p with its memory.
func (s *Session) addParam(p *Param, r room) *Param {
	p.data, p.grad = r.data, r.grad
	p.Data, p.Grad = s.numbers(r.data, r.n), s.numbers(r.grad, r.n)
	s.params = append(s.params, p)
	s.byName[p.Name] = p
	return p
}

// numbers are n numbers of the backend's memory.
func (s *Session) numbers(at backend.Place, n int64) []float32 {
	b, err := s.backend.(backend.Host).HostBytes(at, n*4)
	if err != nil {
		panic(err)
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// A room is the memory of n trained numbers and their gradients.
type room struct {
	data, grad backend.Place
	n          int64
}

func (s *Session) newRoom(n int64) (r room, err error) {
	r.n = n
	for _, at := range []*backend.Place{&r.data, &r.grad} {
		if at.Mem, err = s.backend.Alloc(n * 4); err != nil {
			return r, err
		}
		s.rooms = append(s.rooms, at.Mem)
	}
	return r, nil
}

// part is n numbers of r, from at.
func (r room) part(at, n int64) room { return room{r.data.Add(at * 4), r.grad.Add(at * 4), n} }

// An area is a block of memory that grows to the largest batch.
type area struct {
	mem   backend.Mem
	bytes int64
}

func (a *area) at(offset int64) backend.Place { return backend.Place{Mem: a.mem, At: offset} }

// grow makes the area at least n bytes; its contents are lost.
func (a *area) grow(b backend.Backend, n int64) error {
	if a.mem != 0 && a.bytes >= n {
		return nil
	}
	b.Free(a.mem)
	*a = area{}
	m, err := b.Alloc(n)
	if err == nil {
		*a = area{m, n}
	}
	return err
}

// memory is what a batch needs beside the parameters.
type memory struct {
	work   area // one stage's temporaries
	inputs area // indices of the batch
	acts   area // the input of every layer (or of two, without a backward pass), and the last one's output
	grads  area // the gradient of a stage's output and input
	keep   area // kept activations
	outs   area // logp and its gradient
}

func (m *memory) all() []backend.Mem {
	return []backend.Mem{m.work.mem, m.inputs.mem, m.acts.mem, m.grads.mem, m.keep.mem, m.outs.mem}
}

// bytesOf sees numbers as the bytes they are.
func bytesOf[T int32 | float32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*4)
}
