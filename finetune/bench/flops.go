package bench

import (
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
)

// flops counts, by phase, the multiplications and additions of one step with the model's own matrices; an adapter's, at
// 1 or 2 in a hundred of these, and attention's are left out, and phases that hold nothing else are absent.
//
// A product with a matrix takes two operations for each of its elements and each token, forward and for the gradient
// of its input; with those of experts, for the elements of the few that a token has. Layers whose activations are not
// kept compute their products again, save the last one's, which nothing in the backward pass reads. The lowest layer's
// input needs no gradient unless the embedding is trained. In full training the gradient of each matrix takes as much
// again.
func flops(m *engine.Model, full bool, tokens, counted, keptLayers int) map[string]float64 {
	hp := m.HParams()
	// Elements of the layers' matrices, of those computed again, and of those that multiply the lowest layer's input.
	var all, again, first float64
	m.Net().Linear(func(p arch.Part, il int) {
		if il < 0 {
			return
		}
		n := float64(p.Shape[0]) * float64(p.Shape[1]) * float64(max(p.Used, 1))
		all += n
		if il < hp.NLayer-keptLayers && !slices.Contains(lastRoles, p.Role) {
			again += n
		}
		switch p.Role {
		case arch.AttnQ, arch.AttnK, arch.AttnV, arch.AttnQKV, arch.ConvIn:
			if il == 0 {
				first += n
			}
		}
	})
	forward, backward := all+again, all-first
	// The head's logits, and the mean row of the softmax that the gradient is made from, in one pass.
	head := 2 * float64(hp.NEmbd) * float64(hp.NVocab)
	if full {
		backward = 2 * all
		head += 2 * float64(hp.NEmbd) * float64(hp.NVocab) // logits again, and the matrix's gradient
	}
	return map[string]float64{
		backend.PhaseLinearForward.String():  2 * float64(tokens) * forward,
		backend.PhaseLinearBackward.String(): 2 * float64(tokens) * backward,
		backend.PhaseHead.String():           2 * float64(counted) * head,
	}
}

// lastRoles are those of a layer's last product.
var lastRoles = []arch.Role{arch.FFNDown, arch.FFNDownExps, arch.FFNDownShexp}
