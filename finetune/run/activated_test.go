package run

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestEVA: A starts as directions that are at right angles, the same for matrices with one input; the model begins as
// the base is, learns, and goes on after a stop as if there had been none, without looking at inputs again.
func TestEVA(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Init, c.Dropout = adapter.EVA, 0
	still := c
	still.LR, still.Steps, still.Output = config.Fixed(1e-12), 1, filepath.Join(t.TempDir(), "still")
	rec := &recorder{}
	s, err := Train(t.Context(), still, rec)
	if err != nil {
		t.Fatal(err)
	}
	if before, after := *s.EvalLossBefore, *s.EvalLossAfter; math.Abs(after-before) > 1e-6 {
		t.Errorf("it begins with loss %g, the base's is %g", after, before)
	}
	if !strings.Contains(rec.notes(), "--init eva: A starts as the directions") {
		t.Errorf("notes %q do not say how A starts", rec.notes())
	}
	a, _ := resultOf(t, &still)
	byTensor := map[string]*adapter.Pair{}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		byTensor[p.Tensor] = p
		n := int(p.AShape[0])
		for j := range int(p.Rank) {
			for k := range j + 1 {
				dot := 0.0
				for x := range n {
					dot += float64(p.A[j*n+x]) * float64(p.A[k*n+x])
				}
				if want := map[bool]float64{true: 1}[j == k]; math.Abs(dot-want) > 1e-4 {
					t.Errorf("%s: rows %d and %d of A have the product %g, want %g", p.Tensor, j, k, dot, want)
				}
			}
		}
	}
	q, k, o := byTensor["blk.0.attn_q.weight"], byTensor["blk.0.attn_k.weight"], byTensor["blk.0.attn_output.weight"]
	same := func(a, b *adapter.Pair) (far float64) {
		for i, x := range a.A {
			far = max(far, math.Abs(float64(x-b.A[i])))
		}
		return far
	}
	if far := same(q, k); far > 1e-6 { // the first update moved them by the learning rate
		t.Errorf("attn_q and attn_k, of one input, start %g apart", far)
	}
	if far := same(q, o); far < 1e-2 {
		t.Errorf("attn_q and attn_output, of different inputs, start %g apart", far)
	}
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	if s = mustTrain(t, straight); !(*s.EvalLossAfter < *s.EvalLossBefore) {
		t.Errorf("loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
	}
	interrupt(t, c, 3)
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), *resumed, &recorder{on: func(e report.Event) {
		if p, ok := e.(report.Progress); ok && p.What == "init" {
			t.Error("inputs are looked at again")
		}
	}}); err != nil {
		t.Fatal(err)
	}
	sameResult(t, c.Output, straight.Output)
}

// TestEVANeedsTokens: rows that hold fewer counted tokens than the rank give no start, and nothing is left behind.
func TestEVANeedsTokens(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Init, c.Rank, c.Packing = adapter.EVA, 48, "none"
	_, err := Train(t.Context(), c, report.Silent{})
	if err == nil || !strings.Contains(err.Error(), "as many as the rank") {
		t.Errorf("got error %v, want one that says how many tokens are needed", err)
	}
	if _, err := os.Stat(filepath.Join(c.Output, checkpoint.AdapterFile)); err == nil {
		t.Error("an adapter is left")
	}
}
