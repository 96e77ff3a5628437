package run

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestResumeWhole: whatever is trained of a quantized model, a run that was stopped within a step ends in the file of
// one that was not, and the file holds what was trained and nothing else anew.
func TestResumeWhole(t *testing.T) {
	type way struct {
		change func(c *config.Config)
		types  string // of the matrices written
	}
	ways := map[string]way{
		"full":       {func(c *config.Config) { c.Tune = "full" }, "f32"},
		"full, bf16": {func(c *config.Config) { c.Tune, c.OutType = "full", "bf16" }, "bf16"},
		"norms":      {func(c *config.Config) { c.Tune, c.Train = "part", []string{"norms"} }, "q8_0"},
		"a role": {func(c *config.Config) { c.Tune, c.Train, c.Layers = "part", []string{"attn_q"}, "1" },
			"q8_0, f32"},
		"a layer":     {func(c *config.Config) { c.Tune, c.Layers, c.OutType = "part", "-1", "q8_0" }, "q8_0"},
		"bf16 master": {func(c *config.Config) { c.Tune, c.Master = "full", "bf16" }, "bf16"},
		"bf16 master, adamw8bit": {func(c *config.Config) { c.Tune, c.Master, c.Optim = "full", "bf16", "adamw8bit" },
			"bf16"},
		"averaged":    {func(c *config.Config) { c.Tune, c.EMA = "full", 0.9 }, "f32"},
		"embed's own": {func(c *config.Config) { c.Tune, c.EmbedLR, c.OutType = "full", 1e-4, "f16" }, "f16"},
	}
	for _, o := range optim.Names() {
		ways[o] = way{func(c *config.Config) { c.Tune, c.Optim = "full", o }, "f32"}
	}
	for name, tc := range ways {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.Q8_0)
			c.Dropout, c.Rank, c.LR = 0, config.Default().Rank, config.Fixed(1e-3)
			tc.change(&c)
			straight := c
			straight.Output = filepath.Join(t.TempDir(), "straight")
			s := mustTrain(t, straight)
			if !(*s.EvalLossAfter < *s.EvalLossBefore) {
				t.Errorf("nothing is learned: %g, then %g", *s.EvalLossBefore, *s.EvalLossAfter)
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
			was, is := openFile(t, c.Model), openFile(t, s.Result)
			trained := map[string]bool{}
			for _, p := range begun(t, straight, func(r *run) {
				r.cfg.Output = filepath.Join(t.TempDir(), "other")
			}).sess.Params() {
				trained[p.Name] = true
			}
			var types []string
			for i := range is.Tensors {
				x, y := &is.Tensors[i], &was.Tensors[i]
				if same := x.Type == y.Type && string(dataOf(t, is, x)) == string(dataOf(t, was,
					y)); same == trained[x.Name] {
					t.Errorf("tensor %q: trained %v, as it was %v", x.Name, trained[x.Name], same)
				}
				if typ := x.Type.String(); len(x.Shape) > 1 && !slices.Contains(types, typ) {
					types = append(types, typ)
				}
			}
			if got := strings.Join(types, ", "); got != tc.types {
				t.Errorf("matrices are %s, want %s", got, tc.types)
			}
		})
	}
}

func openFile(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func dataOf(t *testing.T, f *gguf.File, x *gguf.TensorInfo) []byte {
	t.Helper()
	b, err := f.Data(x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
