package method

import (
	"math"
	"math/rand/v2"
	"testing"
)

// randomInputs draws pairs of sequences (chosen, rejected) with labels, which every method can read in its way.
func randomInputs(g *rand.Rand, pairs int) *Inputs {
	in := &Inputs{}
	for p := range pairs {
		for child := 1; child <= 2; child++ {
			n := 1 + g.IntN(5)
			in.Sequences = append(in.Sequences, Sequence{Start: len(in.LogP), Len: n, Example: p, Child: child, Label: float64(p % 2)})
			for range n {
				in.LogP = append(in.LogP, -4*g.Float64())
				in.Ref = append(in.Ref, -4*g.Float64())
			}
		}
	}
	return in
}

// TestGradients compares every registered method's gradient with central differences of its own loss.
func TestGradients(t *testing.T) {
	const (
		h = 1e-5
		// Central differences of a loss of order 100 in float64: rounding 1e-16·100/1e-5 = 1e-9, truncation h² = 1e-10.
		tol = 1e-7
	)
	for _, m := range methods.All() {
		t.Run(m.Name, func(t *testing.T) {
			g := rand.New(rand.NewPCG(1, 2))
			for range 5 {
				in := randomInputs(g, 3)
				r, err := m.Evaluate(in)
				if err != nil {
					t.Fatal(err)
				}
				for i := range in.LogP {
					at := in.LogP[i]
					in.LogP[i] = at + h
					up, err1 := m.Evaluate(in)
					in.LogP[i] = at - h
					down, err2 := m.Evaluate(in)
					in.LogP[i] = at
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					want := (up.Sum - down.Sum) / (2 * h)
					if math.Abs(r.Grad[i]-want) > tol*(1+math.Abs(want)) {
						t.Errorf("token %d: gradient %g, finite difference %g", i, r.Grad[i], want)
					}
				}
			}
		})
	}
}

// TestConformance checks what the loop relies on: units above 0, no change of the inputs, the same metrics at every call,
// uncoupled methods additive over micro-batches.
func TestConformance(t *testing.T) {
	for _, m := range methods.All() {
		t.Run(m.Name, func(t *testing.T) {
			if m.Doc == "" || m.Unit == "" || m.Loss == nil {
				t.Fatalf("incomplete: %+v", m)
			}
			in := randomInputs(rand.New(rand.NewPCG(3, 4)), 4)
			before := append([]float64(nil), in.LogP...)
			r, err := m.Evaluate(in)
			if err != nil {
				t.Fatal(err)
			}
			if r.Units <= 0 {
				t.Errorf("units: got %g, want more than 0", r.Units)
			}
			for i := range before {
				if in.LogP[i] != before[i] {
					t.Fatalf("the method wrote into its inputs at %d", i)
				}
			}
			if m.Coupled {
				return
			}
			half := splitInputs(in, 2)
			var sum, units float64
			for _, part := range half {
				p, err := m.Evaluate(part)
				if err != nil {
					t.Fatal(err)
				}
				sum, units = sum+p.Sum, units+p.Units
				if len(p.Metrics) != len(r.Metrics) {
					t.Errorf("metrics: got %v, want those of %v", p.Metrics, r.Metrics)
				}
			}
			if math.Abs(sum-r.Sum) > 1e-9 || units != r.Units {
				t.Errorf("two halves: got %g of %g, want %g of %g", sum, units, r.Sum, r.Units)
			}
		})
	}
}

// splitInputs cuts inputs in two after the given number of examples.
func splitInputs(in *Inputs, examples int) []*Inputs {
	a, b := &Inputs{}, &Inputs{}
	for _, s := range in.Sequences {
		part := a
		if s.Example >= examples {
			part = b
		}
		c := s
		c.Start = len(part.LogP)
		part.Sequences = append(part.Sequences, c)
		part.LogP = append(part.LogP, in.LogP[s.Start:s.Start+s.Len]...)
		part.Ref = append(part.Ref, in.Ref[s.Start:s.Start+s.Len]...)
	}
	return []*Inputs{a, b}
}

func TestEvaluateRefuses(t *testing.T) {
	needsRef := &Method{Name: "x", Reference: true, Loss: crossEntropy}
	ok := []Sequence{{Start: 0, Len: 2}}
	for _, tc := range []struct {
		name string
		m    *Method
		in   Inputs
	}{
		{"no reference", needsRef, Inputs{LogP: []float64{-1, -2}, Sequences: ok}},
		{"gap", SFT, Inputs{LogP: []float64{-1, -2}, Sequences: []Sequence{{Start: 1, Len: 1}}}},
		{"short", SFT, Inputs{LogP: []float64{-1, -2, -3}, Sequences: ok}},
		{"empty sequence", SFT, Inputs{LogP: []float64{-1, -2}, Sequences: []Sequence{{Start: 0, Len: 0}, {Start: 0, Len: 2}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := tc.m.Evaluate(&tc.in); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := Get("sfd"); err == nil {
		t.Error("an unknown method is accepted")
	}
}
