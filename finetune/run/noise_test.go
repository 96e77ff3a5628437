package run

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestNoisyRun: noise on the embeddings changes what is learned, and a run that was stopped within a step meets the
// same.
func TestNoisyRun(t *testing.T) {
	plain := tinyConfig(t, gguf.F32)
	mustTrain(t, plain)
	c := plain
	c.NEFTuneAlpha, c.Output = 5, filepath.Join(t.TempDir(), "straight")
	mustTrain(t, c)
	if readFile(t, c.Output, fileAdapter) == readFile(t, plain.Output, fileAdapter) {
		t.Error("the noise changes nothing")
	}
	resumed := c
	resumed.Output = filepath.Join(t.TempDir(), "run")
	stopAndResume(t, resumed, func(e report.Event) bool {
		p, ok := e.(report.Progress)
		return ok && p.What == "train" && p.Done == 1
	}, nil)
	sameResult(t, resumed.Output, c.Output)
}

// TestDFT: what is held out is measured by cross-entropy, which falls, whatever becomes of the loss that is trained by;
// of trained rows there are both.
func TestDFT(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	plain := c
	plain.Steps, plain.Output = 1, filepath.Join(t.TempDir(), "plain")
	want := mustTrain(t, plain)
	c.Method = "dft"
	s := mustTrain(t, c)
	first := metrics(t, c.Output)[0]
	if *s.EvalLossBefore != *want.EvalLossBefore || !(*s.EvalLossAfter < *s.EvalLossBefore) ||
		math.Abs(math.Log(*s.PerplexityAfter)-*s.EvalLossAfter) > 1e-9 {
		t.Errorf("held out: %v, then %v; want cross-entropy, from %v", *s.EvalLossBefore, *s.EvalLossAfter,
			*want.EvalLossBefore)
	}
	if nll := metrics(t, plain.Output)[0].Loss; math.Abs(first.Figures["nll"]-nll) > 1e-9*nll || first.Loss >= nll {
		t.Errorf("the first step's nll is %v, its loss %v; that of sft is %v", first.Figures["nll"], first.Loss, nll)
	}
}
