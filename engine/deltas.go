package engine

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
)

// deltas lists what is trained beside weights.
func (s *Session) deltas() []delta.Placed {
	if s.adapter == nil {
		return nil
	}
	return s.adapter.Deltas()
}

// planDeltas checks that every delta fits its weight, and says where they stand.
func (s *Session) planDeltas() error {
	for _, d := range s.deltas() {
		t, ok := s.model.tensors[d.Tensor]
		if !ok || t.shape != d.Weight {
			return fmt.Errorf("engine: adapter pair %q is for a tensor of shape %v, the model's is %v; the adapter "+
				"belongs to another model", d.Tensor, d.Weight, t.shape)
		}
		s.uses[d.Tensor] = delta.Use{Delta: d.Delta}
		s.lowest = min(s.lowest, t.stage)
	}
	for il := range s.model.net.NLayer {
		s.stack(il)
	}
	return nil
}

// stack gives the stacked parameters of a layer's deltas their places one right behind the other, in the order of the
// architecture's parts, and returns their number of elements.
func (s *Session) stack(il int) (n int64) {
	for _, part := range s.model.net.Layer(il).Parts() {
		name := part.Name(il)
		if use, ok := s.uses[name]; ok {
			use.At = n
			s.uses[name] = use
			n += delta.Stacked(use.Delta, s.model.tensors[name].shape)
		}
	}
	return n
}

// addDeltas gives the parameters of the deltas their memory and their beginnings, in the order of the deltas; where
// they lie is another matter: see stack.
func (s *Session) addDeltas() error {
	list := s.deltas()
	if len(list) == 0 {
		return nil
	}
	stacks := make([]room, s.model.net.NLayer)
	for il := range stacks {
		var err error
		if stacks[il], err = s.newRoom(s.stack(il)); err != nil {
			return err
		}
	}
	for _, d := range list {
		il := s.model.tensors[d.Tensor].stage
		for i, p := range d.Params(d.Weight) {
			n := p.Shape.Elements()
			var r room
			var err error
			if p.Stacked && il >= 0 && il < len(stacks) {
				r = stacks[il].part(s.uses[d.Tensor].At, n)
			} else if r, err = s.newRoom(n); err != nil {
				return err
			}
			q := s.addParam(&Param{Name: d.Tensor + "." + p.Name, Shape: p.Shape[:2], Group: p.Name, Decay: p.Decay}, r)
			if err := q.Value.Upload(d.Values[i], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncDeltas brings the deltas' own numbers up to date.
func (s *Session) syncDeltas() error {
	for _, d := range s.deltas() {
		for i, p := range d.Params(d.Weight) {
			if err := s.byName[d.Tensor+"."+p.Name].Value.Download(d.Values[i], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// setsAt gives what is applied in stage il.
func (s *Session) setsAt(il int, sh shape) []arch.Set {
	if !sh.adapter {
		return nil
	}
	return []arch.Set{func(r arch.Role) (delta.Use, bool) {
		name, _, _ := s.find(il, string(r)+".weight")
		use, ok := s.uses[name]
		if sh.dropout {
			use.Dropout = s.cfg.Dropout
		}
		return use, ok
	}}
}

// trainedCount is the number of trained parameters.
func (s *Session) trainedCount() (n int64) {
	for _, t := range s.model.tensors {
		if s.full && t.trainable() {
			n += t.shape.Elements()
		}
	}
	for _, d := range s.deltas() {
		for _, p := range d.Params(d.Weight) {
			n += p.Shape.Elements()
		}
	}
	return n
}
