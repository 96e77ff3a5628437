package engine_test

import (
	"context"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/internal/testdata"
)

// fastBounds is how far gradients of the default mode may be from exact ones on trained models: the relative
// difference of norms and 1 − cosine, of every tensor and in the median of a model. BF16 rounds each factor of a
// product to 8 bits, INT16 to 12 or 13 of the largest's, and errors of a layer's input spread through the layers
// above it.
var fastBounds = map[kernels.Format]struct{ norm, normMedian, cosine, cosineMedian float64 }{
	kernels.FormatF32:   {1e-6, 1e-6, 1e-6, 1e-6},   // measured 0
	kernels.FormatInt16: {3e-2, 1.5e-3, 2e-4, 1e-5}, // measured 1.1e-2, 5.5e-4, 4.7e-5, 3.7e-6
	kernels.FormatBF16:  {8e-2, 6e-3, 2e-2, 3e-4},   // measured 3.4e-2, 2.7e-3, 5.5e-3, 9.6e-5
}

// TestFastGradientsOnRealModels compares every tensor's gradient in the default mode with the exact mode's, which is
// held to a float64 reference elsewhere.
func TestFastGradientsOnRealModels(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Shared(t), "models", "*", "*.gguf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models found: %v", err)
	}
	for format := range atEveryFormat(t) {
		t.Run(format.String(), func(t *testing.T) {
			for _, path := range files {
				t.Run(filepath.Base(path), func(t *testing.T) { fastGradients(t, path) })
			}
		})
	}
}

// atEveryFormat sets, for each format that fast products are made of on this CPU, the best level that has it, and the
// present level again at the end.
func atEveryFormat(t *testing.T) iter.Seq[kernels.Format] {
	return func(yield func(kernels.Format) bool) {
		was := kernels.CurrentLevel()
		set := func(l kernels.Level) {
			if err := kernels.SetLevel(l); err != nil {
				t.Fatal(err)
			}
		}
		defer set(was)
		best := map[kernels.Format]kernels.Level{}
		for _, l := range kernels.Levels() {
			set(l)
			best[kernels.PackedFormat()] = l
		}
		for f, l := range best {
			set(l)
			if !yield(f) {
				return
			}
		}
	}
}

func fastGradients(t *testing.T, path string) {
	bound := fastBounds[kernels.PackedFormat()]
	want := gradientsOf(t, path, engine.SessionConfig{Threads: 1, Exact: true})
	got := gradientsOf(t, path, engine.SessionConfig{Threads: 1, KeepBytes: 1 << 30})
	var norms, cosines []float64
	for name := range want {
		norm, cosine := apart(got[name], want[name])
		norms, cosines = append(norms, norm), append(cosines, cosine)
		if !(norm <= bound.norm) || !(cosine <= bound.cosine) {
			t.Errorf("%s: relative difference of norms %.2g, 1-cosine %.2g; want at most %g and %g", name, norm,
				cosine, bound.norm, bound.cosine)
		}
	}
	slices.Sort(norms)
	slices.Sort(cosines)
	at := func(v []float64, q float64) float64 { return v[int(q*float64(len(v)-1))] }
	if norm, cosine := at(norms, 0.5), at(cosines, 0.5); !(norm <= bound.normMedian) ||
		!(cosine <= bound.cosineMedian) {
		t.Errorf("medians: relative difference of norms %.2g, 1-cosine %.2g; want at most %g and %g", norm, cosine,
			bound.normMedian, bound.cosineMedian)
	}
	t.Logf("%d gradients: difference of norms median %.2g, 90%% %.2g, most %.2g; 1-cosine median %.2g, 90%% %.2g, "+
		"most %.2g", len(norms),
		at(norms, 0.5), at(norms, 0.9), at(norms, 1), at(cosines, 0.5), at(cosines, 0.9), at(cosines, 1))
}

// gradientsOf gives the gradients of an adapter on every linear role, or of the whole model where its weights are
// floats, for a row of 192 tokens of which each is counted.
func gradientsOf(t *testing.T, path string, cfg engine.SessionConfig) map[string][]float64 {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if strings.Contains(path, "-f32") || strings.Contains(path, "-f16") {
		cfg.Sets = []engine.Set{{Whole: engine.Everything}}
	} else {
		a, err := adapter.New(m.Net(), adapter.Config{Rank: 16, Alpha: 16, Init: "kaiming", Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Pairs {
			for j := range a.Pairs[i].B {
				a.Pairs[i].B[j] = float32(math.Sin(float64(i+3*j))) * 0.02
			}
		}
		cfg.Sets = []engine.Set{{Adapter: a}}
	}
	s, err := engine.NewSession(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := engine.Row{Tokens: tokens(5, 192, m.HParams().NVocab), Segments: []engine.Segment{{Len: 192, Parent: -1}}}
	coef := make([]float32, len(row.Tokens)-1)
	for i := range coef {
		row.Counted, coef[i] = append(row.Counted, int32(i+1)), -1
	}
	if _, err := s.Forward(context.Background(), &engine.Batch{Rows: []engine.Row{row}},
		engine.Options{Backward: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Backward(context.Background(), engine.Outputs{engine.LogP: coef}, nil); err != nil {
		t.Fatal(err)
	}
	out := map[string][]float64{}
	for _, p := range s.Params() {
		out[p.Name] = float64s(numbers(t, p.Grad))
	}
	return out
}
