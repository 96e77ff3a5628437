package eval

import (
	"crypto/sha256"
	"math"
	"testing"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// TestScoresOfPairs: figures by hand: four pairs of three prompts, one a list of two pairs that weigh half each.
func TestScoresOfPairs(t *testing.T) {
	items := make([]encode.Item, 4)
	for i, p := range []string{"a", "b", "b", "c"} {
		items[i].Prompt = sha256.Sum256([]byte(p))
	}
	in := &method.Inputs{}
	add := func(chosen, rejected float64, c, r int, weight float64) {
		example := len(in.Sequences) / 2
		in.Value = append(in.Value, chosen, rejected)
		in.Sequences = append(in.Sequences, method.Sequence{Example: example, Child: 1, Len: c, Weight: weight},
			method.Sequence{Example: example, Child: 2, Len: r, Weight: weight})
	}
	add(2, 0, 3, 5, 1)   // right, shorter
	add(0, 1, 4, 4, 0.5) // wrong, as long
	add(1, 1, 9, 4, 0.5) // no lead, longer
	add(0, 3, 1, 2, 1)   // wrong, shorter
	s := SumUp(method.Reward, Judge(method.Reward, items, in), 1)
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) < 1e-12) {
			t.Errorf("%s: got %g, want %g", what, got, want)
		}
	}
	near("accuracy", s.Accuracy.Value, (1+0+0.25+0)/3)
	near("longer", s.Trivial.Value, (0+0.25+0.5+0)/3)
	near("gain", s.Gain.Value, s.Accuracy.Value-s.Trivial.Value)
	near("margin", s.Margin.Value, (2-0.5+0-3)/3.0)
	sig := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	if s.Prompts != 3 || s.MRR != nil || len(s.Calibration) != 10 || s.Calibration[0].N != 1 {
		t.Errorf("got %+v", s)
	}
	near("said, of a lead of 1", s.Calibration[4].Said, sig(1))    // 0.731: the fifth from 0.5
	near("calibration error", s.ECE, (0+sig(1)+1-sig(2)+sig(3))/4) // the first bin's lead of 0 is right half the time
	if iv := s.Accuracy.Interval; !(iv[0] <= s.Accuracy.Value && iv[1] >= s.Accuracy.Value && iv[0] < iv[1]) {
		t.Errorf("interval %v around %g", iv, s.Accuracy.Value)
	}
}

// TestScoresOfVerdicts: figures by hand, of two queries with documents; one has only good ones.
func TestScoresOfVerdicts(t *testing.T) {
	items := make([]encode.Item, 6)
	for i, p := range "aaaabb" {
		items[i].Prompt = sha256.Sum256([]byte{byte(p)})
	}
	in := &method.Inputs{Value: []float64{1, 2, 1, -3, 4, -1}}
	for i, label := range []float64{1, 0, 0, 1, 1, 1} {
		in.Sequences = append(in.Sequences, method.Sequence{Example: i, Child: 1, Len: 1, Label: label})
	}
	s := SumUp(method.Rerank, Judge(method.Rerank, items, in), 1)
	// Of query a, the best good one has one above it and one beside it: rank 2.5.
	if s.Prompts != 2 || s.Accuracy.Value != 2./6 || s.Trivial.Value != 4./6 || s.MRR == nil || s.MRR.Value != 1/2.5 ||
		!(math.Abs(s.Margin.Value-(1-2-1-3+4-1)/6.) < 1e-12) {
		t.Errorf("got %+v", s)
	}
	if b := s.Calibration[8]; b.N != 1 || b.Was != 0 { // σ(2) = 0.88
		t.Errorf("bin %+v", b)
	}
}

// TestRatioOf: the interval is over groups: ten copies of each thing in a group say no more than one.
func TestRatioOf(t *testing.T) {
	var sums, weights, many, heavy []float64
	for i := range 40 {
		x := float64(i % 2)
		sums, weights = append(sums, x), append(weights, 1)
		many, heavy = append(many, 10*x), append(heavy, 10)
	}
	a, b := RatioOf(sums, weights, 3), RatioOf(many, heavy, 3)
	if a.Value != 0.5 || a.Interval != b.Interval || !(a.Interval[0] < 0.45 && a.Interval[1] > 0.55) {
		t.Errorf("got %+v and %+v", a, b)
	}
}
