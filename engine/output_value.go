package engine

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// ValueHead is the role of the head that Value reads, a tensor that models lack and a set has: "value.weight" [n_embd,
// 1], without a bias, as TRL's reward and value models have it.
const ValueHead arch.Role = "value"

// Value is a number for each token that Row.Valued lists: the product of head ValueHead with the state after the output
// norm at that token. It is the score of what ends there, or what is still to come.
var Value = registerOutput(&Output{
	Name:  "value",
	Doc:   "a number for each valued token, from the state after the output norm at it",
	of:    valuedTokens,
	width: func(*request) int64 { return 1 },
	head:  ValueHead,
	build: func(t *top) graph.ID {
		return t.G.Linear(t.Weight(ValueHead, ".weight"), t.rows(arch.InputValued), graph.None, graph.None, 1)
	},
})

// valuedTokens are those that Row.Valued lists.
var valuedTokens = &reading{
	what:  "valued token",
	names: []string{arch.InputValued},
	row: func(x indices, r *laid) error {
		last := int32(-1)
		for _, t := range r.Valued {
			if t <= last || int(t) >= len(r.Tokens) {
				return fmt.Errorf("valued token %d after %d: expected ascending indices below %d", t, last,
					len(r.Tokens))
			}
			x.add(arch.InputValued, r.token+t)
			last = t
		}
		return nil
	},
	plan: func(x indices, e *Extent, _ arch.Pooling) { x[arch.InputValued] = make([]int32, e.Valued) },
}
