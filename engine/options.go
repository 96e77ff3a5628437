package engine

// Options of one forward pass.
type Options struct {
	// Want lists what is asked for; none means LogP. A pass that wants nothing of the output head has none.
	Want []*Output
	// Backward keeps what Session.Backward needs; without it only the outputs are computed.
	Backward bool
	// NoAdapter switches the adapter off: the outputs are the base model's (the reference of preference methods).
	NoAdapter bool
	// Dropout applies the session's dropout rate to the adapter's input; evaluation leaves it off.
	Dropout bool
}

func (o *Options) outputs() []*Output {
	if len(o.Want) == 0 {
		return []*Output{LogP}
	}
	return o.Want
}
