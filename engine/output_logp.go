package engine

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// LogP is the log-probability of each counted token, nats.
var LogP = registerOutput(&Output{
	Name:  "logp",
	Doc:   "the log-probability of each counted token",
	of:    countedTokens,
	width: func(arch.HParams) int64 { return 1 },
	build: func(t *top) graph.ID { return t.Head(t.rows(arch.InputSources), t.n, t.back) },
})

// countedTokens are those that Row.Counted lists, each with the token that predicts it.
var countedTokens = &reading{
	what:  "counted token",
	names: []string{arch.InputTargets, arch.InputSources},
	row: func(x indices, r *laid) error {
		last := int32(-1)
		for _, t := range r.Counted {
			if t <= last || int(t) >= len(r.Tokens) {
				return fmt.Errorf("counted token %d after %d: expected ascending indices below %d", t, last,
					len(r.Tokens))
			}
			if r.before[t] < 0 {
				return fmt.Errorf("counted token %d begins a root segment, so nothing predicts it", t)
			}
			x.add(arch.InputSources, r.token+r.before[t])
			x.add(arch.InputTargets, r.Tokens[t])
			last = t
		}
		return nil
	},
}
