package engine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Set is what is applied together, under a name: a policy, a reference, a value head. A pass says which sets are in
// force and which of them get gradients.
type Set struct {
	// Name tells the session's sets apart; it holds no slash. Parameters are named "name/blk.0.attn_q.weight.lora_a",
	// and without the first part where it is "".
	Name string
	// Adapter holds what stands beside weights, such as an *adapter.Adapter, or is nil. The session copies its numbers;
	// Session.Set brings them up to date.
	Adapter Deltas
	// Whole chooses tensors of the model that the set has numbers of its own for: by their part and layer (-1 outside
	// the layers). They begin as the model's. nil: none.
	Whole func(p arch.Part, il int) bool
	// Master is the type in which those that are matrices are kept, F32 or BF16; the others are F32.
	Master gguf.Type
	// Type is the storage type in which those that are matrices are written, nil: see Written; or what the Adapter
	// leaves in, nil: F32.
	Type *gguf.Type
	// Types are storage types of some of them, by tensor name, in the place of Type.
	Types map[string]gguf.Type
	// FileType is written as general.file_type; nil: the type that all matrices have.
	FileType *uint32
	// Rounded: passes read matrices as they are written, and gradients go to what they are rounded from.
	Rounded bool
	// Heads are tensors that the model lacks and outputs ask for, or whoever makes a loss of outputs: of the latter no
	// pass computes anything, and Backward adds nothing to their gradients.
	Heads []Head
	// Frozen sets are applied and not trained: they have no gradients and are not among Params.
	Frozen bool
	// Apart sets are another model's: a pass applies them only where it names them (Options.Apply).
	Apart bool
	// Dropout is the probability that an element of the input of what stands beside a weight is zeroed in training, 0
	// to below 1.
	Dropout float64
}

// Deltas are what stands beside weights.
type Deltas interface {
	// Deltas lists them, at most one beside a weight, in the order of their parameters. It always gives the same
	// memory.
	Deltas() []delta.Placed
}

// A Head is a tensor outside the layers that a set has and the model does not.
type Head struct {
	Role   arch.Role
	Shape  []int64   // [n_in, n_out], or [n] of what is no matrix
	Values []float32 // its beginnings, and what it is brought up to date in
}

// Everything chooses all tensors.
func Everything(arch.Part, int) bool { return true }

// Whole says whether a set has numbers of its own for tensors of the model.
func (c SessionConfig) Whole() bool {
	return slices.ContainsFunc(c.Sets, func(s Set) bool { return s.Whole != nil })
}

// A Choice picks sets of a session. Its zero value is all that can be picked and are not apart.
type Choice struct {
	some  bool
	names []string
}

// Only picks the sets named, or none.
func Only(names ...string) Choice { return Choice{some: true, names: names} }

// None says whether c picks no set.
func (c Choice) None() bool { return c.some && len(c.names) == 0 }

// maxSets is the number of bits of a mask.
const maxSets = 64

// A mask is some of a session's sets, one bit each, in the session's order: in it they are applied, whatever order a
// Choice names them in.
type mask uint64

func (m mask) has(t *set) bool { return m>>t.bit&1 != 0 }

// A set is a Set at work in a session.
type set struct {
	Set
	bit    int
	uses   map[string]delta.Use // what stands beside a weight, by tensor name
	own    map[string]own       // tensors that the set has numbers of its own for: the model's and heads
	params []*Param
	lowest int // the lowest stage with something of it: -1 the embedding, a layer, or n_layer: the head
}

// An own is what a set has of a tensor.
type own struct {
	shape graph.Shape
	typ   int32
}

// master is the type in which a set keeps its numbers for a tensor of the model.
func (t *Set) master(x *tensor) int32 {
	if x.part.Matrix() {
		return int32(t.Master)
	}
	return graph.F32
}

// deltas lists what stands beside weights.
func (t *set) deltas() []delta.Placed {
	if t.Adapter == nil {
		return nil
	}
	return t.Adapter.Deltas()
}

// prefix is what names of the set's parameters begin with.
func (t *set) prefix() string {
	if t.Name == "" {
		return ""
	}
	return t.Name + "/"
}

// empty says that there is nothing in the set.
func (t *set) empty() bool { return len(t.uses)+len(t.own) == 0 }

// planSets checks the config's sets, and says where what they hold stands.
func (s *Session) planSets() error {
	if !rate(s.cfg.ModelDropout) {
		return fmt.Errorf("engine: dropout of the model is %g, expected 0 to below 1", s.cfg.ModelDropout)
	}
	if len(s.cfg.Sets) > maxSets {
		return fmt.Errorf("engine: %d sets, expected at most %d", len(s.cfg.Sets), maxSets)
	}
	for i, c := range s.cfg.Sets {
		switch {
		case strings.Contains(c.Name, "/"):
			return fmt.Errorf("engine: set %q: expected a name without a slash", c.Name)
		case s.set(c.Name) != nil:
			return fmt.Errorf("engine: two sets are named %q", c.Name)
		case c.Master != gguf.F32 && c.Master != gguf.BF16:
			return fmt.Errorf("engine: numbers are kept in %v, expected f32 or bf16", c.Master)
		case !rate(c.Dropout):
			return fmt.Errorf("engine: dropout is %g, expected 0 to below 1", c.Dropout)
		}
		t := &set{Set: c, bit: i, uses: map[string]delta.Use{}, own: map[string]own{},
			lowest: s.model.net.NLayer + 1}
		s.sets = append(s.sets, t)
		if err := errors.Join(s.planDeltas(t), s.planWhole(t), s.planHeads(t)); err != nil {
			return err
		}
	}
	return nil
}

