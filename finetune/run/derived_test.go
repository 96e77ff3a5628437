package run

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// resultOf loads the adapter that a run wrote, and its base.
func resultOf(t *testing.T, c *config.Config) (*adapter.Adapter, *engine.Model) {
	t.Helper()
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	a, err := adapter.Load(filepath.Join(c.Output, checkpoint.AdapterFile), m.Net())
	if err != nil {
		t.Fatal(err)
	}
	return a, m
}

// TestStartsFromWeights: PiSSA and OLoRA begin as the base is, learn, go on after a stop as if there had been none, and
// leave as an adapter of twice the rank, with which llama.cpp computes the same (every run checks that).
func TestStartsFromWeights(t *testing.T) {
	for _, init := range []string{adapter.PiSSA, adapter.OLoRA} {
		t.Run(init, func(t *testing.T) {
			c := tinyConfig(t, gguf.Q8_0)
			c.Init, c.Dropout = init, 0
			still := c
			still.LR, still.Steps, still.Output = config.Fixed(1e-12), 1, filepath.Join(t.TempDir(), "still")
			s := mustTrain(t, still)
			if before, after := *s.EvalLossBefore, *s.EvalLossAfter; math.Abs(after-before) > 1e-3 {
				t.Errorf("it begins with loss %g, the base's is %g", after, before)
			}
			straight := c
			straight.Output = filepath.Join(t.TempDir(), "straight")
			s = mustTrain(t, straight)
			if !(*s.EvalLossAfter < *s.EvalLossBefore) {
				t.Errorf("loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
			}
			stopAndResume(t, c, func(e report.Event) bool {
				s, ok := e.(report.Step)
				return ok && s.Step == 3
			}, nil)
			sameResult(t, c.Output, straight.Output)
			a, _ := resultOf(t, &straight)
			if p := a.Pairs[0]; p.Rank != int64(2*c.Rank) || a.Scale(&p) != c.Alpha/float64(c.Rank) {
				t.Errorf("rank %d, scale %g; want %d, %g", p.Rank, a.Scale(&p), 2*c.Rank, c.Alpha/float64(c.Rank))
			}
		})
	}
}

// quantizedOf writes a model in q4_0.
func quantizedOf(t *testing.T, path string) string {
	t.Helper()
	to, err := mix.ToWrite("q4_0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plan, err := quant.NewPlan(f, quant.Choice{Mix: to})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "q4_0.gguf")
	if _, err := quant.Write(t.Context(), plan, quant.FileRows(f), out, quant.Output{}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLoftQ: with what the adapter begins as, every adapted weight is nearer to that which it was quantized from; an
// original that is the base has nothing to give.
func TestLoftQ(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Init, c.From = adapter.LoftQ, c.Model
	c.Model = quantizedOf(t, c.From)
	c.LR, c.Steps, c.Dropout = config.Fixed(1e-12), 1, 0
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rec.notes(), "takes back") {
		t.Errorf("notes %q do not say what the start bought", rec.notes())
	}
	a, m := resultOf(t, &c)
	if a.Pairs[0].Rank != int64(c.Rank) {
		t.Errorf("rank %d, want %d", a.Pairs[0].Rank, c.Rank)
	}
	from, err := gguf.Open(c.From)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	sum, err := adapter.NewSum(adapter.Scaled{Adapter: a, Scale: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, info := range m.File().Tensors {
		if !sum.Changes(info.Name) {
			continue
		}
		base, orig := make([]float32, info.Elements()), make([]float32, info.Elements())
		if err := quant.FileRows(m.File()).Read(i, 0, base); err != nil {
			t.Fatal(err)
		}
		if err := quant.FileRows(from).Read(i, 0, orig); err != nil {
			t.Fatal(err)
		}
		far := func() (sum float64) {
			for k, v := range orig {
				sum += float64(v-base[k]) * float64(v-base[k])
			}
			return sum
		}
		before := far()
		sum.AddTo(info.Name, 0, base, info.Shape[0])
		if after := far(); !(after < 0.95*before) {
			t.Errorf("%s: %g away from the original, and %g with the adapter", info.Name, before, after)
		}
	}
	same := c
	same.Model, same.Output = c.From, filepath.Join(t.TempDir(), "same")
	if _, err := Train(t.Context(), same, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "nothing to make up for") {
		t.Errorf("the base itself as --from: got error %v", err)
	}
}

// TestStartIsNotMadeAgain: a run that goes on finds what it began with beside its checkpoint, and ends in the same
// bits; where that is gone it is made again, and another's is refused.
func TestStartIsNotMadeAgain(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Init, c.Dropout, c.RSLoRA = adapter.PiSSA, 0, true
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	other := c
	other.Output, other.Rank = filepath.Join(t.TempDir(), "other"), c.Rank+1
	mustTrain(t, other)
	interrupt(t, c, 3)
	beside := func(dir string) string {
		found, err := filepath.Glob(filepath.Join(dir, dirCheckpoints, "*", fileAdapter))
		if err != nil || len(found) == 0 {
			return "nothing lies beside the checkpoints"
		}
		return found[len(found)-1] // of the newest
	}
	for name, tt := range map[string]struct {
		change func(dir string) error
		made   bool
		want   string // of the error
	}{
		"as it was": {func(string) error { return nil }, false, ""},
		"gone":      {func(dir string) error { return os.Remove(beside(dir)) }, true, ""},
		"another adapter's": {func(dir string) error {
			b, err := os.ReadFile(filepath.Join(other.Output, fileAdapter))
			if err != nil {
				return err
			}
			return os.WriteFile(beside(dir), b, 0o666)
		}, false, "is not of the checkpoint that it lies beside"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			if err := errors.Join(os.CopyFS(dir, os.DirFS(c.Output)), tt.change(dir)); err != nil {
				t.Fatal(err)
			}
			resumed, err := ResumeConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			made := false
			_, err = Train(t.Context(), *resumed, &recorder{on: func(e report.Event) {
				p, ok := e.(report.Progress)
				made = made || ok && p.What == "init"
			}})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if made != tt.made {
				t.Errorf("the start was made again: %v, want %v", made, tt.made)
			}
			sameResult(t, dir, straight.Output)
		})
	}
}

// TestLoftQGoesOnWithoutItsOriginal: the file that a start was made from is not needed again.
func TestLoftQGoesOnWithoutItsOriginal(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Init, c.From, c.Dropout = adapter.LoftQ, c.Model, 0
	c.Model = quantizedOf(t, c.From)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	interrupt(t, c, 3)
	if err := os.Remove(c.From); err != nil {
		t.Fatal(err)
	}
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	mustTrain(t, *resumed)
	sameResult(t, c.Output, straight.Output)
}

// interrupt stops a run after a step.
func interrupt(t *testing.T, c config.Config, step int) {
	t.Helper()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := Train(ctx, c, &recorder{on: func(e report.Event) {
		if s, ok := e.(report.Step); ok && s.Step == step {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) {
		t.Fatalf("interrupted: got %v", err)
	}
}
