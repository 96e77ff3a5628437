package run

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestQAT: a model that is trained through its rounding is written in those types, and what is reported of it is what
// the file measures; the base's own figures are those of the file as it is; a run that was stopped within a step ends
// in the same file.
func TestQAT(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *config.Config)
		types  string
	}{
		"full":     {func(c *config.Config) { c.Tune, c.QAT = "full", "Q4_0" }, "q4_0, q8_0"},
		"averages": {func(c *config.Config) { c.Tune, c.QAT, c.EMA = "full", "q8_0", 0.5 }, "q8_0"},
		"part": {func(c *config.Config) {
			c.Tune, c.Train, c.QAT, c.Method = "part", []string{"attn_q"}, "q4_0", "cpt"
		}, "f32, q4_0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			c.Dropout, c.Rank, c.LR = 0, config.Default().Rank, config.Fixed(1e-3)
			c.EvalData, c.EvalSplit = []string{tinyData(t, 12)}, config.Fixed(0.0)
			tc.change(&c)
			straight := c
			straight.Output = filepath.Join(t.TempDir(), "straight")
			rec := &recorder{}
			s, err := Train(t.Context(), straight, rec)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(rec.notes(), "the base has a held-out loss of") || s.LlamaBaseDiff != nil ||
				s.LlamaMaxDiff == nil {
				t.Errorf("notes %q; %+v", rec.notes(), s)
			}
			micros := 0
			stopAndResume(t, c, func(e report.Event) bool {
				if p, ok := e.(report.Progress); ok && p.What == "train" {
					micros++
				}
				return micros == 3
			}, nil)
			if readFile(t, c.Output, fileModel) != readFile(t, straight.Output, fileModel) {
				t.Error("the model is not that of a straight run")
			}
			var types []string
			is := openFile(t, s.Result)
			for i := range is.Tensors {
				if x := &is.Tensors[i]; len(x.Shape) > 1 && !slices.Contains(types, x.Type.String()) {
					types = append(types, x.Type.String())
				}
			}
			slices.Sort(types)
			if got := strings.Join(types, ", "); got != tc.types { // rows too short for q6_k have q8_0
				t.Errorf("matrices are %s, want %s", got, tc.types)
			}
			for model, want := range map[string]float64{s.Result: *s.EvalLossAfter, c.Model: *s.EvalLossBefore} {
				e := c
				e.Model, e.Data, e.EvalData = model, c.EvalData, nil
				got, err := Evaluate(t.Context(), e, "", nil, report.Silent{})
				if err != nil || math.Abs(got.Loss-want) > 1e-6 {
					t.Errorf("%s measures %v (%v), the run said %v", model, got.Loss, err, want)
				}
			}
		})
	}
}
