package rollout

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/verify"
)

// session opens one over a model with a shaken adapter.
func session(t *testing.T, model string, exact bool) *engine.Session {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: exact,
		Sets: []engine.Set{{Adapter: shaken(t, model, 5)}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ownConfig has a session write.
func ownConfig(s *engine.Session, parallel int) Config {
	return Config{Ctx: 48, Parallel: parallel, Own: &Own{Session: s, Samples: 5}}
}

// TestOwnSaysWhatTrainingSays: each token's log-probability is that of a training pass over the tree of a prompt and
// its answers, to the bit, and follows from no other answer, nor from how many are written at a time.
func TestOwnSaysWhatTrainingSays(t *testing.T) {
	for _, name := range arch.Predicting() {
		t.Run(name, func(t *testing.T) {
			s := session(t, verify.NeedLlama(t, tiny(t, name, gguf.Q8_0)), false)
			var first []Answer
			for _, parallel := range []int{3, 1, 16} {
				w := open(t, ownConfig(s, parallel))
				answers := write(t, w, somePrompts, 5, someHow)
				if first == nil {
					first = answers
				} else if !reflect.DeepEqual(answers, first) {
					t.Errorf("%d at a time are other answers than 3 at a time", parallel)
				}
			}
			ended, full := 0, 0
			for p, prompt := range somePrompts {
				row := engine.Row{Tokens: append([]int32{}, prompt.Tokens...),
					Segments: []engine.Segment{{Len: len(prompt.Tokens), Parent: -1}}}
				var want []float32
				for _, a := range first[p*5 : p*5+5] {
					row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: len(a.Tokens)})
					for i, id := range a.Tokens {
						row.Counted, row.Tokens = append(row.Counted, int32(len(row.Tokens))), append(row.Tokens, id)
						want = append(want, a.LogP[i])
					}
					if a.Ended {
						ended++
					} else if len(a.Tokens) == someHow.MaxTokens {
						full++
					}
				}
				out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
					engine.Options{Temp: someHow.Temp})
				if err != nil {
					t.Fatal(err)
				}
				for i, got := range out[engine.LogP] {
					if math.Float32bits(got) != math.Float32bits(want[i]) {
						t.Fatalf("prompt %d, token %d: written with %v, trained on with %v", p, i, want[i], got)
					}
				}
			}
			if full == 0 || ended+full < len(first) {
				t.Errorf("%d answers ended and %d are as long as they may be, of %d", ended, full, len(first))
			}
		})
	}
}

// TestOwnGoesOn: behind the root of a prompt, what else it has begins the answer's own segment, as the exchanges that
// are trained on have it.
func TestOwnGoesOn(t *testing.T) {
	s := session(t, tiny(t, "llama", gguf.Q8_0), false)
	w := open(t, ownConfig(s, 2))
	said := somePrompts[1].Tokens
	answers := write(t, w, []Prompt{{Tokens: said, Root: 3}, {Tokens: said, Root: len(said)}}, 3, someHow)
	for i, root := range []int{3, len(said)} {
		row := engine.Row{Tokens: append([]int32{}, said[:root]...),
			Segments: []engine.Segment{{Len: root, Parent: -1}}}
		var want []float32
		for _, a := range answers[3*i : 3*i+3] {
			own := append(append([]int32{}, said[root:]...), a.Tokens...)
			row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: len(own)})
			row.Tokens, want = append(row.Tokens, own...), append(want, a.LogP...)
			for k := range a.Tokens {
				row.Counted = append(row.Counted, int32(len(row.Tokens)-len(a.Tokens)+k))
			}
		}
		out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}}, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(out[engine.LogP], want) {
			t.Errorf("root of %d: written with %v, trained on with %v", root, want, out[engine.LogP])
		}
	}
	if _, err := w.Write(t.Context(), []Prompt{{Tokens: said, Root: 8}}, 1, someHow); err == nil {
		t.Error("a root longer than its prompt was taken")
	}
}