// rate says whether p is a rate of dropout.
func rate(p float64) bool { return p >= 0 && p < 1 }

func (s *Session) planWhole(t *set) error {
	if t.Whole == nil {
		return nil
	}
	for _, info := range s.model.file.Tensors {
		if !s.model.chosen(&t.Set, info.Name) {
			continue
		}
		if err := s.model.checkWritten(&t.Set, &info); err != nil {
			return err
		}
		x := s.model.tensors[info.Name]
		t.own[info.Name] = own{x.shape, t.master(&x)}
		t.lowest = min(t.lowest, x.stage)
	}
	return nil
}

func (s *Session) planHeads(t *set) error {
	for _, h := range t.Heads {
		if _, ok := s.model.tensors[h.tensor()]; ok {
			return fmt.Errorf("engine: head %q: the model has a tensor of that name", h.Role)
		}
		rows := int64(1)
		if len(h.Shape) == 2 {
			rows = h.Shape[1]
		}
		if n := len(h.Shape); n < 1 || n > 2 || h.Shape[0] < 1 || rows < 1 || int64(len(h.Values)) != h.Shape[0]*rows {
			return fmt.Errorf("engine: head %q: %d numbers for shape %v, expected those of a matrix or a list", h.Role,
				len(h.Values), h.Shape)
		}
		t.own[h.tensor()] = own{graph.Matrix(h.Shape[0], rows), graph.F32}
		t.lowest = min(t.lowest, s.model.net.NLayer)
	}
	return nil
}

func (h *Head) tensor() string { return arch.TensorName(h.Role, ".weight", -1) }

// set finds a set by name, or gives nil.
func (s *Session) set(name string) *set {
	for _, t := range s.sets {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// in lists the sets of a mask, in their order.
func (s *Session) in(m mask) []*set {
	var out []*set
	for _, t := range s.sets {
		if m.has(t) {
			out = append(out, t)
		}
	}
	return out
}

// pick gives the sets that c names of those that may be picked, or all of these.
func (s *Session) pick(c Choice, may mask) (mask, error) {
	if !c.some {
		return may, nil
	}
	var out mask
	for _, name := range c.names {
		t := s.set(name)
		if t == nil {
			var known []string
			for _, t := range s.sets {
				known = append(known, strconv.Quote(t.Name))
			}
			return 0, fmt.Errorf("no set is named %q; the session's: %s", name, strings.Join(known, ", "))
		}
		if !may.has(t) {
			return 0, fmt.Errorf("set %q is frozen or not applied", name)
		}
		out |= 1 << t.bit
	}
	return out, nil
}

// choose gives the sets that a pass applies, and those of them that it trains.
func (s *Session) choose(opt *Options) (apply, train mask, err error) {
	if apply, err = s.pick(opt.Apply, 1<<len(s.sets)-1); err != nil {
		return 0, 0, fmt.Errorf("engine: forward: apply: %w", err)
	}
	for _, t := range s.sets {
		if t.Apart && !opt.Apply.some {
			apply &^= 1 << t.bit
		}
	}
	if err := s.agree(apply); err != nil || !opt.Backward {
		return apply, 0, err
	}
	may := apply
	for _, t := range s.sets {
		if t.Frozen {
			may &^= 1 << t.bit
		}
	}
	if train, err = s.pick(opt.Train, may); err != nil {
		return 0, 0, fmt.Errorf("engine: forward: train: %w", err)
	}
	if !slices.ContainsFunc(s.in(train), func(t *set) bool { return !t.empty() }) {
		return 0, 0, errors.New("engine: forward: a backward pass is asked for, and it trains nothing")
	}
	return apply, train, nil
}

// agree refuses sets at once of which two have numbers of their own for a tensor.
func (s *Session) agree(apply mask) error {
	of := map[string]*set{}
	for _, t := range s.in(apply) {
		for name := range t.own {
			if other := of[name]; other != nil {
				return fmt.Errorf("engine: forward: sets %q and %q both have numbers for tensor %q; apply one of them",
					other.Name, t.Name, name)
			}
			of[name] = t
		}
	}
	return nil
}

// Set gives a set with the numbers of its adapter and its heads brought up to date; between calls they are what they
// were.
func (s *Session) Set(name string) (Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Set{}, fmt.Errorf("engine: set %q: session %w", name, ErrClosed)
	}
	t := s.set(name)
	if t == nil {
		return Set{}, fmt.Errorf("engine: no set is named %q", name)
	}
	for _, d := range t.deltas() {
		for i, p := range d.Params(d.Weight) {
			if err := s.byName[t.prefix()+d.Tensor+"."+p.Name].Value.Download(d.Values[i], 0); err != nil {
				return Set{}, err
			}
		}
	}
	for i := range t.Heads {
		h := &t.Heads[i]
		if err := s.byName[t.prefix()+h.tensor()].Value.Download(h.Values, 0); err != nil {
			return Set{}, err
		}
	}
	return t.Set, nil
}
