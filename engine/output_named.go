package engine

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// Named are log-probabilities at the predecessor of each counted token, nats: of the tokens that Row.Named lists for
// it, in that order, and behind them that of all others together. A student's distance from a teacher is made of them,
// with no logits of the whole vocabulary stored.
var Named = registerOutput(&Output{
	Name:   "named",
	Doc:    "the log-probabilities of named tokens in the place of each counted one, and of all others together",
	scores: true,
	of:     namedTokens,
	width:  func(r *request) int64 { return r.named() + 1 },
	build: func(t *top) graph.ID {
		targets := t.Table(arch.InputNamed, t.named(), t.n)
		logp, _ := t.Head(t.rows(arch.InputNamedSources), targets,
			graph.HeadAttr{WithMean: t.back, WithRest: true, Scale: t.scale})
		return logp
	},
})

// namedTokens are those that Row.Named lists, as many for each counted token.
var namedTokens = &reading{
	what:  "counted token",
	names: []string{arch.InputNamedSources, arch.InputNamed},
	row: func(x indices, r *laid) error {
		if len(r.Counted) == 0 {
			return nil
		}
		k := len(r.Named) / len(r.Counted)
		if k == 0 || k*len(r.Counted) != len(r.Named) {
			return fmt.Errorf("%d named tokens for %d counted ones: expected as many for each", len(r.Named),
				len(r.Counted))
		}
		if n := len(x[arch.InputNamedSources]); n > 0 && len(x[arch.InputNamed]) != n*k {
			return fmt.Errorf("%d named tokens for each counted one, and %d in the rows before", k,
				len(x[arch.InputNamed])/n)
		}
		for i := 0; i < len(r.Named); i += k {
			of := slices.Clone(r.Named[i : i+k])
			slices.Sort(of)
			if len(slices.Compact(of)) != k {
				return fmt.Errorf("a token is named twice for counted token %d", i/k)
			}
		}
		if err := r.predicted(func(before, _ int32) { x.add(arch.InputNamedSources, before) }); err != nil {
			return err
		}
		x.add(arch.InputNamed, r.Named...)
		return nil
	},
	plan: func(x indices, e *Extent, _ arch.Pooling) {
		x[arch.InputNamed], x[arch.InputNamedSources] = make([]int32, e.Counted*e.Named), make([]int32, e.Counted)
	},
}
