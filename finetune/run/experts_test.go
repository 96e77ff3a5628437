package run

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
)

// TestExperts: shares are of a layer's choices, and those of all layers the extremes.
func TestExperts(t *testing.T) {
	got := experts(map[string]float64{"kl": 1}, map[int][]int64{0: {2, 4, 2}, 3: {6, 1, 1}})
	want := map[string]float64{"kl": 1, "expert_busiest": 0.75, "expert_idlest": 0.125, "expert_busiest_0": 0.5,
		"expert_idlest_0": 0.25, "expert_busiest_3": 0.75, "expert_idlest_3": 0.125}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if experts(nil, nil) != nil {
		t.Error("a model without experts has figures of them")
	}
}

// TestTrainExperts: a mixture of experts learns through pairs beside what all tokens meet, and beside experts and
// router where they are named; the run says which, and how evenly tokens choose. Trained as a whole its router stays.
func TestTrainExperts(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Config)
		says   string
	}{
		"usual": {func(*config.Config) {}, "adapted is what all tokens meet (attn_q, attn_k, attn_v, attn_output); " +
			"--targets names others (ffn_gate_inp, ffn_gate_exps, ffn_up_exps, ffn_down_exps)"},
		"named": {func(c *config.Config) { c.Targets = []string{"attn_q", "ffn_gate_inp", "ffn_up_exps"} }, ""},
		"full": {func(c *config.Config) { c.Tune, c.Dropout, c.Rank = "full", 0, config.Default().Rank },
			"what chooses among experts (ffn_gate_inp) stays as it is"},
		"all": {func(c *config.Config) {
			c.Tune, c.Train, c.Dropout, c.Rank = "part", []string{"all"}, 0, config.Default().Rank
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			c.Model = synth.Temp(t, synth.Tiny("qwen3moe", gguf.F32))
			tt.change(&c)
			rec := &recorder{}
			s, err := Train(t.Context(), c, rec)
			if err != nil {
				t.Fatal(err)
			}
			if !(*s.EvalLossAfter < *s.EvalLossBefore) {
				t.Errorf("loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
			}
			notes := rec.notes()
			said := strings.Contains(notes, "all tokens meet") || strings.Contains(notes, "chooses among")
			if said != (tt.says != "") || !strings.Contains(notes, tt.says) {
				t.Errorf("notes are %q, want %q", notes, tt.says)
			}
			for _, l := range metrics(t, c.Output) {
				if x := l.Figures["expert_busiest_1"]; !(x >= 0.25 && x <= 0.5) { // 2 of 4 experts
					t.Errorf("step %d: the busiest expert has %g of the choices", l.Step, x)
				}
			}
			if !c.Whole() {
				return
			}
			const router = "blk.0.ffn_gate_inp.weight"
			was, is := tensorBytes(t, c.Model, router), tensorBytes(t, filepath.Join(c.Output, fileModel), router)
			if stays := was == is; stays != (name == "full") {
				t.Errorf("the router stays: %v", stays)
			}
		})
	}
}

func tensorBytes(t *testing.T, path, name string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := f.Data(x)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
