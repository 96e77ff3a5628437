package refmodel

import (
	"math"
	"testing"
)

// Tolerances against the recordings, relative to the largest log-probability or logit and to a gradient's norm.
// transformers rounds to float32 inside RMSNorm and in the rotary angles; gpt2, which has neither, agrees to the digits
// that are kept.
const (
	recordedOutput = 2e-6 // measured 2.5e-7
	recordedGrad   = 6e-6 // measured 1.3e-6
)

func TestRecorded(t *testing.T) {
	cases, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			compare(t, c.Model, c.Row, c.Full)
			compare(t, c.Adapted(), c.Row, c.Adapt)
		})
	}
}

// compare runs the row and holds all outputs and gradients against the recorded ones.
func compare(t *testing.T, m *Model, row Row, want Run) {
	t.Helper()
	pass, err := m.Forward(row)
	if err != nil {
		t.Fatal(err)
	}
	grads, err := pass.BackwardFrom(want.Slopes())
	if err != nil {
		t.Fatal(err)
	}
	says := pass.LogP
	if want.Pooled != nil {
		says = pass.Pooled
	} else if d := difference(pass.Logits(want.LogitsAt), want.Logits); !(d <= recordedOutput) {
		t.Errorf("logits differ by %.3g of the largest, want at most %.3g", d, recordedOutput)
	}
	if d := difference(says, want.Says()); !(d <= recordedOutput) {
		t.Errorf("what it says differs by %.3g of the largest, want at most %.3g", d, recordedOutput)
	}
	worst, largest := 0.0, 0.0
	loss := -sum(says) / float64(len(says))
	if !(math.Abs(loss-want.Loss) <= recordedOutput*math.Abs(want.Loss)) {
		t.Errorf("loss is %.9g, want %.9g", loss, want.Loss)
	}
	t.Logf("what it says differs by %.3g", difference(says, want.Says()))
	for _, digest := range want.Grads {
		largest = max(largest, digest.Norm)
	}
	for name, digest := range want.Grads {
		if digest.Nothing(largest) && norm(grads[name].Data) <= recordedGrad*largest {
			continue
		}
		d := digest.Difference(grads[name].Data)
		if !(d <= recordedGrad) {
			t.Errorf("gradient of %s differs by %.3g of its norm %.3g, want at most %.3g", name, d, digest.Norm,
				recordedGrad)
		}
		worst = max(worst, d)
	}
	t.Logf("%d gradients, worst difference %.3g", len(want.Grads), worst)
}

// TestRecordedOutputs: entropies, values and log-probabilities at a temperature, with the gradients through them.
func TestRecordedOutputs(t *testing.T) {
	all, err := RecordedOutputs()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		t.Run(o.Name, func(t *testing.T) {
			p := mustForward(t, o.Model, o.Row)
			for what, c := range map[string][2][]float64{"log-probabilities": {p.LogP, o.LogP},
				"entropies": {p.Entropy, o.Entropy}, "values": {p.Value, o.Value}} {
				if d := difference(c[0], c[1]); !(d <= recordedOutput) {
					t.Errorf("%s differ by %.3g of the largest, want at most %.3g", what, d, recordedOutput)
				}
			}
			grads, err := p.BackwardFrom(o.Slopes())
			if err != nil {
				t.Fatal(err)
			}
			if len(grads) < len(o.Grads) || o.Grads["value.weight"].Norm == 0 {
				t.Errorf("%d gradients, %d recorded", len(grads), len(o.Grads))
			}
			for name, digest := range o.Grads {
				if d := digest.Difference(grads[name].Data); !(d <= recordedGrad) {
					t.Errorf("gradient of %s differs by %.3g of its norm, want at most %.3g", name, d, recordedGrad)
				}
			}
		})
	}
}

// difference gives the greatest difference between two lists relative to the largest number of want.
func difference(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst, size := 0.0, 0.0
	for i := range want {
		worst, size = max(worst, math.Abs(got[i]-want[i])), max(size, math.Abs(want[i]))
	}
	return worst / size
}

func norm(x []float64) float64 { return math.Sqrt(dot(x, x)) }

func sum(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s
}
