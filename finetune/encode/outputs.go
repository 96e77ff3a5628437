package encode

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/method"
)

// Wants lists what a pass is asked for, for a method: of one with a teacher, the tokens that he names; else the counted
// tokens, unless the method sees values alone; and values, and entropies.
func Wants(how *method.Method) (want []*engine.Output) {
	switch {
	case how.Teacher:
		want = append(want, engine.Named)
	case how.LogP():
		want = append(want, engine.LogP)
	case how.Need.Pools():
		want = append(want, engine.Pooled)
	}
	if how.Value != method.NoValues {
		want = append(want, engine.Value)
	}
	if how.Entropy {
		want = append(want, engine.Entropy)
	}
	return want
}

// Want is Wants, with what a pass over m is asked about written into its rows: the tokens that a teacher names, who
// says t, and those that are given a value.
func (m *Micro) Want(how *method.Method, t *Teaching) ([]*engine.Output, error) {
	if how.Value != method.NoValues {
		m.value(how.Value)
	}
	if how.Teacher {
		if err := m.named(t); err != nil {
			return nil, err
		}
	}
	return Wants(how), nil
}

// Inputs puts what a pass gave that was asked for what Want says, and what the reference and the teacher say (or nil),
// beside what it means.
func (m *Micro) Inputs(how *method.Method, out engine.Outputs, ref []float64, t *Teaching) (*method.Inputs, error) {
	in := &method.Inputs{Ref: ref, Sequences: m.Sequences, Rolled: m.Rolled}
	if how.Need.Pools() {
		in.Pooled = Widen(out[engine.Pooled])
		if n := len(m.Sequences); n == 0 || len(in.Pooled) == 0 || len(in.Pooled)%n != 0 {
			return nil, fmt.Errorf("forward pass gave %d numbers for %d texts", len(in.Pooled), n)
		}
		in.Width = len(in.Pooled) / len(m.Sequences)
		return in, nil
	}
	logp := 0
	if how.LogP() {
		logp = m.Counted
		in.LogP = Widen(out[engine.LogP])
	}
	if how.Teacher {
		if err := m.taught(in, Widen(out[engine.Named]), t); err != nil {
			return nil, err
		}
	}
	if len(in.LogP) != logp || ref != nil && len(ref) != m.Counted {
		return nil, fmt.Errorf("forward pass gave %d log-probabilities, and the reference %d, for %d counted tokens",
			len(in.LogP), len(ref), m.Counted)
	}
	if how.Value != method.NoValues {
		if len(out[engine.Value]) != m.values {
			return nil, fmt.Errorf("forward pass gave %d values for %d tokens", len(out[engine.Value]), m.values)
		}
		in.Value = make([]float64, len(m.valueOf))
		for i, at := range m.valueOf {
			in.Value[i] = float64(out[engine.Value][at])
		}
	}
	if how.Entropy {
		if in.Entropy = Widen(out[engine.Entropy]); len(in.Entropy) != m.Counted {
			return nil, fmt.Errorf("forward pass gave %d entropies for %d counted tokens", len(in.Entropy), m.Counted)
		}
	}
	if how.Need == method.Pairs && !how.Single {
		in = m.paired(in)
	}
	return in, nil
}

// Slopes are a method's derivatives by the inputs of m, as the engine takes them.
func (m *Micro) Slopes(how *method.Method, r *method.Result) engine.Outputs {
	if how.Need == method.Pairs {
		r = m.unpaired(r)
	}
	out := engine.Outputs{}
	switch {
	case how.Teacher:
		out[engine.Named] = Narrow(r.Grad)
	case how.LogP():
		out[engine.LogP] = Narrow(r.Grad)
	case how.Need.Pools():
		out[engine.Pooled] = Narrow(r.GradPooled)
	}
	if how.Value != method.NoValues {
		sum := make([]float64, m.values)
		for i, at := range m.valueOf {
			sum[at] += r.GradValue[i]
		}
		out[engine.Value] = Narrow(sum)
	}
	if how.Entropy {
		out[engine.Entropy] = make([]float32, m.Counted) // of a method that only looks at them they are 0
		copy(out[engine.Entropy], Narrow(r.GradEntropy))
	}
	return out
}

// value writes into the rows which tokens are given a value, and remembers what each value is for.
func (m *Micro) value(at method.Values) {
	m.valueOf, m.values = m.valueOf[:0], 0
	seq, done := 0, 0 // sequences, and counted tokens, of the rows before
	for i := range m.Batch.Rows {
		row := &m.Batch.Rows[i]
		var tokens []int32 // of each value, in the method's order
		switch at {
		case method.AtEnds:
			for ; seq < len(m.Sequences) && m.Sequences[seq].Start < done+len(row.Counted); seq++ {
				s := m.Sequences[seq]
				tokens = append(tokens, row.Counted[s.Start+s.Len-1-done])
			}
		case method.AtTokens:
			before := predecessors(row)
			for _, c := range row.Counted {
				tokens = append(tokens, before[c])
			}
		}
		done += len(row.Counted)
		row.Valued = slices.Compact(slices.Sorted(slices.Values(tokens)))
		for _, t := range tokens {
			k, _ := slices.BinarySearch(row.Valued, t)
			m.valueOf = append(m.valueOf, m.values+k)
		}
		m.values += len(row.Valued)
	}
}

// predecessors gives the token before each of a row's in its tree, -1 where there is none.
func predecessors(row *engine.Row) []int32 {
	out := make([]int32, len(row.Tokens))
	for _, s := range row.Segments {
		for i := s.Start; i < s.Start+s.Len; i++ {
			out[i] = int32(i) - 1
		}
		if out[s.Start] = -1; s.Parent >= 0 {
			p := row.Segments[s.Parent]
			out[s.Start] = int32(p.Start + p.Len - 1)
		}
	}
	return out
}

// Widen gives numbers of the engine as methods take them; nil of nil.
func Widen(v []float32) []float64 {
	if v == nil {
		return nil
	}
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// Narrow gives a method's numbers as the engine takes them.
func Narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
