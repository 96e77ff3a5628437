package encode

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/method"
)

// A Teaching is what a teacher says of the counted tokens of a micro-batch: for each, of Top tokens that may stand in
// its place, itself among them.
type Teaching struct {
	Top    int
	Tokens []int32   // Top for each counted token
	LogP   []float64 // Top + 1 for each, nats: theirs, and that of all others together
}

// Want says what a pass over m is to give: the log-probabilities of its counted tokens or, with a teacher (t is not
// nil), of the tokens that it names, which are written into the rows.
func (m *Micro) Want(t *Teaching) (*engine.Output, error) {
	if t == nil {
		return engine.LogP, nil
	}
	if t.Top < 1 || len(t.Tokens) != t.Top*m.Counted || len(t.LogP) != len(t.Tokens)+m.Counted {
		return nil, fmt.Errorf("a teacher names %d tokens with %d log-probabilities for %d counted ones",
			len(t.Tokens), len(t.LogP), m.Counted)
	}
	at := 0
	for i := range m.Batch.Rows {
		row := &m.Batch.Rows[i]
		row.Named = t.Tokens[at : at+t.Top*len(row.Counted)]
		at += len(row.Named)
	}
	return engine.Named, nil
}

// Inputs puts what a pass gave, and what the reference and the teacher say (or nil), beside what it means.
func (m *Micro) Inputs(out engine.Outputs, ref []float64, t *Teaching) (*method.Inputs, error) {
	in := &method.Inputs{Ref: ref, Sequences: m.Sequences}
	if t == nil {
		in.LogP = widen(out[engine.LogP])
	} else {
		in.Named, in.Teacher, in.Width = widen(out[engine.Named]), t.LogP, t.Top+1
		if len(in.Named) != len(in.Teacher) {
			return nil, fmt.Errorf("forward pass gave %d log-probabilities of the %d that the teacher named",
				len(in.Named), len(in.Teacher))
		}
		var err error
		if in.LogP, err = m.own(in.Named, t); err != nil {
			return nil, err
		}
	}
	if len(in.LogP) != m.Counted || ref != nil && len(ref) != m.Counted {
		return nil, fmt.Errorf("forward pass gave %d log-probabilities, and the reference %d, for %d counted tokens",
			len(in.LogP), len(ref), m.Counted)
	}
	return in, nil
}

// own finds the counted tokens' own log-probabilities among the named ones.
func (m *Micro) own(named []float64, t *Teaching) ([]float64, error) {
	out := make([]float64, 0, m.Counted)
	for i := range m.Batch.Rows {
		row := &m.Batch.Rows[i]
		for _, at := range row.Counted {
			n := len(out)
			j := slices.Index(t.Tokens[n*t.Top:(n+1)*t.Top], row.Tokens[at])
			if j < 0 {
				return nil, fmt.Errorf("the teacher does not name token %d, which stands at %d of row %d",
					row.Tokens[at], at, i)
			}
			out = append(out, named[n*(t.Top+1)+j])
		}
	}
	return out, nil
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}
