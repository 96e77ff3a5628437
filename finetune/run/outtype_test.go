package run

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestAdapterInF16: the file takes half of the bytes, the report tells of its numbers and not of those before rounding,
// llama.cpp computes what it holds even where the base agrees almost exactly, and a run that was stopped ends in the
// same file.
func TestAdapterInF16(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"lora":    func(*config.Config) {},
		"lora-fa": func(c *config.Config) { c.Tune = "lora-fa" },
		"exact":   func(c *config.Config) { c.Exact = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			c.OutType, c.LR, c.EvalSplit = "f16", config.Fixed(0.05), config.Fixed(0.)
			c.EvalData = []string{tinyData(t, 10)}
			change(&c)
			straight := c
			straight.Output = filepath.Join(t.TempDir(), "straight")
			s := mustTrain(t, straight)
			f := openFile(t, s.Result)
			for i := range f.Tensors {
				if f.Tensors[i].Type != gguf.F16 {
					t.Errorf("tensor %q is %s, want f16", f.Tensors[i].Name, f.Tensors[i].Type)
				}
			}
			for _, l := range metrics(t, straight.Output) {
				if l.Step == c.Steps && *l.EvalLoss == *s.EvalLossAfter {
					t.Error("the report's loss is that before rounding")
				}
			}
			e := config.Default()
			e.Model, e.Data, e.Threads, e.Exact = c.Model, c.EvalData, 1, c.Exact
			got, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{})
			if err != nil || math.Abs(got.Loss-*s.EvalLossAfter) > 1e-4 { // rows are packed otherwise
				t.Errorf("the file's loss is %g, %v; the report says %g", got.Loss, err, *s.EvalLossAfter)
			}
			stopAndResume(t, c, func(e report.Event) bool {
				p, ok := e.(report.Saved)
				return ok && p.What == "checkpoint"
			}, nil)
			sameResult(t, c.Output, straight.Output)
			full := c
			full.OutType, full.Output = "f32", filepath.Join(t.TempDir(), "f32")
			w := mustTrain(t, full)
			if d := math.Abs(*w.EvalLossAfter - *s.EvalLossAfter); !(d < 0.01) {
				t.Errorf("loss %g in f16, %g in f32", *s.EvalLossAfter, *w.EvalLossAfter)
			}
			if half, whole := f.Bytes(), openFile(t, w.Result).Bytes(); 2*half > whole+5000 {
				t.Errorf("%d bytes in f16, %d in f32", half, whole)
			}
		})
	}
}
