package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/encode"
)

func lineOf(step int) Line {
	return Line{Step: step, Epoch: 0.5, Loss: 3 / float64(step), LR: 1e-4, GradNorm: 2, Tokens: 100, Counted: 60,
		TokPerS: 12.5,
		Peak:    1e7}
}

func TestLineRoundTrip(t *testing.T) {
	eval := 1.25
	l := lineOf(3)
	l.EvalLoss, l.Figures = &eval, map[string]float64{"accuracy": 0.75, "eval_accuracy": 0.5}
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var got Line
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("got %+v, %v from %s, want %+v", got, err, b, l)
	}
	for _, key := range []string{"step", "epoch", "loss", "lr", "grad_norm", "tokens", "counted_tokens", "tok_per_s",
		"peak_bytes", "accuracy", "eval_loss"} {
		if !strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("%s lacks %q", b, key)
		}
	}
	l.GradNorm = math.Inf(1)
	if b, err = json.Marshal(l); err != nil || !strings.Contains(string(b), `"grad_norm":null`) {
		t.Errorf("got %s, %v, want null for what is no number", b, err)
	}
}

// TestLogOverResumes: lines behind the checkpoint's step, and one cut short, are written again, none twice.
func TestLogOverResumes(t *testing.T) {
	for name, tail := range map[string]string{"clean": "", "cut short": `{"step":6,"lo`, "spoilt": "\x00\x00\n",
		"out of order": `{"step":9}` + "\n"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.jsonl")
			l, err := OpenLog(path, 0)
			if err != nil {
				t.Fatal(err)
			}
			for step := 1; step <= 5; step++ {
				if err := l.Append(lineOf(step)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(l.Sync(), l.Close(), l.Close()); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(tail)
			f.Close()
			for _, at := range []int{5, 3} {
				if l, err = OpenLog(path, at); err != nil || len(l.Lines()) != at {
					t.Fatalf("at step %d: %d lines, %v", at, len(l.Lines()), err)
				}
				l.Close()
			}
			if l, err = OpenLog(path, 3); err != nil {
				t.Fatal(err)
			}
			if err := l.Append(lineOf(4)); err != nil {
				t.Fatal(err)
			}
			l.Close()
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
			for i, line := range got {
				var l Line
				if err := json.Unmarshal([]byte(line), &l); err != nil || !reflect.DeepEqual(l, lineOf(i+1)) {
					t.Errorf("line %d: %s, %v", i+1, line, err)
				}
			}
			if len(got) != 4 {
				t.Errorf("got %d lines, want 4", len(got))
			}
		})
	}
}

// TestLogAmend: an evaluation is added to the last line, and lines go on behind it.
func TestLogAmend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	l, err := OpenLog(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eval := 0.5
	amend := func() error { return l.Amend(func(line *Line) { line.EvalLoss = &eval }) }
	if err := errors.Join(amend(), l.Append(lineOf(1)), l.Append(lineOf(2)), amend(), l.Append(lineOf(3))); err != nil {
		t.Fatal(err)
	}
	again, err := OpenLog(path, 9)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	want := []Line{lineOf(1), lineOf(2), lineOf(3)}
	want[1].EvalLoss = &eval
	if !reflect.DeepEqual(again.Lines(), want) || !reflect.DeepEqual(l.Lines(), want) {
		t.Errorf("got %+v and %+v, want %+v", again.Lines(), l.Lines(), want)
	}
}

// events is a short run.
func events() []Event {
	first, last, tps, peak := 3.0, 1.0, 50.0, int64(12e6)
	held := encode.Counts{Examples: 2, Rows: 1, Tokens: 20, Counted: 10}
	return []Event{
		Started{Model: "m.gguf", Arch: "llama", Types: "q8_0 43", Method: "sft", Template: "built into m.gguf",
			Steps: 2, Threads: 2, Trained: 1000, Memory: 5e6,
			Chosen: []string{"--lr 5e-05: a reason", "--accum 1: another"},
			Train: encode.Counts{Examples: 10, DroppedLong: 1, DroppedCut: 2, Truncated: 3, Items: 7, Rows: 4,
				Tokens: 200, Counted: 150}, Held: &held},
		Notice{"something"},
		Progress{"train", 1, 2},
		Step{Line: lineOf(1), Steps: 2},
		Progress{"evaluate", 1, 1},
		Evaluated{Step: 1, Loss: 1.5, Perplexity: 4.48, Best: true},
		Saved{"checkpoint", "run/checkpoints/step-00000001", 1},
		Step{Line: lineOf(2), Steps: 2},
		Done{Summary{Steps: 2, Tokens: 200, Counted: 120, FirstTenth: &first, LastTenth: &last, TenthSteps: 1,
			EvalLossBefore: &first, EvalLossAfter: &last,
			LlamaMaxDiff: &first, LlamaBaseDiff: &last, LlamaRMSDiff: &last, LlamaBaseRMSDiff: &last, Seconds: 75,
			TokPerS: &tps, PeakBytes: &peak, Result: "run/adapter.gguf", ResultStep: 2}},
	}
}