// TestOwnDrawsAsLlamaCpp: in F32 the same seeds draw the same answers through llama.cpp, as likely but for its
// rounding, until that makes a difference.
func TestOwnDrawsAsLlamaCpp(t *testing.T) {
	const tolerance = 0.15 // measured 0.054: llama.cpp keeps keys and values in f16
	model := tiny(t, "llama", gguf.F32)
	s := session(t, model, true)
	theirs := open(t, Config{Model: model, Parallel: 4})
	if err := theirs.Hold(t.Context(), shaken(t, model, 5)); err != nil {
		t.Fatal(err)
	}
	ours := open(t, ownConfig(s, 4))
	if err := ours.Hold(t.Context(), shaken(t, model, 5)); err == nil {
		t.Error("a session was given an adapter to write with")
	}
	for _, temp := range []float64{1, 0.5, 0} {
		how := someHow
		how.Temp = temp
		alike := 0
		want, got := write(t, theirs, somePrompts, 4, how), write(t, ours, somePrompts, 4, how)
		for i, a := range want {
			k := 0
			for ; k < min(len(a.Tokens), len(got[i].Tokens)) && a.Tokens[k] == got[i].Tokens[k]; k++ {
				if d := math.Abs(float64(a.LogP[k] - got[i].LogP[k])); d > tolerance {
					t.Errorf("temperature %g, answer %d, token %d: %v, through llama.cpp %v", temp, i, k,
						got[i].LogP[k], a.LogP[k])
				}
			}
			if k == len(a.Tokens) && got[i].Ended == a.Ended {
				alike++
			}
		}
		if alike < len(want)/3 {
			t.Errorf("temperature %g: of %d answers %d are those through llama.cpp", temp, len(want), alike)
		}
	}
}

// TestOwnStops: a call that is stopped gives no answers, and what is written after it is what would have been without
// it.
func TestOwnStops(t *testing.T) {
	s := session(t, tiny(t, "llama", gguf.Q8_0), false)
	w := open(t, ownConfig(s, 4))
	want := write(t, w, somePrompts, 4, someHow)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	w.Progress = func(_, tokens int) {
		if tokens == 30 {
			cancel(stopped)
		}
	}
	if answers, err := w.Write(ctx, somePrompts, 4, someHow); !errors.Is(err, stopped) || answers != nil {
		t.Errorf("stopped: %v, %v", answers, err)
	}
	w.Progress = nil
	if got := write(t, w, somePrompts, 4, someHow); !reflect.DeepEqual(got, want) {
		t.Error("after it was stopped a writer writes something else")
	}
}

// TestOwnRefuses: what there is no room for, and a model whose weights give no numbers.
func TestOwnRefuses(t *testing.T) {
	model := tiny(t, "llama", gguf.Q8_0)
	s := session(t, model, false)
	w := open(t, ownConfig(s, 4))
	var long *LongError
	for what, x := range map[string]struct {
		prompt  []int32
		samples int
		want    string
	}{
		"no room":       {make([]int32, 48), 1, "there is room for 48"},
		"no prompt":     {nil, 1, "no tokens"},
		"no such token": {[]int32{320}, 1, "vocabulary's 320"},
		"too many":      {[]int32{1}, 6, "room for 5"},
	} {
		_, err := w.Write(t.Context(), []Prompt{{Tokens: x.prompt}}, x.samples, someHow)
		if err == nil || !strings.Contains(err.Error(), x.want) || errors.As(err, &long) != (what == "no room") {
			t.Errorf("%s: %v, want %q", what, err, x.want)
		}
	}
	broken := session(t, model, false)
	for _, p := range broken.Params() {
		if err := p.Value.Upload([]float32{float32(math.NaN())}, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := open(t, ownConfig(broken, 4)).Write(t.Context(), somePrompts, 2, someHow)
	if err == nil || !strings.Contains(err.Error(), "ggtune check") {
		t.Errorf("a model of no numbers: %v", err)
	}
}
