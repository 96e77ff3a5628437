package vectors

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// random draws n vectors, some of them equal to others.
func random(g *rand.Rand, n, width int) Matrix {
	m := Matrix{Width: width}
	for i := range n {
		if i > 3 && i%5 == 0 {
			m.Data = append(m.Data, m.Row(i-3)...)
			continue
		}
		for range width {
			m.Data = append(m.Data, float32(g.NormFloat64()))
		}
	}
	return m
}

func TestNormalize(t *testing.T) {
	m := random(rand.New(rand.NewPCG(1, 2)), 4, 3)
	clear(m.Row(2))
	was := slices.Clone(m.Data)
	m.Normalize()
	for i := range m.Len() {
		want := 1.0
		if i == 2 {
			want = 0
		}
		if got := Norm(m.Row(i)); math.Abs(got-want) > 1e-6 {
			t.Errorf("vector %d has length %g, want %g", i, got, want)
		}
		if got := Cosine(m.Row(i), was[3*i:3*i+3]); math.Abs(got-want) > 1e-6 {
			t.Errorf("vector %d was turned: cosine %g, want %g", i, got, want)
		}
	}
	if got, want := m.First(2).Row(1), m.Row(1)[:2]; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOf(t *testing.T) {
	for _, width := range []int{0, 4} {
		if _, err := Of(width, make([]float32, 6)); err == nil {
			t.Errorf("6 numbers are vectors of width %d", width)
		}
	}
}

// TestNearest: what is found is what sorting all of them gives, of equal ones the earlier.
func TestNearest(t *testing.T) {
	g := rand.New(rand.NewPCG(3, 4))
	docs, queries := random(g, 60, 8), random(g, 7, 8)
	skip := func(q, i int) bool { return (q+i)%4 == 0 }
	for _, k := range []int{0, 1, 5, 45, 1000} {
		var want [][]Hit
		for q := range queries.Len() {
			all := []Hit{}
			for i := range docs.Len() {
				if !skip(q, i) {
					all = append(all, Hit{i, Dot(queries.Row(q), docs.Row(i))})
				}
			}
			slices.SortStableFunc(all, func(a, b Hit) int {
				switch {
				case a.Score > b.Score:
					return -1
				case a.Score < b.Score:
					return 1
				}
				return 0
			})
			want = append(want, all[:min(k, len(all))])
		}
		told := 0
		got, err := docs.Search(t.Context(), queries, k, skip, func(done int) { told = done })
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, want); d != "" || told != queries.Len() {
			t.Errorf("k %d: told of %d; got − want +:\n%s", k, told, d)
		}
	}
}

func TestSearchStops(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	docs := random(rand.New(rand.NewPCG(5, 6)), 5, 2)
	_, err := docs.Search(ctx, random(rand.New(rand.NewPCG(7, 8)), 100, 2), 1, nil, func(int) { cancel(stop) })
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}
