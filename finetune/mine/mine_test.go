package mine

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/vectors"
)

// some are vectors of length 1, and pairs of them.
func some() (queries, documents vectors.Matrix, pairs []Pair) {
	r := rand.New(rand.NewPCG(1, 2))
	of := func(n int) vectors.Matrix {
		m := vectors.Matrix{Width: 5}
		for range 5 * n {
			m.Data = append(m.Data, float32(r.NormFloat64()))
		}
		m.Normalize()
		return m
	}
	queries, documents = of(12), of(60)
	copy(documents.Row(40), documents.Row(41)) // two of equal score
	for i := range 20 {
		pairs = append(pairs, Pair{i % 12, r.IntN(60)})
	}
	return queries, documents, pairs
}

// TestAgainstAll: what is mined is what sorting all documents gives.
func TestAgainstAll(t *testing.T) {
	queries, documents, pairs := some()
	for _, tc := range []struct {
		name   string
		change func(o *Options)
	}{
		{"the nearest", func(o *Options) { o.RelativeMargin = 0 }},
		{"a relative margin", func(o *Options) { o.RelativeMargin = 0.3 }},
		{"a margin", func(o *Options) { o.Margin = 0.2 }},
		{"a range", func(o *Options) { o.From, o.To, o.Negatives = 5, 9, 5 }},
		{"all", func(o *Options) { o.RelativeMargin, o.Negatives, o.To = 0, 100, 200 }},
		{"drawn", func(o *Options) { o.Sampling = random }},
	} {
		o := Default()
		o.To = 30
		tc.change(&o)
		got, c, err := Mine(t.Context(), queries, documents, pairs, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want Counts
		for i, p := range pairs {
			all := allowed(queries, documents, pairs, p, o, &want)
			if o.Sampling == random {
				if slices.ContainsFunc(got[i], func(h vectors.Hit) bool { return !slices.Contains(all, h) }) {
					t.Errorf("%s, pair %d: got %v of %v", tc.name, i, got[i], all)
				}
			} else if w := all[:min(o.Negatives, len(all))]; !slices.Equal(got[i], w) {
				t.Errorf("%s, pair %d: got %v, want %v", tc.name, i, got[i], w)
			}
			for _, h := range got[i] {
				want.Negative += h.Score
			}
			n := min(o.Negatives, len(all))
			if want.Negatives += n; n == 0 {
				want.Bare++
			} else if n < o.Negatives {
				want.Short++
			} else {
				want.Whole++
			}
			want.Over += len(all) - n
		}
		if c.Whole+c.Short+c.Bare != c.Pairs || c.Near+c.Negatives+c.Over != c.InRange {
			t.Errorf("%s: the counts do not add up: %+v", tc.name, c)
		}
		if c.Near != want.Near || c.Negatives != want.Negatives || c.Bare != want.Bare || c.Short != want.Short ||
			c.Whole != want.Whole || c.Over != want.Over || c.Pairs != len(pairs) ||
			math.Abs(c.Negative*float64(c.Negatives)-want.Negative) > 1e-9 {
			t.Errorf("%s: got %+v, want %+v", tc.name, c, want)
		}
	}
}

// allowed sorts all documents for a pair and gives those that may be negatives.
func allowed(queries, documents vectors.Matrix, pairs []Pair, p Pair, o Options, c *Counts) (out []vectors.Hit) {
	var all []vectors.Hit
	for d := range documents.Len() {
		if !slices.Contains(pairs, Pair{p.Query, d}) {
			all = append(all, vectors.Hit{Index: d, Score: vectors.Dot(queries.Row(p.Query), documents.Row(d))})
		}
	}
	slices.SortStableFunc(all, func(a, b vectors.Hit) int { return cmp.Compare(b.Score, a.Score) })
	own := vectors.Dot(queries.Row(p.Query), documents.Row(p.Document))
	for _, h := range all[min(o.From-1, len(all)):min(o.To, len(all))] {
		share := o.RelativeMargin // of a cosine below 0, the margin is below it too
		if own < 0 {
			share = -share
		}
		if o.Margin > 0 && h.Score > own-o.Margin || share != 0 && h.Score > own*(1-share) {
			c.Near++
			continue
		}
		out = append(out, h)
	}
	return out
}

// TestDrawn: the seed fixes what is drawn, and another draws other documents.
func TestDrawn(t *testing.T) {
	queries, documents, pairs := some()
	o := Default()
	o.Sampling = random
	draw := func(seed uint64) [][]vectors.Hit {
		o.Seed = seed
		got, _, err := Mine(t.Context(), queries, documents, pairs, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	same := func(a, b [][]vectors.Hit) bool { return slices.EqualFunc(a, b, slices.Equal[[]vectors.Hit]) }
	if a := draw(1); !same(a, draw(1)) || same(a, draw(2)) {
		t.Error("equal seeds drew other documents, or other seeds the same")
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"--negatives is 0":             func(o *Options) { o.Negatives = 0 },
		"--range is 0-5":               func(o *Options) { o.From, o.To = 0, 5 },
		"--range 3-4 has 2 ranks":      func(o *Options) { o.From, o.To = 3, 4 },
		"--absolute-margin is -1":      func(o *Options) { o.Margin = -1 },
		"--relative-margin is 1":       func(o *Options) { o.RelativeMargin = 1 },
		`--sampling "best"; known: to`: func(o *Options) { o.Sampling = "best" },
	} {
		o := Default()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	queries, documents, pairs := some()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, _, err := Mine(ctx, queries, documents, pairs, Default(), nil); !errors.Is(err, stop) {
		t.Errorf("cancelled: got %v", err)
	}
}
