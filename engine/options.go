package engine

import "github.com/ggtune/ggtune/engine/arch"

// Options of one forward pass.
type Options struct {
	// Want lists what is asked for; none means Model.Says. A pass that wants nothing of the output head has none.
	Want []*Output
	// Top is how many tokens output Top gives.
	Top int
	// Temp divides the logits: LogP, Entropy, Named and Top are of the softmax at that temperature. 0 stands for 1.
	Temp float64
	// Pooling says what of a text's states output Pooled gives; 0 stands for what the model's file says
	// (Model.Pooling).
	Pooling arch.Pooling
	// Backward keeps what Session.Backward needs; without it only the outputs are computed.
	Backward bool
	// Apply chooses the session's sets that are in force, each on top of those before it; the zero value is all of
	// them. Only() is none: the outputs are the base model's (the reference of preference methods).
	Apply Choice
	// Train chooses those that a backward pass makes gradients of; the zero value is all that are applied and not
	// frozen.
	Train Choice
	// Dropout drops inputs of what stands beside weights, at the sets' rates, and the model's own numbers at
	// SessionConfig.ModelDropout, and adds SessionConfig.EmbedNoise; evaluation leaves it off.
	Dropout bool
	// Inputs, unless nil, is told what each matrix of the layers is multiplied with. Importance matrices are made of
	// it. A pass that goes back tells nothing.
	Inputs func(Input) error

	// Routes, unless nil, hold or are to hold which experts tokens have.
	Routes *Routes

	cache *Cache // unless nil, tokens are the next of its texts
}

// An Input is what a matrix of a layer is multiplied with, valid during the call that tells it.
type Input struct {
	Layer int
	Role  arch.Role
	X     []float32 // [n_in, tokens] or, of several experts, [n_in, choices]
	// Starts says, of several experts, where the rows of each begin, and where the last one's end; else nil.
	Starts []int32
}

func (o *Options) temp() float64 {
	if o.Temp == 0 {
		return 1
	}
	return o.Temp
}

// Says is what a pass gives that is asked for nothing: LogP, or, of a model without an output head, Pooled.
func (m *Model) Says() *Output {
	if m.net.Headless {
		return Pooled
	}
	return LogP
}

// outputs are those of a pass.
func (s *Session) outputs(o *Options) []*Output {
	if len(o.Want) == 0 {
		return []*Output{s.model.Says()}
	}
	return o.Want
}
