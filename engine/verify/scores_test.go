package verify_test

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// scored gives what a session with an adapter of that size scores sequences of several lengths with, and the adapter's
// file. The head is large, so that a trained one's scores are met.
func scored(t *testing.T, path string, size float64, exact bool) (verify.Scores, string) {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	offZero(a, size)
	out := verify.Scores{Head: head.New(m.HParams().NEmbd, 5)}
	for i := range out.Head {
		out.Head[i] *= 10
	}
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: exact,
		Sets: []engine.Set{{Adapter: a, Heads: []engine.Head{head.Head(out.Head)}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, b := tokens(150, m.HParams().NVocab), &engine.Batch{}
	for _, n := range []int{1, 2, 40, 64, 65, 150} { // llama.cpp reads 64 at a time
		if n > s.Positions() {
			continue
		}
		row := engine.PlainRow(all[len(all)-n:])
		row.Counted, row.Valued = nil, []int32{int32(n - 1)}
		b.Rows, out.Rows = append(b.Rows, row), append(out.Rows, row.Tokens)
	}
	given, err := s.Forward(t.Context(), b, engine.Options{Want: []*engine.Output{engine.Value}})
	if err != nil {
		t.Fatal(err)
	}
	out.Ours = given[engine.Value]
	file := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(t.Context(), atomicfile.OS, file); err != nil {
		t.Fatal(err)
	}
	return out, file
}

// TestLlamaAgreesOnScores: llama.cpp's state after the output norm at the scored token, with the adapter, times the
// head, is our score, in every architecture.
func TestLlamaAgreesOnScores(t *testing.T) {
	for _, name := range arch.Predicting() {
		for _, typ := range []gguf.Type{gguf.F32, gguf.Q8_0} {
			t.Run(name+" "+typ.String(), func(t *testing.T) {
				path := verify.NeedLlama(t, synth.Temp(t, synth.Tiny(name, typ)))
				var r verify.ScoreReport
				for size := 0.1; size < 1 && r.Moved <= r.Size/5; size *= 2 { // a granite's adapter moves little
					s, lora := scored(t, path, size, false)
					var err error
					if r, err = verify.VerifyScores(t.Context(), path, lora, s, 1); err != nil {
						t.Fatal(err)
					}
				}
				t.Logf("of size %.3g: %.2g off, moved by %.2g", r.Size, r.RMS, r.Moved)
				if !(r.Moved > 4*r.RMS) {
					t.Errorf("the adapter moves scores by %.3g, which shows nothing beside %.3g", r.Moved, r.RMS)
				}
			})
		}
	}
}

// TestVerifyScoresFinds: what is no agreement.
func TestVerifyScoresFinds(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.Q8_0} {
		t.Run(typ.String(), func(t *testing.T) {
			path := synth.Temp(t, synth.Tiny("llama", typ))
			s, lora := scored(t, path, 0.1, false)
			for what, spoil := range map[string]func(x *verify.Scores, lora *string){
				"no adapter": func(_ *verify.Scores, lora *string) { *lora = "" },
				"the token before": func(x *verify.Scores, _ *string) {
					for i, row := range x.Rows[1:] {
						x.Rows[i+1] = row[:len(row)-1]
					}
				},
				"another head": func(x *verify.Scores, _ *string) { x.Head = head.New(len(x.Head), 6) },
				"no number":    func(x *verify.Scores, _ *string) { x.Ours[1] = float32(math.NaN()) },
			} {
				x, with := s, lora
				x.Rows, x.Ours = slices.Clone(s.Rows), slices.Clone(s.Ours)
				spoil(&x, &with)
				r, err := verify.VerifyScores(t.Context(), path, with, x, 1)
				if !errors.Is(err, verify.ErrDisagree) {
					t.Errorf("%s: %.3g off of size %.3g: %v", what, r.RMS, r.Size, err)
				}
			}
		})
	}
}

// TestLlamaAgreesOnExactScores: without our rounding of activations nothing is left between the scores but f32 sums,
// and in models of which llama.cpp computes a part in f16 that.
func TestLlamaAgreesOnExactScores(t *testing.T) {
	for _, name := range arch.Predicting() {
		t.Run(name, func(t *testing.T) {
			share := 1e-5 // measured: 1.2e-6
			if a, err := arch.Get(name); err != nil {
				t.Fatal(err)
			} else if a.Example.Rounded {
				share = 1e-3 // measured: 4e-4
			}
			path := verify.NeedLlama(t, synth.Temp(t, synth.Tiny(name, gguf.F32)))
			s, lora := scored(t, path, 0.1, true)
			if r, err := verify.VerifyScores(t.Context(), path, lora, s, 1); err != nil || !(r.RMS <= share*r.Size) {
				t.Errorf("%.2g off of size %.3g: %v", r.RMS, r.Size, err)
			}
		})
	}
}

func TestVerifyScoresRefuses(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	s, lora := scored(t, path, 0.1, false)
	for want, spoil := range map[string]func(x *verify.Scores){
		"0 scores of 6 sequences": func(x *verify.Scores) { x.Ours = nil },
		"a head of 3 numbers":     func(x *verify.Scores) { x.Head = x.Head[:3] },
		"vocabulary has tokens":   func(x *verify.Scores) { x.Rows = append(x.Rows[:5:5], []int32{-1}) },
		"there are none":          func(x *verify.Scores) { x.Rows = append(x.Rows[:5:5], nil) },
	} {
		x := s
		spoil(&x)
		if _, err := verify.VerifyScores(t.Context(), path, lora, x, 1); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
