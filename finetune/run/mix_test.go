package run

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
)

// mixedConfig is tinyConfig with texts mixed in.
func mixedConfig(t *testing.T) config.Config {
	t.Helper()
	c := tinyConfig(t, gguf.F32)
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, `{"text": "it was a dark and stormy night, and %d owls sang"}`+"\n", i)
	}
	path := filepath.Join(t.TempDir(), "old.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	c.Mix = []string{path + ":0.5"}
	return c
}

// TestMixed: what is held out of data that is mixed in is measured before the run, in its course and after; the report
// has it, that of a full model for the file that was written; and a run that was stopped ends in the same bits.
func TestMixed(t *testing.T) {
	for name, change := range map[string]func(c *config.Config){
		"adapter": func(c *config.Config) {},
		"full": func(c *config.Config) {
			c.Tune, c.OutType, c.Rank, c.Dropout = "full", "q8_0", config.Default().Rank, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := mixedConfig(t)
			change(&c)
			rec := &recorder{}
			s, err := Train(t.Context(), c, rec)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Mixed) != 1 || s.Mixed[0].HeldExamples != 12 || math.Abs(s.Mixed[0].Got-0.5) > 0.05 {
				t.Fatalf("got %+v", s.Mixed)
			}
			m := s.Mixed[0]
			if m.LossBefore == nil || m.LossAfter == nil || !(*m.LossAfter < *m.LossBefore) ||
				m.BitsPerByteBefore == nil || !(*m.BitsPerByteAfter < *m.BitsPerByteBefore) {
				t.Errorf("got %+v", m)
			}
			if s.PerplexityAfter == nil || math.Abs(math.Log(*s.PerplexityAfter)-*s.EvalLossAfter) > 1e-9 ||
				s.BitsPerByteAfter != nil {
				t.Errorf("of answers: perplexity %v, bits per byte %v", s.PerplexityAfter, s.BitsPerByteAfter)
			}
			lines := metrics(t, c.Output)
			if got := lines[5].Figures["eval_mix_1_loss"]; name == "adapter" && got != *m.LossAfter ||
				math.Abs(got-*m.LossAfter) > 0.05 || lines[2].Figures["eval_mix_1_loss"] == 0 {
				t.Errorf("metrics.jsonl has %v, the report %v", got, *m.LossAfter)
			}
			start, err := report.ReadStart(filepath.Join(c.Output, fileStart))
			if err != nil || start.Before["eval_mix_1_loss"] != *m.LossBefore {
				t.Errorf("start.json has %v, %v", start.Before, err)
			}
			if name == "adapter" {
				resumed := c
				resumed.Output = filepath.Join(t.TempDir(), "run")
				stopAndResume(t, resumed, afterStep(2), nil)
				sameResult(t, resumed.Output, c.Output)
			}
		})
	}
}

// TestMixedChanged: a run does not go on with another share, or other examples.
func TestMixedChanged(t *testing.T) {
	c := mixedConfig(t)
	mustTrain(t, c)
	c.Resume = true
	path, _, _ := strings.Cut(c.Mix[0], ":0.5")
	c.Mix = []string{path + ":0.4"}
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil || !strings.Contains(err.Error(), "other rows") {
		t.Errorf("another share: got %v", err)
	}
}

// TestBitsPerByte: a run on whole texts reports bits per byte, whatever its method; one that compares answers neither
// them nor perplexity.
func TestBitsPerByte(t *testing.T) {
	for _, method := range []string{"sft", "cpt"} {
		c := mixedConfig(t)
		c.Data, c.Mix, c.Method = []string{strings.TrimSuffix(c.Mix[0], ":0.5")}, nil, method
		s := mustTrain(t, c)
		if s.BitsPerByteBefore == nil || s.BitsPerByteAfter == nil || !(*s.BitsPerByteAfter < *s.BitsPerByteBefore) {
			t.Fatalf("%s: bits per byte %v, %v", method, s.BitsPerByteBefore, s.BitsPerByteAfter)
		}
		last := metrics(t, c.Output)[5].Figures["eval_"+eval.BitsPerByte]
		if last != *s.BitsPerByteAfter {
			t.Errorf("%s: metrics.jsonl has %v, the report %v", method, last, *s.BitsPerByteAfter)
		}
	}
}