func TestTerminal(t *testing.T) {
	var plain, tty bytes.Buffer
	for _, e := range events() {
		Several{NewTerminal(io.Discard, Screen{}), Silent{}}.Report(e)
	}
	a, b := NewTerminal(&plain, Screen{}), NewTerminal(&tty, wide(120))
	for _, e := range events() {
		a.Report(e)
		b.Report(e)
	}
	for _, want := range []string{"examples read                                        10            2\n",
		"no answer left after truncation              2            0\n",
		"counted tokens                                      150           10\n", "note: something\n",
		"steps     2\nchosen    --lr 5e-05: a reason\n          --accum 1: another\n\n",
		"step 1/2: loss 3.0000, 0 s left, 12 tok/s, 10.0 MB", "held-out loss 1.5000, perplexity 4.480, the lowest yet",
		"checkpoint: run/", "2 steps, 200 tokens (120 counted) in 1 min 15 s, 50 tok/s, peak memory 12.0 " +
			"MB\nheld-out loss 3.0000 before, 1.0000 after\n" +
			"training loss 3.0000 -> 1.0000 (the first and the last step)\nllama.cpp loads it and computes the same: " +
			"logits differ by 1 (root mean square; 3 at most),\n" +
			"  those of the base before training by 1 (1): llama.cpp rounds activations, to 8 bits where weights are " +
			"quantized, and that makes this difference\n" +
			"written: run/adapter.gguf (step 2)\n"} {
		if !strings.Contains(plain.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", plain.String(), want)
		}
	}
	if strings.ContainsAny(plain.String(), "\r\x1b") {
		t.Error("control characters where there is no terminal")
	}
	if !strings.Contains(tty.String(), "micro-batch 1/2") {
		t.Errorf("a step under way does not show: %q", tty.String())
	}
	if !strings.Contains(tty.String(), "\r") || !strings.Contains(tty.String(), "loss 3.0000") {
		t.Errorf("no bar on a terminal: %q", tty.String())
	}
}

// TestBarAgain: a second pass of one kind has a bar of its own, with its own total.
func TestBarAgain(t *testing.T) {
	var tty bytes.Buffer
	term := NewTerminal(&tty, wide(80))
	term.Report(Progress{What: "read", Done: 8, Total: 8})
	term.Report(Progress{What: "read", Done: 256, Total: 1000})
	if !strings.Contains(tty.String(), "/1000)") {
		t.Errorf("the second pass does not show: %q", tty.String())
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	j := NewJSON(&b)
	for _, e := range events() {
		j.Report(e)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 4 || j.Err() != nil || lines[1] != `{"eval_loss":1.5,"eval_perplexity":4.48,"step":1}` {
		t.Fatalf("got %d lines, %v, want 2 steps, an evaluation and the summary:\n%s", len(lines), j.Err(), b.String())
	}
	var summary map[string]any
	if err := json.Unmarshal([]byte(lines[3]), &summary); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"base_sha256", "adapter_sha256", "steps", "tokens", "counted_tokens", "first_loss",
		"last_loss", "eval_loss_before",
		"eval_loss_after", "seconds", "tok_per_s", "peak_bytes", "llama_cpp_max_diff"} {
		if _, ok := summary[key]; !ok {
			t.Errorf("summary lacks %q", key)
		}
	}
	if summary["best_step"] != nil {
		t.Errorf("best_step: got %v, want null", summary["best_step"])
	}
	bad := NewJSON(brokenPipe{})
	for _, e := range events() {
		bad.Report(e)
	}
	if !errors.Is(bad.Err(), io.ErrClosedPipe) {
		t.Errorf("got %v", bad.Err())
	}
}

func TestPeakBytes(t *testing.T) {
	// Any Go test binary takes more than a megabyte; a unit mistaken by 1024 would show.
	if n := PeakBytes(); n != 0 && (n < 1<<20 || n > 1<<40) {
		t.Errorf("got %d bytes", n)
	}
}

func TestWriteSummary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	if err := WriteSummary(path, Summary{Steps: 3}); err != nil {
		t.Fatal(err)
	}
	var s Summary
	if raw, err := os.ReadFile(path); err != nil || json.Unmarshal(raw, &s) != nil || s.Steps != 3 {
		t.Errorf("got %s, %v", raw, err)
	}
}
