package engine

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// withExperts calls do with sessions of a model with experts, of which all is trained: no layer kept, and all of them.
func withExperts(t *testing.T, do func(s *Session)) {
	t.Helper()
	m, err := Open(synth.Temp(t, synth.Tiny("qwen3moe", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, keep := range []int64{0, 1 << 30} {
		s, err := NewSession(m, SessionConfig{Threads: 1, Exact: true, KeepBytes: keep,
			Sets: []Set{{Whole: Everything}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		do(s)
	}
}

// TestRoutes: with routes held a pass computes what it computed when it chose them, layers kept or not; with other
// routers it keeps to them all the same, and another batch is refused.
func TestRoutes(t *testing.T) {
	withExperts(t, func(s *Session) {
		b := noiseBatch(0)
		forward := func(r *Routes) []float32 {
			out, err := s.Forward(context.Background(), b, Options{Backward: true, Routes: r})
			if err != nil {
				t.Fatal(err)
			}
			return out[LogP]
		}
		var held, other Routes
		free := forward(nil)
		if told := forward(&held); !slices.Equal(free, told) {
			t.Error("who asks for the routes changes what is computed")
		}
		if again := forward(&held); !slices.Equal(free, again) {
			t.Error("with the routes held another result")
		}
		was := slices.Clone(held.of[0])
		router := s.byName["blk.0.ffn_gate_inp.weight"].Value
		w, err := router.All()
		if err != nil {
			t.Fatal(err)
		}
		for i := range w {
			w[i] = -w[i] // the best are the worst
		}
		if err := router.Upload(w, 0); err != nil {
			t.Fatal(err)
		}
		kept := forward(&held)
		if moved := forward(&other); slices.Equal(kept, moved) || slices.Equal(other.of[0], held.of[0]) {
			t.Error("another router chooses the same experts: the test proves nothing")
		}
		if !slices.Equal(was, held.of[0]) || len(held.of) != 2 {
			t.Errorf("routes that are held change, or are those of %d layers", len(held.of))
		}
		short := &Batch{Rows: b.Rows[:1]}
		if _, err := s.Forward(context.Background(), short, Options{Routes: &held}); err == nil ||
			!strings.Contains(err.Error(), "routes of 130 choices, expected 86: they are of another batch") {
			t.Errorf("routes of another batch: %v", err)
		}
	})
}

// TestLoads: the choices of passes that go back are counted by layer and expert, whatever is kept; of others none.
func TestLoads(t *testing.T) {
	withExperts(t, func(s *Session) {
		var r Routes
		for _, back := range []bool{false, true, true} {
			opt := Options{Backward: back, Routes: &r}
			if _, err := s.Forward(context.Background(), noiseBatch(0), opt); err != nil {
				t.Fatal(err)
			}
		}
		got := s.Loads()
		for il, chosen := range r.of {
			want := make([]int64, 4)
			for _, e := range chosen {
				want[e] += 2 // passes
			}
			if !slices.Equal(got[il], want) {
				t.Errorf("layer %d: %v, want %v", il, got[il], want)
			}
		}
		if len(got) != 2 || s.Loads() != nil {
			t.Errorf("loads of %d layers, want 2, once", len(got))
		}
	})
}
