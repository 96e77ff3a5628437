package method

import (
	"fmt"
	"math"
	"testing"
)

// TestGKDRecorded holds the divergences, and their gradients by the logits, to those of TRL's GKDTrainer.
func TestGKDRecorded(t *testing.T) {
	var rec struct {
		Tokens, Vocab int
		Cases         []taughtCase
	}
	readRecording(t, "gkd.json", &rec)
	for _, c := range rec.Cases {
		t.Run(fmt.Sprintf("beta %g, temperature %g", c.Beta, c.Temperature), func(t *testing.T) {
			holdTo(t, configured(t, "gkd", fmt.Sprintf("beta %g", c.Beta)), c, rec.Tokens, rec.Vocab)
		})
	}
}

// TestGKDTakesExtremes: what one of the two finds impossible is a bounded loss.
func TestGKDTakesExtremes(t *testing.T) {
	half, none := math.Log(0.5), math.Inf(-1)
	for _, c := range []struct {
		name             string
		beta             string
		teacher, student []float64
		loss, slope      float64 // by the rest
	}{
		{"nothing left by the teacher", "1", []float64{0, none}, []float64{half, half},
			0.5*half + 0.5*(half+23*math.Ln2), 0.5 * (half + 23*math.Ln2)},
		{"nothing left by the student", "1", []float64{half, half}, []float64{0, none}, -half, 0},
		{"nothing left by both", "1", []float64{0, none}, []float64{0, none}, 0, 0},
		{"nothing left by the teacher", "0.5", []float64{0, none}, []float64{half, half},
			-0.5*math.Log(0.75) + 0.25*math.Log(0.5/0.75) + 0.25*math.Ln2, 0.25 * math.Ln2},
		{"nothing left by the student", "0.5", []float64{half, half}, []float64{0, none},
			-0.5*math.Log(0.75) + 0.25*math.Log(0.5/0.75) + 0.25*math.Ln2, 0},
		{"a token that the teacher rules out", "1", []float64{none, 0}, []float64{half, half},
			0.5*(half+100) + 0.5*half, 0.5 * half},
	} {
		in := &Inputs{LogP: []float64{-1}, Sequences: []Sequence{{Len: 1}}, Width: 2, Teacher: c.teacher,
			Named: c.student}
		r, err := configured(t, "gkd", "beta "+c.beta).Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		if !(math.Abs(r.Sum-c.loss) < 1e-12) || !(math.Abs(r.Grad[1]-c.slope) < 1e-12) {
			t.Errorf("%s, beta %s: loss %v and slope %v of the rest, want %v and %v", c.name, c.beta, r.Sum, r.Grad[1],
				c.loss, c.slope)
		}
	}
}
