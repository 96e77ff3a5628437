package engine

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/graph"
)

// planDeltas checks that every delta of a set fits its weight, and says where they stand.
func (s *Session) planDeltas(t *set) error {
	for _, d := range t.deltas() {
		x, ok := s.model.tensors[d.Tensor]
		if !ok || x.shape != d.Weight {
			return fmt.Errorf("engine: adapter pair %q is for a tensor of shape %v, the model's is %v; the adapter "+
				"belongs to another model", d.Tensor, d.Weight, x.shape)
		}
		if d.Late && x.stage == s.model.net.NLayer { // whose rows are not those of all tokens
			return fmt.Errorf("engine: adapter pair %q acts only from an invocation on (aLoRA), which what follows "+
				"the layers cannot; train one without that target", d.Tensor)
		}
		t.uses[d.Tensor] = delta.Use{Delta: d.Delta, Set: t.prefix(), Late: d.Late}
		t.lowest = min(t.lowest, x.stage)
	}
	for il := range s.model.net.NLayer {
		s.stack(t, il)
	}
	return nil
}

// stack gives the stacked parameters of a layer's deltas their places one right behind the other, in the order of the
// architecture's parts, and returns their number of elements.
func (s *Session) stack(t *set, il int) (n int64) {
	for _, part := range s.model.net.Layer(il).Parts() {
		name := part.Name(il)
		if use, ok := t.uses[name]; ok {
			use.At = n
			t.uses[name] = use
			n += delta.Stacked(use.Delta, s.model.tensors[name].shape)
		}
	}
	return n
}

// late says whether something of the session acts only from an invocation on.
func (s *Session) late() bool {
	for _, t := range s.sets {
		for _, use := range t.uses {
			if use.Late {
				return true
			}
		}
	}
	return false
}

// addDeltas gives the parameters of a set's deltas their memory and their beginnings, in the order of the deltas; where
// they lie is another matter: see stack.
func (s *Session) addDeltas(t *set) error {
	list := t.deltas()
	if len(list) == 0 {
		return nil
	}
	stacks := make([]room, s.model.net.NLayer)
	for il := range stacks {
		var err error
		if stacks[il], err = s.newRoom(s.stack(t, il), graph.F32, !t.Frozen && s.trainsStack(t, il)); err != nil {
			return err
		}
	}
	shared := map[string]*Param{}
	for _, d := range list {
		il := s.model.tensors[d.Tensor].stage
		for i, p := range d.Params(d.Weight) {
			name := t.prefix() + d.Tensor + "." + p.Name
			if q := shared[p.Shared]; q != nil {
				s.byName[name] = q
				continue
			}
			var r room
			var err error
			if p.Stacked && il >= 0 && il < len(stacks) {
				r = stacks[il].part(t.uses[d.Tensor].At, p.Shape.Elements())
			} else if r, err = s.newRoom(p.Shape.Elements(), graph.F32, !t.Frozen && !p.Fixed); err != nil {
				return err
			}
			q := s.addParam(t, beside(d.Tensor, p), r)
			if p.Shared != "" {
				shared[p.Shared], s.byName[name] = q, q
			}
			if err := q.Value.Upload(d.Values[i], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// trainsStack says whether any stacked parameter of a layer's deltas is trained.
func (s *Session) trainsStack(t *set, il int) bool {
	for _, part := range s.model.net.Layer(il).Parts() {
		name := part.Name(il)
		if use, ok := t.uses[name]; ok && slices.ContainsFunc(use.Delta.Params(s.model.tensors[name].shape),
			func(p delta.Param) bool { return p.Stacked && !p.Fixed }) {
			return true
		}
	}
	return false
}

// setsAt gives what stands beside weights in stage il.
func (s *Session) setsAt(il int, sh shape) []arch.Set {
	var out []arch.Set
	for _, t := range s.in(sh.apply) {
		if len(t.uses) == 0 {
			continue
		}
		out = append(out, func(r arch.Role) (delta.Use, bool) {
			name, _, _ := s.find(il, string(r)+".weight")
			use, ok := t.uses[name]
			use.Frozen = !sh.train.has(t)
			if sh.dropout {
				use.Dropout = t.Dropout
			}
			return use, ok
		})
	}
	return out
}
