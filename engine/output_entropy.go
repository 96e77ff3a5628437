package engine

import "github.com/ggtune/ggtune/engine/graph"

// Entropy is that of the whole vocabulary's distribution which predicts each counted token, at the pass's temperature,
// nats. Beside LogP it costs no second pass over the vocabulary; in a pass that goes back the head then makes three
// products instead of two, for the derivative needs a weighted mean of the head's rows of its own.
var Entropy = registerOutput(&Output{
	Name:   "entropy",
	Doc:    "the entropy of the distribution that predicts each counted token",
	scores: true,
	of:     countedTokens,
	width:  func(*request) int64 { return 1 },
	build:  func(t *top) graph.ID { return t.counted().entropy },
})
