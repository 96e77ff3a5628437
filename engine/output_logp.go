package engine

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// LogP is the log-probability of each counted token at the pass's temperature, nats.
var LogP = registerOutput(&Output{
	Name:   "logp",
	Doc:    "the log-probability of each counted token",
	scores: true,
	of:     countedTokens,
	width:  func(*request) int64 { return 1 },
	build:  func(t *top) graph.ID { return t.counted().logp },
})

// A counted is what the output head gives of the counted tokens, in one pass over the vocabulary.
type counted struct{ logp, entropy graph.ID }

// counted builds it, once for all the outputs that are asked for.
func (t *top) counted() *counted {
	if t.head == nil {
		a := graph.HeadAttr{WithMean: t.back, WithEntropy: t.entropy, Scale: t.scale}
		targets := t.Indices(arch.InputTargets, t.n)
		t.head = &counted{}
		t.head.logp, t.head.entropy = t.Head(t.rows(arch.InputSources), targets, a)
	}
	return t.head
}

// countedTokens are those that Row.Counted lists, each with the token that predicts it.
var countedTokens = &reading{
	what:  "counted token",
	names: []string{arch.InputTargets, arch.InputSources},
	row: func(x indices, r *laid) error {
		return r.predicted(func(before, token int32) {
			x.add(arch.InputSources, before)
			x.add(arch.InputTargets, token)
		})
	},
	plan: func(x indices, e *Extent, _ arch.Pooling) {
		x[arch.InputSources], x[arch.InputTargets] = make([]int32, e.Counted), make([]int32, e.Counted)
	},
}

// predicted calls f with the place in the batch of each counted token's predecessor, and with the token.
func (r *laid) predicted(f func(before, token int32)) error {
	last := int32(-1)
	for _, t := range r.Counted {
		if t <= last || int(t) >= len(r.Tokens) {
			return fmt.Errorf("counted token %d after %d: expected ascending indices below %d", t, last, len(r.Tokens))
		}
		if r.before[t] < 0 {
			return fmt.Errorf("counted token %d begins a root segment, so nothing predicts it", t)
		}
		f(r.token+r.before[t], r.Tokens[t])
		last = t
	}
	return nil
}
