package engine

import (
	"slices"

	"github.com/ggtune/ggtune/engine/backend"
)

// drops says whether the pass zeroes elements by chance.
func (p *pass) drops() bool {
	return p.opt.Dropout && (p.s.cfg.ModelDropout > 0 ||
		slices.ContainsFunc(p.s.in(p.apply), func(s *set) bool { return s.Dropout > 0 }))
}

// dropKeys are the keys of the stages' dropout masks, by seed, micro-batch and stage; the graph's streams tell a
// stage's tensors apart. Each is at a place of its own: see dropKeyAt.
func (p *pass) dropKeys() []int64 {
	if !p.drops() {
		return nil
	}
	n := p.s.model.net.NLayer
	keys := make([]int64, dropKeyAt(n)/8)
	for il := stageFinal; il < n; il++ {
		keys[dropKeyAt(il)/8] = int64(mix(p.key, uint64(il+2)))
	}
	return keys
}

// dropKeyAt is the place of a stage's key, bytes from the first one's; that of n_layer is the size of all.
func dropKeyAt(il int) int64 { return int64(il-stageFinal) * backend.Alignment }
