package encode

import (
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/method"
)

// Want says what a pass over m is to give for a method: for one with a teacher, who says t, the log-probabilities of
// the tokens that t names, which are written into the rows; else those of the counted tokens.
func (m *Micro) Want(how *method.Method, t *Teaching) ([]*engine.Output, error) {
	if how.Teacher {
		return []*engine.Output{engine.Named}, m.named(t)
	}
	return []*engine.Output{engine.LogP}, nil
}

// Inputs puts what a pass gave that was asked for what Want says, and what the reference and the teacher say (or nil),
// beside what it means.
func (m *Micro) Inputs(how *method.Method, out engine.Outputs, ref []float64, t *Teaching) (*method.Inputs, error) {
	in := &method.Inputs{Ref: ref, Sequences: m.Sequences}
	if how.Teacher {
		if err := m.taught(in, widen(out[engine.Named]), t); err != nil {
			return nil, err
		}
	} else {
		in.LogP = widen(out[engine.LogP])
	}
	if len(in.LogP) != m.Counted || ref != nil && len(ref) != m.Counted {
		return nil, fmt.Errorf("forward pass gave %d log-probabilities, and the reference %d, for %d counted tokens",
			len(in.LogP), len(ref), m.Counted)
	}
	return in, nil
}

// Slopes are a method's derivatives by the inputs of m, as the engine takes them.
func (m *Micro) Slopes(how *method.Method, r *method.Result) engine.Outputs {
	if how.Teacher {
		return engine.Outputs{engine.Named: narrow(r.Grad)}
	}
	return engine.Outputs{engine.LogP: narrow(r.Grad)}
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
