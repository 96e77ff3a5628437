package encode

import (
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/method"
)

// TestParts: every pair is in one part, no part is larger than a room but a pair that is so by itself, and of n equal
// answers in a room of k there are far fewer parts than pairs.
func TestParts(t *testing.T) {
	const n, size = 24, 10
	var pairs []Pair
	for a := 1; a <= n; a++ {
		for b := 1; b < a; b++ {
			pairs = append(pairs, Pair{Chosen: a, Rejected: b, Weight: float64(a*n + b)})
		}
	}
	for _, c := range []struct{ room, most int }{{2 * size, len(pairs)}, {8 * size, 15}, {9*size + 5, 15},
		{n * size, 1}, {size, len(pairs)}} {
		got := parts(pairs, n, func(int) int { return size }, c.room)
		var all []Pair
		for _, part := range got {
			answers := map[int]bool{}
			for _, p := range part {
				answers[p.Chosen], answers[p.Rejected] = true, true
			}
			if len(answers)*size > c.room && len(part) > 1 {
				t.Errorf("room %d: a part of %d answers", c.room, len(answers))
			}
			all = append(all, part...)
		}
		slices.SortFunc(all, func(p, q Pair) int { return int(p.Weight - q.Weight) })
		if !slices.Equal(all, pairs) || len(got) > c.most {
			t.Errorf("room %d: %d pairs in %d parts, want %d in at most %d", c.room, len(all), len(got), len(pairs),
				c.most)
		}
	}
}

// TestPaired: a method over pairs sees each pair's answers, whatever row they are in; what it says of one that is in
// several adds up, and its tokens count once.
func TestPaired(t *testing.T) {
	items := []Item{
		{Tokens: make([]int32, 7), Counted: []bool{false, true, true, true, false, true, true},
			Segments: []engine.Segment{{Len: 1, Parent: -1}, {Start: 1, Len: 2}, {Start: 3, Len: 1},
				{Start: 4, Len: 3}},
			Pairs: []Pair{{1, 2, 5, 0.5}, {1, 3, 6, 0.25}, {2, 3, 7, 0.25}}},
		{Tokens: make([]int32, 3), Counted: []bool{false, true, true},
			Segments: []engine.Segment{{Len: 1, Parent: -1}, {Start: 1, Len: 1}, {Start: 2, Len: 1}},
			Pairs:    []Pair{{2, 1, 8, 1}}},
	}
	logp := []float32{-1, -2, -3, -4, -5, -6, -7}
	of := []float64{-1, -2, -3, -1, -2, -4, -5, -3, -4, -5, -7, -6} // by pair
	for _, at := range []method.Values{method.NoValues, method.AtEnds} {
		m := Gather(items, 0, 1)
		how := &method.Method{Name: "m", Need: method.Pairs, Value: at, Reference: at == method.NoValues}
		if _, err := m.Want(how, nil); err != nil {
			t.Fatal(err)
		}
		out, ref := engine.Outputs{engine.LogP: logp}, Widen(logp)
		if at == method.AtEnds {
			out, ref = engine.Outputs{engine.Value: []float32{10, 20, 30, 40, 50}}, nil
		}
		in, err := m.Inputs(how, out, ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		var counted, margins []float64
		for _, q := range in.Sequences {
			margins = append(margins, q.Margin*q.Weight)
			if !q.Again {
				counted = append(counted, float64(q.Len))
			}
		}
		if !slices.Equal(counted, []float64{2, 1, 2, 1, 1}) ||
			!slices.Equal(margins, []float64{2.5, 2.5, 1.5, 1.5, 1.75, 1.75, 8, 8}) {
			t.Errorf("counted %v, margins %v", counted, margins)
		}
		r := &method.Result{}
		var want []float32
		if at == method.NoValues {
			if !slices.Equal(in.LogP, of) || !slices.Equal(in.Ref, of) {
				t.Errorf("sees %v, %v, want %v", in.LogP, in.Ref, of)
			}
			r.Grad = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048}
			want = []float32{1 + 8, 2 + 16, 4 + 128, 32 + 256, 64 + 512, 2048, 1024}
		} else {
			if w := []float64{10, 20, 10, 30, 20, 30, 50, 40}; !slices.Equal(in.Value, w) {
				t.Errorf("sees %v, want %v", in.Value, w)
			}
			r.GradValue = []float64{1, 2, 4, 8, 16, 32, 64, 128}
			want = []float32{1 + 4, 2 + 16, 8 + 32, 128, 64}
		}
		slopes := m.Slopes(how, r)
		if got := slices.Concat(slopes[engine.LogP], slopes[engine.Value]); !slices.Equal(got, want) {
			t.Errorf("slopes %v, want %v", got, want)
		}
	}
}
