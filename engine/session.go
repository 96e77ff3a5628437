package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/engine/graph"
)

// A SessionConfig says what a session trains and how it computes.
type SessionConfig struct {
	// Backend computes; the session must be closed before it. nil: a CPU backend of the session's own, with Threads
	// threads.
	Backend backend.Backend
	Threads int // 1 to ggml.MaxThreads; read where Backend is nil
	// Exact computes every product in f32; the default packs activations for the fastest product the CPU has.
	Exact bool
	// Sets are what passes apply and train, beside the model or in its place. None: the model as it is.
	Sets []Set
	// EmbedNoise is NEFTune's α: noise of that size is added to the embeddings in passes with dropout. 0: none.
	EmbedNoise float64
	// ModelDropout is the rate at which passes with dropout drop the model's own numbers, 0 to below 1, where
	// transformers' class of the architecture does (arch.Builder.Drop). 0: none.
	ModelDropout float64
	// Seed keys the dropout masks and the noise.
	Seed uint64
	// KeepBytes is the memory that activations kept for the backward pass may take, in bytes; layers beyond it are
	// computed again. 0 computes every layer again.
	KeepBytes int64
	// Profile sums the time spent in each Phase.
	Profile bool
}

// A Session runs passes over one model. It belongs to one goroutine at a time, which a mutex enforces; Backward goes
// with the Forward before it.
type Session struct {
	mu     sync.Mutex
	closed bool
	cfg    SessionConfig
	model  *Model
	sets   []*set
	params []*Param          // of the sets that are not frozen
	byName map[string]*Param // of all sets

	backend   backend.Backend
	owned     bool                   // the backend is the session's own
	weights   map[string]backend.Mem // by tensor name
	rooms     []backend.Mem          // of the parameters
	rounded   map[string]*rounded    // by parameter
	extra     []backend.Mem          // of the rounded
	stages    map[stageKey]*stage
	kinds     map[int]any // of each stage: see kind
	mem       memory
	loads     map[int][]int64 // see Loads
	forwarded *pass           // the forward pass that a Backward may follow, or nil
	profile   backend.Profile
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
	if err == nil {
		err = s.roundAll()
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
		m, err := s.backend.Hold(backend.Weight{Name: name, Type: int32(t.info.Type), Shape: t.shape, Row: t.row,
			Data: t.data})
		if err != nil {
			return fmt.Errorf("engine: tensor %q: %w", name, err)
		}
		s.weights[name] = m
	}
	return nil
}

// newSession makes a session that has taken no memory and no thread yet.
func newSession(m *Model, cfg SessionConfig) (*Session, error) {
	s := &Session{cfg: cfg, model: m, byName: map[string]*Param{},
		weights: map[string]backend.Mem{}, rounded: map[string]*rounded{}, stages: map[stageKey]*stage{},
		kinds: map[int]any{}, backend: cfg.Backend}
	if s.backend == nil {
		b, err := cpu.New(cfg.Threads)
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		s.backend, s.owned = b, true
	}
	if err := s.planSets(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close frees the session's memory, and gives the weights back to whoever mapped them.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.params = nil
	if s.owned {
		return s.backend.Close()
	}
	held := slices.Collect(maps.Values(s.weights))
	for _, m := range slices.Concat(held, s.rooms, s.extra, s.mem.all()) {
		s.backend.Free(m)
	}
	return nil
}

// Model is the model the session runs over.
func (s *Session) Model() *Model { return s.model }

// Config says what the session trains and how it computes.
func (s *Session) Config() SessionConfig { return s.cfg }

// Bytes is the memory that is taken on the session's backend beside the mapped weights, by others too.
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

// Forward computes what opt wants of b.
func (s *Session) Forward(ctx context.Context, b *Batch, opt Options) (Outputs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("engine: forward: session %w", ErrClosed)
	}
	s.forwarded = nil
	p, err := s.newPass(b, opt)
	if err != nil {
		return nil, err
	}
	if err := s.model.intact(p.forward(ctx)); err != nil {
		return nil, err
	}
	if opt.Backward {
		s.forwarded = p
	}
	return p.outputs()
}

// Backward adds the gradients of the parameters, given the loss's derivatives by the outputs of the Forward before it
// (which must have been asked with Options.Backward). It may follow a Forward once. ready, unless nil, is called for
// each parameter once, when nothing more is added to its gradient in this pass: in the last micro-batch of a step,
// while others are still to come, it may be read then. The order of the calls follows from the model and what is
// trained; an error ends the pass.
func (s *Session) Backward(ctx context.Context, grad Outputs, ready func(*Param) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("engine: backward: session %w", ErrClosed)
	case s.forwarded == nil:
		return errors.New("engine: backward without a forward pass before it that was asked to keep what it needs")
	}
	if err := s.forwarded.want.check(grad); err != nil {
		return err
	}
	p := s.forwarded
	s.forwarded = nil
	return s.model.intact(p.backward(ctx, grad, ready))
}

// execute runs a program on the session's memory.
func (s *Session) execute(ctx context.Context, p backend.Program, of func(graph.ID, *graph.Value) backend.Place) error {
	b := backend.Binding{Work: s.mem.work.at(0), Of: of}
	if s.cfg.Profile {
		b.Profile = &s.profile
	}
	return p.Run(ctx, &b)
}
