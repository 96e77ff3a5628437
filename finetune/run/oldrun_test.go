package run

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/report"
)

// levelNoise is how far the result may lie from that of the machine that wrote it: a tensor's numbers relative to its
// largest, a figure relative to itself where it is above 1. Measured between portable and AVX-512, in exact mode:
// 2.8e-6 and 5.1e-7.
const levelNoise = 3e-5

// TestResumeOldRun: a run that ggtune began in its first version, stopped with the gradients of a step half summed,
// ends where that version's own straight run did, at every instruction-set level of this CPU.
//
// testdata/run-v1 holds it as it was left, and of the straight run the adapter and metrics.jsonl; both were made with
//
//	ggtune train -m model.gguf -d pairs.jsonl --method dpo --rpo-alpha 0.5 --exact --rank 1 --alpha 2 \
//	  --targets attn_q,ffn_down --layers 1 --dropout 0.1 --lr 0.01 --weight-decay 0.1 --seq-len 64 --packing none \
//	  --accum 6 --steps 4 --save-every 0 --keep 1 --eval-split 0.25 --eval-every 3 --threads 1 --seed 5
//
// where model.gguf is synth.Tiny("llama", gguf.Q8_0).
func TestResumeOldRun(t *testing.T) {
	const old = "testdata/run-v1"
	f, id, _, err := (&checkpoint.Store{Dir: filepath.Join(old, "run", dirCheckpoints)}).Latest()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if id.Step == 0 || id.Micros == 0 {
		t.Fatalf("the checkpoint is %s; expected one within a step that is not the first", id)
	}
	model := synth.Temp(t, synth.Tiny("llama", gguf.Q8_0))
	defer func(was kernels.Level) {
		if err := kernels.SetLevel(was); err != nil {
			t.Error(err)
		}
	}(kernels.CurrentLevel())
	for _, l := range kernels.Levels() {
		t.Run(l.String(), func(t *testing.T) {
			if err := kernels.SetLevel(l); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "run")
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(old, "run"))); err != nil {
				t.Fatal(err)
			}
			c, err := ResumeConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			c.Model, c.Data = model, []string{filepath.Join(old, "pairs.jsonl")}
			mustTrain(t, *c)
			nearTensors(t, filepath.Join(dir, fileAdapter), filepath.Join(old, "straight", fileAdapter))
			nearMetrics(t, metrics(t, dir), metrics(t, filepath.Join(old, "straight")))
		})
	}
}

// nearTensors wants two adapters of the same tensors, with the same numbers but for levelNoise.
func nearTensors(t *testing.T, got, want string) {
	t.Helper()
	g, err := gguf.Open(got)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	w, err := gguf.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if len(g.Tensors) != len(w.Tensors) {
		t.Fatalf("%d tensors, want %d", len(g.Tensors), len(w.Tensors))
	}
	for i := range w.Tensors {
		name := w.Tensors[i].Name
		x, y := floats(t, g, name), floats(t, w, name)
		if len(x) != len(y) {
			t.Fatalf("%s has %d numbers, want %d", name, len(x), len(y))
		}
		largest, diff := 0.0, 0.0
		for i := range y {
			largest, diff = max(largest, math.Abs(y[i])), max(diff, math.Abs(x[i]-y[i]))
		}
		if !(diff <= levelNoise*largest) {
			t.Errorf("%s differs by %.2g of its largest number, want at most %g", name, diff/largest, levelNoise)
		}
	}
}

func floats(t *testing.T, f *gguf.File, name string) []float64 {
	t.Helper()
	info, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.Data(info)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(raw)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
	}
	return out
}

// nearMetrics wants the same steps, with the same figures but for levelNoise.
func nearMetrics(t *testing.T, got, want []report.Line) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d steps, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		figures := map[string][2]float64{
			"epoch": {g.Epoch, w.Epoch}, "loss": {g.Loss, w.Loss}, "lr": {g.LR, w.LR},
			"grad_norm":      {g.GradNorm, w.GradNorm},
			"tokens":         {float64(g.Tokens), float64(w.Tokens)},
			"counted_tokens": {float64(g.Counted), float64(w.Counted)},
		}
		if (g.EvalLoss == nil) != (w.EvalLoss == nil) {
			t.Errorf("step %d: held-out loss %v, want %v", w.Step, g.EvalLoss, w.EvalLoss)
		} else if w.EvalLoss != nil {
			figures["eval_loss"] = [2]float64{*g.EvalLoss, *w.EvalLoss}
		}
		for k, v := range w.Figures {
			figures[k] = [2]float64{g.Figures[k], v}
		}
		for k, v := range figures {
			if !(math.Abs(v[0]-v[1]) <= levelNoise*max(1, math.Abs(v[1]))) {
				t.Errorf("step %d: %s is %v, want %v", w.Step, k, v[0], v[1])
			}
		}
	}
}
