package main

import (
	"bytes"
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine/verify"
)

// TestJudge: a figure out of bounds, or no number, fails the check, and the result can be printed as JSON.
func TestJudge(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tc := range []struct {
		name                          string
		fast, exact, largest, gradErr float64
		ok                            bool
	}{
		{"within bounds", 0.1, 0.01, 10, 1e-3, true},
		{"logits", 2, 0.01, 10, 1e-3, false},
		{"exact mode", 0.1, 2, 10, 1e-3, false},
		{"gradient", 0.1, 0.01, 10, 0.5, false},
		{"logits NaN", nan, 0.01, 10, 1e-3, false},
		{"exact mode NaN", 0.1, nan, 10, 1e-3, false},
		{"model of NaN", nan, nan, nan, nan, false},
		{"model of zeros", 0, 0, 0, 1e-3, false},
		{"gradient infinite", 0.1, 0.01, 10, inf, false},
		{"gradient NaN", 0.1, 0.01, 10, nan, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := judge("m.gguf", &verify.Report{LogitsMaxDiff: tc.fast, ExactMaxDiff: tc.exact, LargestLogit: tc.largest,
				Gradients: []verify.GradientCheck{{Tensor: "a", Slope: tc.gradErr, Finite: 1, Error: 1e-4}, {Tensor: "b", Error: tc.gradErr}}})
			if r.OK != tc.ok {
				t.Errorf("ok: got %v, want %v (%+v)", r.OK, tc.ok, r)
			}
			if err := printJSON(&bytes.Buffer{}, r); err != nil {
				t.Error(err)
			}
		})
	}
}
