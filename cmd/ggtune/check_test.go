package main

import (
	"bytes"
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine/verify"
)

// TestCheckPrintsAnyNumber: the report of a model that computes no numbers can be printed as JSON.
func TestCheckPrintsAnyNumber(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r := checkResult{Report: &verify.Report{LogitsMaxDiff: x, ExactMaxDiff: x, LargestLogit: x, LogitsRMSDiff: x,
			ExactRMSDiff: x, LogitsRMS: x, LogitError: x, ExactError: x, GradientError: x,
			Gradients: []verify.GradientCheck{{Slope: x, Finite: x, Error: x}}}}
		if err := printJSON(&bytes.Buffer{}, r.numbers()); err != nil {
			t.Errorf("%g: %v", x, err)
		}
	}
}
