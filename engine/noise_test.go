package engine

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// noisy is a session that trains all of a tiny model, with noise on the embeddings.
func noisy(t *testing.T, alpha float64, keep int64) *Session {
	t.Helper()
	m, err := Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSession(m, SessionConfig{Threads: 1, Exact: true, Seed: 5, EmbedNoise: alpha, KeepBytes: keep,
		Sets: []Set{{Whole: Everything}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); m.Close() })
	return s
}

// noiseBatch is a row of two examples, 40 and 3 tokens, and one of a prompt of 8 with answers of 2 and 12.
func noiseBatch(step uint64) *Batch {
	tokens := func(n int) (out []int32) {
		for i := range n {
			out = append(out, int32(3+i%7))
		}
		return out
	}
	return &Batch{DropoutStep: step, Rows: []Row{
		{Tokens: tokens(43), Segments: []Segment{{Len: 40, Parent: -1}, {Start: 40, Len: 3, Parent: -1}},
			Counted: []int32{5, 20, 39, 42}},
		{Tokens: tokens(22), Segments: []Segment{{Len: 8, Parent: -1}, {Start: 8, Len: 2}, {Start: 10, Len: 12}},
			Counted: []int32{8, 9, 10, 21}}}}
}

// TestNoise: the noise of a token fills ±α/√(L·d) evenly, L being what its example or tree has; another micro-batch has
// other noise, the same has the same, and without dropout there is none.
func TestNoise(t *testing.T) {
	const alpha = 5
	s := noisy(t, alpha, 0)
	width := s.model.net.NEmbd
	read := func(step uint64) []float32 {
		p, err := s.newPass(noiseBatch(step), Options{Dropout: true})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 65*width)
		if err := s.backend.Download(backend.BytesOf(out), s.mem.inputs.at(p.idxAt[arch.InputNoise])); err != nil {
			t.Fatal(err)
		}
		return out
	}
	noise := read(1)
	for _, tc := range []struct{ from, to, length int }{{0, 40, 40}, {40, 43, 3}, {43, 65, 20}} {
		size := alpha / math.Sqrt(float64(tc.length*width))
		var sum, squares, most float64
		part := noise[tc.from*width : tc.to*width]
		for _, x := range part {
			sum, squares, most = sum+float64(x), squares+float64(x)*float64(x), max(most, math.Abs(float64(x)))
		}
		n := float64(len(part))
		// Of n even numbers the mean has a spread of size/√(3n), that of squares one of 2·size²/√(45n); five of each.
		if most > size*(1+1e-6) || most < 0.9*size || math.Abs(sum/n) > 5*size/math.Sqrt(3*n) ||
			math.Abs(squares/n/size/size-1.0/3) > 5*2/math.Sqrt(45*n) {
			t.Errorf("tokens %d to %d: largest %g, mean %g, of squares %g; expected even within %g", tc.from, tc.to,
				most, sum/n, squares/n, size)
		}
	}
	if slices.Equal(noise, read(2)) || !slices.Equal(noise, read(1)) {
		t.Error("the noise is not a function of the micro-batch")
	}
	forward := func(s *Session, drop bool) []float32 {
		out, err := s.Forward(context.Background(), noiseBatch(1), Options{Dropout: drop})
		if err != nil {
			t.Fatal(err)
		}
		return out[LogP]
	}
	plain := noisy(t, 0, 0)
	if !slices.Equal(forward(s, false), forward(plain, true)) {
		t.Error("without dropout there is noise")
	}
	if slices.Equal(forward(s, true), forward(plain, true)) {
		t.Error("the noise reaches nothing")
	}
}

// TestNoiseGradients: gradients are those of the model with its noise, be layers kept or computed again.
func TestNoiseGradients(t *testing.T) {
	const (
		h   = 1e-3
		tol = 2e-3 // of the slope; measured 3e-4, most of it the rounding of the loss in f32
	)
	var kept []float32
	for _, keep := range []int64{0, 1 << 40} {
		s := noisy(t, 5, keep)
		g := rand.New(rand.NewPCG(1, 2))
		loss := func(back bool) (sum float64) {
			out, err := s.Forward(context.Background(), noiseBatch(1), Options{Dropout: true, Backward: back})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range out[LogP] {
				sum -= float64(x)
			}
			return sum
		}
		loss(true)
		grad := slices.Repeat([]float32{-1}, 8)
		if err := s.Backward(context.Background(), Outputs{LogP: grad}, nil); err != nil {
			t.Fatal(err)
		}
		var all []float32
		for _, p := range s.Params() {
			v, err := p.Grad.All()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v...)
		}
		if kept != nil && !slices.Equal(kept, all) {
			t.Error("layers computed again give other gradients")
		}
		kept = all
		for _, p := range s.Params()[:3] { // the embedding and what follows
			x, err := p.Value.All()
			if err != nil {
				t.Fatal(err)
			}
			d, err := p.Grad.All()
			if err != nil {
				t.Fatal(err)
			}
			along, want := make([]float32, len(x)), 0.0
			size := 0.0
			for i := range along {
				along[i] = d[i] + float32(0.1*g.NormFloat64())*d[i]
				size += float64(along[i]) * float64(along[i])
			}
			for i := range along {
				along[i] /= float32(math.Sqrt(size))
				want += float64(along[i]) * float64(d[i])
			}
			at := func(step float32) float64 {
				y := slices.Clone(x)
				for i := range y {
					y[i] += step * along[i]
				}
				if err := p.Value.Upload(y, 0); err != nil {
					t.Fatal(err)
				}
				return loss(false)
			}
			got := (at(h) - at(-h)) / (2 * h)
			at(0)
			if math.Abs(got-want) > tol*math.Abs(want) {
				t.Errorf("%s: slope %g, its gradient says %g", p.Name, got, want)
			}
		}
	}
}
