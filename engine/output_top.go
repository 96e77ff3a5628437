package engine

import (
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// Top are the Options.Top likeliest tokens in the place of each counted one: first the tokens, the likeliest first,
// then their log-probabilities, nats.
var Top = registerOutput(&Output{
	Name:   "top",
	Doc:    "the likeliest tokens in the place of each counted one, then their log-probabilities",
	scores: true,
	of:     countedTokens,
	width:  func(r *request) int64 { return 2 * int64(r.opt.Top) },
	build: func(t *top) graph.ID {
		return t.HeadTop(t.rows(arch.InputSources), graph.HeadTopAttr{N: int64(t.opt.Top), Scale: t.scale})
	},
	ends: true,
})
