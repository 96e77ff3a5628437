package run

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// ofKind is a small run that trains a kind of adapter on a quantized base.
func ofKind(t *testing.T, kind adapter.Kind) config.Config {
	c := tinyConfig(t, gguf.Q8_0)
	c.Tune = kind.String()
	if !kind.Paired() {
		c.LR = config.Fixed(5e-2)
	}
	if kind == adapter.IA3 {
		c.Rank, c.Dropout = config.Default().Rank, 0
	}
	return c
}

// TestKinds: each kind of adapter says how it leaves, begins as the base is, learns, ends after a stop within a step as
// if there had been none, and leaves what llama.cpp computes the same from: every run checks that.
func TestKinds(t *testing.T) {
	for _, kind := range adapter.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			c := ofKind(t, kind)
			still := c
			still.LR, still.Steps, still.Output = config.Fixed(1e-12), 1, filepath.Join(t.TempDir(), "still")
			rec := &recorder{}
			s, err := Train(t.Context(), still, rec)
			if err != nil {
				t.Fatal(err)
			}
			if before, after := *s.EvalLossBefore, *s.EvalLossAfter; math.Abs(after-before) > 1e-3 {
				t.Errorf("it begins with loss %g, the base's is %g", after, before)
			}
			if said := strings.Contains(rec.notes(), "leaves as") || strings.Contains(rec.notes(),
				"the result is"); said != (kind != adapter.LoRA) {
				t.Errorf("notes %q: how it leaves is said: %v", rec.notes(), said)
			}
			straight := c
			straight.Output = filepath.Join(t.TempDir(), "straight")
			if s = mustTrain(t, straight); !(*s.EvalLossAfter < *s.EvalLossBefore) {
				t.Errorf("loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
			}
			parts := 0
			stopAndResume(t, c, func(e report.Event) bool {
				if p, ok := e.(report.Progress); ok && p.What == "train" && p.Done == 1 {
					parts++
				}
				return parts == 2
			}, nil)
			sameResult(t, c.Output, straight.Output)
			checkLeft(t, kind, straight, s)
		})
	}
}

// checkLeft looks at what a run left.
func checkLeft(t *testing.T, kind adapter.Kind, c config.Config, s report.Summary) {
	a, m := resultOf(t, &c)
	if want := a.Leaving().Kind; !kind.Merged() && want != adapter.LoRA || kind.Merged() && want != kind {
		t.Errorf("%s leaves as %s", kind, want)
	}
	if kind == adapter.LoRAFA {
		begun, err := adapter.New(m.Net(), adapter.Config{Rank: c.Rank, Alpha: c.Alpha, Init: c.Init, Seed: c.Seed})
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Pairs {
			for j, x := range a.Pairs[i].A {
				if x != begun.Pairs[i].A[j] {
					t.Fatalf("%s: A has changed", a.Pairs[i].Tensor)
				}
			}
		}
	}
	if !kind.Merged() {
		return
	}
	if s.MergedKL == nil || !(*s.MergedKL < *s.BaseKL/4) || filepath.Base(s.Result) != fileModel {
		t.Errorf("result %s: KL %v from the adapter, of the base %v", s.Result, s.MergedKL, s.BaseKL)
	}
	// The file of our own computes what the model does, and trains on.
	loss := func(model, path string) float64 {
		cfg := c
		cfg.Model = model
		e, err := Evaluate(t.Context(), cfg, path, func(string) bool { return true }, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		return e.Loss
	}
	apart, merged, base := loss(c.Model, filepath.Join(c.Output, fileAdapter)), loss(s.Result, ""), loss(c.Model, "")
	if !(math.Abs(apart-merged) < 0.05*(base-apart)) {
		t.Errorf("loss %g with the adapter apart, %g merged, %g of the base", apart, merged, base)
	}
	again, std := c, config.Default()
	again.Rank, again.InitAdapter, again.Steps = std.Rank, filepath.Join(c.Output, fileAdapter), 1
	again.Output = filepath.Join(t.TempDir(), "again")
	if s := mustTrain(t, again); !(*s.EvalLossAfter < *s.EvalLossBefore) {
		t.Errorf("trained on: loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
	}
	again.Tune, again.Dropout, again.Output = "lora", 0, filepath.Join(t.TempDir(), "other")
	if _, err := Train(t.Context(), again, report.Silent{}); err == nil || !strings.Contains(err.Error(),
		"is a "+kind.String()+" adapter") {
		t.Errorf("as another kind: got error %v", err)
	}
}

// TestLoRAFABegins: what LoRA can begin from LoRA-FA can: weights, blocks, a LoRA, whose A stays.
func TestLoRAFABegins(t *testing.T) {
	first := tinyConfig(t, gguf.F32)
	first.Steps = 2
	mustTrain(t, first)
	for name, change := range map[string]func(c *config.Config){
		"weights": func(c *config.Config) { c.Init = adapter.PiSSA },
		"blocks":  func(c *config.Config) { c.Mergeable = true },
		"a LoRA": func(c *config.Config) {
			c.Model, c.InitAdapter = first.Model, filepath.Join(first.Output, fileAdapter)
			c.Rank = config.Default().Rank
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.Q4_1)
			c.Tune, c.Dropout = adapter.LoRAFA.String(), 0
			change(&c)
			if s := mustTrain(t, c); !(*s.EvalLossAfter < *s.EvalLossBefore) {
				t.Errorf("loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
			}
			a, m := resultOf(t, &c)
			begun := c
			begun.Output = ""
			if c.Init == adapter.PiSSA { // which is in the result twice, and is as it was
				for _, p := range a.Pairs {
					for k := range p.Rank / 2 {
						half := p.AShape[0] * p.Rank / 2
						for j := range p.AShape[0] {
							if at := k*p.AShape[0] + j; p.A[at] != p.A[half+at] {
								t.Fatalf("%s: A has changed", p.Tensor)
							}
						}
					}
				}
				return
			}
			sc, err := begun.Session(m)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range sc.Sets[0].Adapter.(*adapter.Adapter).Pairs {
				for j, x := range p.A {
					if x != a.Pairs[i].A[j] {
						t.Fatalf("%s: A has changed", p.Tensor)
					}
				}
			}
		})
	}
}
