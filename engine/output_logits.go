package engine

import (
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// Logits are the whole vocabulary's at the predecessor of each counted token, [n_vocab, counted]: for checks against
// another implementation.
var Logits = registerOutput(&Output{
	Name:   "logits",
	Doc:    "the logits of the whole vocabulary at the predecessor of each counted token",
	scores: true,
	of:     countedTokens,
	width:  func(r *request) int64 { return int64(r.hp.NVocab) },
	build:  func(t *top) graph.ID { return t.Builder.Logits(t.rows(arch.InputSources)) },
	ends:   true,
})
