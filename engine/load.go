package engine

import (
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// Loads says how many tokens had each expert, layer by layer, in the passes since it was asked last that were to go
// back; nil where the model has no experts.
func (s *Session) Loads() map[int][]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.loads
	s.loads = nil
	return out
}

// noteLoad counts the tokens of a layer's experts.
func (p *pass) noteLoad(il int, st *stage) error {
	if st.starts == graph.None {
		return nil
	}
	starts := make([]int32, st.forward.Graph().Value(st.starts).Shape.Elements())
	if err := p.s.backend.Download(backend.BytesOf(starts), p.keptPlace(st, st.starts, p.keptAt[il])); err != nil {
		return err
	}
	if p.s.loads == nil {
		p.s.loads = map[int][]int64{}
	}
	if p.s.loads[il] == nil {
		p.s.loads[il] = make([]int64, len(starts)-1)
	}
	for e := range p.s.loads[il] {
		p.s.loads[il][e] += int64(starts[e+1] - starts[e])
	}
	return nil
}
