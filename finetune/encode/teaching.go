package encode

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/finetune/method"
)

// A Teaching is what a teacher says of the counted tokens of a micro-batch: for each, of Top tokens that may stand in
// its place, itself among them.
type Teaching struct {
	Top    int
	Tokens []int32   // Top for each counted token
	LogP   []float64 // Top + 1 for each, nats: theirs, and that of all others together
}

// named writes the tokens that a teacher names into the rows.
func (m *Micro) named(t *Teaching) error {
	if t.Top < 1 || len(t.Tokens) != t.Top*m.Counted || len(t.LogP) != len(t.Tokens)+m.Counted {
		return fmt.Errorf("a teacher names %d tokens with %d log-probabilities for %d counted ones",
			len(t.Tokens), len(t.LogP), m.Counted)
	}
	at := 0
	for i := range m.Batch.Rows {
		row := &m.Batch.Rows[i]
		row.Named = t.Tokens[at : at+t.Top*len(row.Counted)]
		at += len(row.Named)
	}
	return nil
}

// taught enters into in what a pass gave of the tokens that a teacher names, and what the teacher says.
func (m *Micro) taught(in *method.Inputs, named []float64, t *Teaching) (err error) {
	in.Named, in.Teacher, in.Width = named, t.LogP, t.Top+1
	if len(in.Named) != len(in.Teacher) {
		return fmt.Errorf("forward pass gave %d log-probabilities of the %d that the teacher named",
			len(in.Named), len(in.Teacher))
	}
	in.LogP, err = m.own(in.Named, t)
	return err
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
