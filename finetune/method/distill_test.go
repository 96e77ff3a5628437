package method

import (
	"math"
	"slices"
	"testing"
)

// distillLogits are those of the recording (scripts/record_distill.py).
func distillLogits(phase float64, tokens, vocab int) [][]float64 {
	out := make([][]float64, tokens)
	for t := range out {
		for v := range vocab {
			out[t] = append(out[t], 4*math.Sin(phase+0.7*float64(v*v)+1.3*float64(t))+float64(v%3))
		}
	}
	return out
}

func logSoftmax(logits []float64) []float64 {
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(x)
	}
	out := make([]float64, len(logits))
	for v, x := range logits {
		out[v] = x - math.Log(sum)
	}
	return out
}

// nameTop gives the tokens that a teacher names: its likeliest, and own in the place of the last if it is not there.
func nameTop(logp []float64, top, own int) []int {
	ids := make([]int, len(logp))
	for v := range ids {
		ids[v] = v
	}
	slices.SortFunc(ids, func(a, b int) int {
		if logp[a] > logp[b] {
			return -1
		}
		return 1
	})
	if ids = ids[:top]; !slices.Contains(ids, own) {
		ids[top-1] = own
	}
	return ids
}

// outcomes are the log-probabilities of named tokens and of all others.
func outcomes(logp []float64, named []int) []float64 {
	var out []float64
	rest := 0.0
	for _, v := range named {
		out = append(out, logp[v])
	}
	for v, x := range logp {
		if !slices.Contains(named, v) {
			rest += math.Exp(x)
		}
	}
	return append(out, math.Log(rest))
}

// A taughtCase is one of a recording of a loss by a teacher (scripts/record_distill.py).
type taughtCase struct {
	Top               int
	Beta, Temperature float64
	Loss              float64
	Grad              []float64
}

// holdTo holds the method's loss, and its gradient by the logits, to what was recorded of c.
func holdTo(t *testing.T, m *Method, c taughtCase, tokens, vocab int) {
	t.Helper()
	const tol = 1e-9 // ten digits kept
	temp := c.Temperature
	if temp == 0 {
		temp = 1
	}
	cool := func(logits []float64) []float64 {
		out := slices.Clone(logits)
		for i := range out {
			out[i] /= temp
		}
		return logSoftmax(out)
	}
	teacher, student := distillLogits(0.4, tokens, vocab), distillLogits(1.1, tokens, vocab)
	in := &Inputs{Width: c.Top + 1}
	var names [][]int
	for i := range tokens {
		p, q := cool(teacher[i]), cool(student[i])
		ids := nameTop(p, c.Top, 3*i)
		names = append(names, ids)
		in.Teacher, in.Named = append(in.Teacher, outcomes(p, ids)...), append(in.Named, outcomes(q, ids)...)
		in.LogP = append(in.LogP, q[3*i])
	}
	in.Sequences = []Sequence{{Len: tokens}}
	r, err := m.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	if !(math.Abs(r.Sum-c.Loss) <= tol*c.Loss) {
		t.Errorf("top %d: loss %.12g, recorded %.12g", c.Top, r.Sum, c.Loss)
	}
	for i, ids := range names {
		q, slopes := cool(student[i]), r.Grad[i*in.Width:(i+1)*in.Width]
		rest := math.Exp(in.Named[i*in.Width+c.Top])
		all := 0.0
		for _, s := range slopes {
			all += s
		}
		for v, lq := range q {
			got := -all * math.Exp(lq)
			if j := slices.Index(ids, v); j >= 0 {
				got += slopes[j]
			} else {
				got += slopes[c.Top] * math.Exp(lq) / rest
			}
			if want := c.Grad[i*vocab+v]; !(math.Abs(got/temp-want) <= tol) {
				t.Errorf("top %d, token %d, logit %d: %.12g, recorded %.12g", c.Top, i, v, got/temp, want)
			}
		}
	}
}

// TestDistillRecorded holds the loss, and its gradient by the logits, to PyTorch's.
func TestDistillRecorded(t *testing.T) {
	var rec struct {
		Tokens, Vocab int
		Cases         []taughtCase
	}
	readRecording(t, "distill.json", &rec)
	for _, c := range rec.Cases {
		holdTo(t, Distill, c, rec.Tokens, rec.Vocab)
	}
}

// TestDistillTakesExtremes: what has no probability counts for nothing, and a rest that the student leaves nothing for
// is a large loss and no infinite one.
func TestDistillTakesExtremes(t *testing.T) {
	inf := math.Inf(-1)
	for name, c := range map[string]struct {
		teacher, student []float64
		loss             float64
	}{
		"nothing left by the teacher": {[]float64{0, inf}, []float64{math.Log(0.5), math.Log(0.5)}, math.Log(2)},
		"nothing left by the student": {[]float64{math.Log(0.5), math.Log(0.5)}, []float64{0, inf},
			math.Log(0.5) + 0.5*100},
	} {
		in := &Inputs{LogP: []float64{-1}, Sequences: []Sequence{{Len: 1}}, Width: 2, Teacher: c.teacher,
			Named: c.student}
		r, err := Distill.Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		if !(math.Abs(r.Sum-c.loss) < 1e-12) || r.Grad[1] != 0 {
			t.Errorf("%s: loss %v and slope %v of the rest, want %v and 0", name, r.Sum, r.Grad[1], c.loss)
		}
	}
}

func TestDistillRefuses(t *testing.T) {
	in := &Inputs{LogP: []float64{-1, -1}, Sequences: []Sequence{{Len: 2}}, Width: 2, Named: make([]float64, 4),
		Teacher: make([]float64, 2)}
	if _, err := Distill.Evaluate(in); err == nil {
		t.Error("a teacher that says too little: accepted")
	}
	for _, names := range []string{"distill,sft", "distill"} {
		if _, err := New(names, []float64{1, 2}[:1+len(names)/8], nil); err == nil {
			t.Errorf("%s with weights: accepted", names)
		}
	}
}
