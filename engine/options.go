package engine

// Options of one forward pass.
type Options struct {
	// Backward keeps what Session.Backward needs; without it only the outputs are computed.
	Backward bool
	// NoAdapter switches the adapter off: the outputs are the base model's (the reference of preference methods).
	NoAdapter bool
	// Dropout applies the session's dropout rate to the adapter's input; evaluation leaves it off.
	Dropout bool
	// Logits asks for the logits of the whole vocabulary instead of log-probabilities, for checks against another
	// implementation: n_vocab numbers for every counted token. It excludes Backward.
	Logits bool
}
