package run

import (
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// TestMergeable: what --mergeable trains is the same over each block to the last step, through dropout, clipping and a
// stop within a step; it learns, and what began without it goes on without.
func TestMergeable(t *testing.T) {
	c := tinyConfig(t, gguf.Q4_1)
	c.Mergeable, c.Dropout = true, 0.1
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	s := mustTrain(t, straight)
	if !(*s.EvalLossAfter < *s.EvalLossBefore) {
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
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.Load(filepath.Join(c.Output, checkpoint.AdapterFile), m.Net())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Tie(quant.MinimumBlock); err != nil {
		t.Error(err)
	}
	// It goes on from what it wrote.
	again := c
	std := config.Default()
	again.Rank, again.Alpha, again.Targets = std.Rank, std.Alpha, std.Targets // the file has its own
	again.InitAdapter = filepath.Join(c.Output, checkpoint.AdapterFile)
	again.Output, again.Steps = filepath.Join(t.TempDir(), "again"), 2
	mustTrain(t, again)
}
