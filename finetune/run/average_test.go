package run

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/report"
)

// averaged is a run that keeps averages and evaluates after every step.
func averaged(t *testing.T) config.Config {
	c := tinyConfig(t, gguf.F32)
	c.EMA, c.EvalEvery, c.LR = 0.9, config.Fixed(1), config.Fixed(0.01)
	c.EvalSplit, c.EvalData = config.Fixed(0.0), []string{tinyData(t, 10)}
	return c
}

// TestAverageIsTheResult: what is written and evaluated is the average, which checkpoints hold beside the rest; the
// steps themselves are those of a run without.
func TestAverageIsTheResult(t *testing.T) {
	c := averaged(t)
	plain := c
	plain.EMA, plain.Output = 0, filepath.Join(t.TempDir(), "plain")
	rec, without := &recorder{}, mustTrain(t, plain)
	s, err := Train(t.Context(), c, rec)
	if err != nil || !strings.Contains(rec.notes(), "are of a moving average of what is trained (--ema 0.9)") {
		t.Fatalf("%v; it says %q", err, rec.notes())
	}
	for i, line := range metrics(t, c.Output) {
		other := metrics(t, plain.Output)[i]
		if line.Loss != other.Loss || line.GradNorm != other.GradNorm || i > 0 && *line.EvalLoss == *other.EvalLoss {
			t.Errorf("step %d: %+v, without averages %+v", line.Step, line, other)
		}
	}
	r := begun(t, c, func(r *run) { r.cfg.Output = filepath.Join(t.TempDir(), "other") })
	store := checkpoint.Store{Dir: filepath.Join(c.Output, dirCheckpoints)}
	f, err := store.Open(checkpoint.ID{Step: s.Steps})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := adapter.Load(filepath.Join(c.Output, fileAdapter), r.model.Net())
	if err != nil {
		t.Fatal(err)
	}
	beside, err := adapter.Load(filepath.Join(store.Path(checkpoint.ID{Step: s.Steps}), fileAdapter), r.model.Net())
	if err != nil {
		t.Fatal(err)
	}
	trained, mean := make([]float32, len(a.Pairs[0].B)), make([]float32, len(a.Pairs[0].B))
	name := a.Pairs[0].Tensor + ".lora_b"
	if err := f.Read([]checkpoint.Tensor{checkpoint.Floats(name, trained),
		checkpoint.Floats(optim.AverageName(name), mean)}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Pairs[0].B, mean) || !slices.Equal(beside.Pairs[0].B, mean) || slices.Equal(trained, mean) {
		t.Errorf("%s: written %v, in the checkpoint %v, averages %v, trained %v", name, a.Pairs[0].B[:3],
			beside.Pairs[0].B[:3], mean[:3], trained[:3])
	}
	if *s.AdapterSHA256 == *without.AdapterSHA256 || *s.EvalLossAfter == *without.EvalLossAfter {
		t.Error("the result is that of a run without averages")
	}
	e := config.Default()
	e.Model, e.Data, e.Threads = c.Model, c.EvalData, 1
	got, err := Evaluate(t.Context(), e, filepath.Join(c.Output, fileAdapter), nil, report.Silent{})
	if err != nil || math.Abs(got.Loss-*s.EvalLossAfter) > 1e-4 { // rows are packed otherwise
		t.Errorf("the result's loss is %g, %v; the report says %g", got.Loss, err, *s.EvalLossAfter)
	}
}

// TestAverageResumes: stopped within a step, a run with averages ends in the bits of one that was not; and where the
// best step's are the result, in its averages.
func TestAverageResumes(t *testing.T) {
	for _, best := range []bool{false, true} {
		c := averaged(t)
		if c.Best = best; best {
			c.LR, c.Clip, c.Schedule, c.EMA = config.Fixed(0.1), 0, "constant", 0.5 // far too much: the loss rises
			c.Steps, c.Patience = 60, 2
		}
		straight := c
		straight.Output = filepath.Join(t.TempDir(), "straight")
		s := mustTrain(t, straight)
		if best && s.ResultStep == s.Steps {
			t.Fatalf("the last step is the best: %g", *s.BestLoss)
		}
		micros := 0
		stopAndResume(t, c, func(e report.Event) bool {
			if p, ok := e.(report.Progress); ok && p.What == "train" {
				micros++
			}
			return micros == 3
		}, nil)
		sameResult(t, c.Output, straight.Output)
		e := config.Default()
		e.Model, e.Data, e.Threads = c.Model, c.EvalData, 1
		got, err := Evaluate(t.Context(), e, filepath.Join(c.Output, fileAdapter), nil, report.Silent{})
		if err != nil || math.Abs(got.Loss-*s.EvalLossAfter) > 1e-4 {
			t.Errorf("best %v: the result's loss is %g, %v; the report says %g", best, got.Loss, err, *s.EvalLossAfter)
		}
	}
}
