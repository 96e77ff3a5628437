package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
)

func TestValueRefuses(t *testing.T) {
	s, b := outputSession(t)
	good, ctx := b.Rows[0], context.Background()
	for name, c := range map[string]struct {
		valued []int32
		want   string
	}{
		"none":       {nil, "a batch of 1 rows has no valued token"},
		"outside":    {[]int32{3, 12}, "valued token 12 after 3: expected ascending indices below 12"},
		"descending": {[]int32{3, 2}, "valued token 2 after 3"},
		"twice":      {[]int32{3, 3}, "valued token 3 after 3"},
		"negative":   {[]int32{-1}, "valued token -1 after -1"},
	} {
		row := good
		row.Valued = c.valued
		_, err := s.Forward(ctx, &Batch{Rows: []Row{row}}, Options{Want: []*Output{Value}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	_, err := s.Forward(ctx, b, Options{Want: []*Output{Value}, Apply: Only("")})
	if want := `output value reads head "value", and no set that is applied has it`; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("without the head: %v, want %q", err, want)
	}
	n := int64(s.model.HParams().NEmbd)
	for _, shape := range [][]int64{{n, 2}, {n - 1, 1}} {
		two, err := NewSession(s.model, SessionConfig{Threads: 1, Sets: []Set{{Name: "critic",
			Heads: []Head{{Role: ValueHead, Shape: shape, Values: make([]float32, shape[0]*shape[1])}}}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = two.Forward(ctx, b, Options{Want: []*Output{Value}})
		if err == nil || !strings.Contains(err.Error(), `head "value" of set "critic" is [`) {
			t.Errorf("a head of shape %v: %v", shape, err)
		}
		two.Close()
	}
}

// TestPlanOfOutputs: what is foretold of a pass that is asked for several outputs is what it then takes.
func TestPlanOfOutputs(t *testing.T) {
	s, b := outputSession(t)
	row := &b.Rows[0]
	for _, want := range [][]*Output{{LogP}, {Value}, {Entropy}, {LogP, Entropy, Value}, {Named, Value},
		{Pooled}} {
		opt := Options{Want: want, Backward: true, Pooling: arch.PoolLast}
		if _, err := s.Forward(context.Background(), b, opt); err != nil {
			t.Fatal(err)
		}
		e := Extent{Tokens: len(row.Tokens), Counted: len(row.Counted), Row: len(row.Tokens),
			Named: len(row.Named) / len(row.Counted), Valued: len(row.Valued), Pooled: len(row.Pooled),
			Want: want}
		planned, err := s.plannedPass(e.pass(want, opt.Pooling), opt)
		if err != nil {
			t.Fatal(err)
		}
		got, took := planned.sizes(), s.forwarded.sizes()
		got.inputs = took.inputs // a tree of one segment a row is planned
		if got != took {
			t.Errorf("%d outputs: planned %+v, took %+v", len(want), got, took)
		}
	}
}
