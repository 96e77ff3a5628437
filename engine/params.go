package engine

import (
	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Param is one trained tensor. Its numbers and their gradients lie in the session's backend, valid until the
// session is closed; they may be written only between passes, and Session.Updated told of it.
type Param struct {
	// Name is the GGUF tensor name, with .lora_a or .lora_b for an adapter's; behind the set's name and a slash, if it
	// has one.
	Name  string
	Shape []int64
	Value backend.Floats
	Grad  backend.Floats
	// Group is "lora_a", "lora_b", "full", or "embed" for a tensor of the model that embeds tokens, or scores them
	// where that is another one: learning rates may differ by it.
	Group string
	// Decay says whether AdamW's weight decay applies (not to norms and biases).
	Decay bool
	// Tied is delta.Param's: gradients of so many neighbours are their mean after each backward pass.
	Tied int64
	// Fixed is delta.Param's: the numbers stay as they begin, and have no gradient.
	Fixed bool
}

// ValueBytes is the size of the trained numbers.
func (p *Param) ValueBytes() int64 { return graph.TypeBytes(p.Value.Type) * p.Len() }

// Len is the number of trained numbers.
func (p *Param) Len() int64 {
	n := int64(1)
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// piece is how many numbers are brought to the host at a time where a whole tensor is read or written.
const piece = 1 << 20

// Params lists the trained tensors, set by set: a set's deltas in the adapter's order, then the model's tensors in
// the file's, then heads.
func (s *Session) Params() []*Param { return s.params }

// Fixed lists what stands beside weights in sets that are trained and stays as it begins.
func (s *Session) Fixed() (out []*Param) {
	for _, t := range s.sets {
		for _, p := range t.params {
			if p.Fixed && !t.Frozen {
				out = append(out, p)
			}
		}
	}
	return out
}

// ZeroGrad sets every gradient to zero.
func (s *Session) ZeroGrad() error {
	for _, p := range s.params {
		if err := p.Grad.Zero(); err != nil {
			return err
		}
	}
	return nil
}

// addParams gives what the sets hold memory of the session's own.
func (s *Session) addParams() error {
	for _, t := range s.sets {
		if err := s.addDeltas(t); err != nil {
			return err
		}
		for _, info := range s.model.file.Tensors {
			if _, ok := t.own[info.Name]; ok {
				if err := s.addTensor(t, info.Name, s.model.tensors[info.Name]); err != nil {
					return err
				}
			}
		}
		for i := range t.Heads {
			h := &t.Heads[i]
			r, err := s.newRoom(int64(len(h.Values)), graph.F32, !t.Frozen)
			if err != nil {
				return err
			}
			p := s.addParam(t, h.param(), r)
			if err := p.Value.Upload(h.Values, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// addTensor adds a tensor of the model that begins as it lies in the file. A quantized one is dequantized a few rows at
// a time: no second copy of it is made.
func (s *Session) addTensor(t *set, name string, x tensor) error {
	r, err := s.newRoom(x.shape.Elements(), t.own[name].typ, !t.Frozen)
	if err != nil {
		return err
	}
	p := s.addParam(t, x.param(name), r)
	if err := s.addRounded(t, p, name); err != nil {
		return err
	}
	width, rows := x.shape[0], x.rows()
	step := max(1, piece/width)
	buffer := make([]float32, min(step, rows)*width)
	for at := int64(0); at < rows; at += step {
		n := min(step, rows-at)
		some := buffer[:n*width]
		if err := ggml.DequantizeTo(ggml.Type(x.info.Type), some, x.data[at*x.row:][:n*x.row]); err != nil {
			return err
		}
		if err := p.Value.Upload(some, at*width); err != nil {
			return err
		}
	}
	return nil
}

// addParam adds p to a set, with its memory.
func (s *Session) addParam(t *set, p *Param, r room) *Param {
	p.Name = t.prefix() + p.Name
	p.Value, p.Grad = r.value, r.grad
	t.params = append(t.params, p)
	if !t.Frozen && !p.Fixed {
		s.params = append(s.params, p)
	}
	s.byName[p.Name] = p
	return p
}

// A room is the memory of a set's numbers and, unless it is frozen, of their gradients.
type room struct{ value, grad backend.Floats }

// newRoom takes memory for n numbers of a type, and for their gradients if they are trained.
func (s *Session) newRoom(n int64, typ int32, trained bool) (r room, err error) {
	if r.value, err = backend.NewFloatsOf(s.backend, n, typ); err != nil {
		return r, err
	}
	s.rooms = append(s.rooms, r.value.At.Mem)
	if !trained {
		return r, nil
	}
	if r.grad, err = backend.NewFloats(s.backend, n); err != nil {
		return r, err
	}
	s.rooms = append(s.rooms, r.grad.At.Mem)
	return r, nil
}

// part is n numbers of r, from at.
func (r room) part(at, n int64) room {
	out := room{value: r.value.Part(at, n)}
	if r.grad.N > 0 {
		out.grad = r.grad.Part(at, n)
	}
	return out
}

// listed gives a set's parameters without memory, shared ones once; their Value tells the type alone.
func (s *Session) listed(t *set) (out []*Param) {
	shared := map[string]bool{}
	for _, d := range t.deltas() {
		for _, p := range d.Params(d.Weight) {
			if !shared[p.Shared] {
				out = append(out, beside(d.Tensor, p))
			}
			shared[p.Shared] = p.Shared != ""
		}
	}
	for i := range s.model.file.Tensors {
		name := s.model.file.Tensors[i].Name
		if x, ok := s.model.tensors[name]; ok && t.own[name] != (own{}) {
			p := x.param(name)
			p.Value.Type = t.own[name].typ
			out = append(out, p)
		}
	}
	for i := range t.Heads {
		out = append(out, t.Heads[i].param())
	}
	return out
}

// beside is a number of a delta beside a tensor, without memory.
func beside(tensor string, p delta.Param) *Param {
	name := tensor + "." + p.Name
	if p.Shared != "" {
		name = p.Shared
	}
	return &Param{Name: name, Shape: p.Shape.Dims(), Group: p.Name, Decay: p.Decay, Tied: p.Tied, Fixed: p.Fixed}
}

// param is a tensor of the model that is trained, without memory.
func (x *tensor) param(name string) *Param {
	group := "full"
	if x.stage == stageEmbed || x.part.Role == arch.Output {
		group = "embed"
	}
	shape := x.part.Shape
	if !x.part.Matrix() { // of the biases of several experts optimizers are to make no matrix
		shape = []int64{x.shape.Elements()}
	}
	return &Param{Name: name, Shape: shape, Group: group, Decay: x.part.Matrix() || x.part.Taps}
}

// param is a head that is trained, without memory.
func (h *Head) param() *Param {
	return &Param{Name: h.tensor(), Shape: h.Shape, Group: "full", Decay: len(h.Shape) == 2}
}
