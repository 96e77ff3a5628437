package engine

import (
	"fmt"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/backend"
)

// A Param is one trained tensor. Its numbers and their gradients lie in the session's backend, valid until the session is closed;
// they may be written only between passes.
type Param struct {
	Name  string // GGUF tensor name, with .lora_a or .lora_b for an adapter's
	Shape []int64
	Value backend.Floats
	Grad  backend.Floats
	// Group is "lora_a", "lora_b" or "full"; LoRA+ sets the learning rate by it.
	Group string
	// Decay says whether AdamW's weight decay applies (not to norms and biases).
	Decay bool
}

// Len is the number of trained numbers.
func (p *Param) Len() int64 { return p.Value.N }

// piece is how many numbers are brought to the host at a time where a whole tensor is read or written.
const piece = 1 << 20

// Params lists the trained tensors.
func (s *Session) Params() []*Param { return s.params }

// ZeroGrad sets every gradient to zero.
func (s *Session) ZeroGrad() error {
	for _, p := range s.params {
		if err := p.Grad.Zero(); err != nil {
			return err
		}
	}
	return nil
}

// Adapter gives the adapter that is trained, its numbers brought up to date, or nil. Between calls they are what they were.
func (s *Session) Adapter() (*adapter.Adapter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adapter == nil {
		return nil, nil
	}
	if s.closed {
		return nil, fmt.Errorf("engine: adapter: session %w", ErrClosed)
	}
	return s.adapter, s.syncDeltas()
}

// addParams gives what is trained memory of the session's own.
func (s *Session) addParams() error {
	if err := s.addDeltas(); err != nil {
		return err
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
	buffer := make([]float32, min(n, piece))
	for at := int64(0); at < n; at += piece {
		some := buffer[:min(n-at, piece)]
		// Whole numbers of elements are whole numbers of bytes: CheckFull lets no quantized type through.
		each := int64(len(t.data)) / n
		if err := ggml.DequantizeTo(ggml.Type(t.info.Type), some, t.data[at*each:][:int64(len(some))*each]); err != nil {
			return err
		}
		if err := p.Value.Upload(some, at); err != nil {
			return err
		}
	}
	return nil
}

// addParam adds p with its memory.
func (s *Session) addParam(p *Param, r room) *Param {
	p.Value, p.Grad = r.value, r.grad
	s.params = append(s.params, p)
	s.byName[p.Name] = p
	return p
}

// A room is the memory of trained numbers and their gradients.
type room struct{ value, grad backend.Floats }

func (s *Session) newRoom(n int64) (r room, err error) {
	for _, f := range []*backend.Floats{&r.value, &r.grad} {
		if *f, err = backend.NewFloats(s.backend, n); err != nil {
			return r, err
		}
		s.rooms = append(s.rooms, f.At.Mem)
	}
	return r, nil
}

// part is n numbers of r, from at.
func (r room) part(at, n int64) room { return room{r.value.Part(at, n), r.grad.Part(at, n)} }
