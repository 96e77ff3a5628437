package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/setting"
	"github.com/ggtune/ggtune/internal/testdata"
)

// tinyData is a JSONL file of prompts and completions.
func tinyData(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt": "the number %d is", "completion": " %s"}`+"\n", i, []string{"even", "odd"}[i%2])
	}
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// tinyConfig trains a generated model for a few short steps.
func tinyConfig(t *testing.T, typ gguf.Type) config.Config {
	t.Helper()
	c := config.Default()
	c.Model = synth.Temp(t, synth.Tiny("llama", typ))
	c.Data = []string{tinyData(t, 40)}
	c.Output = filepath.Join(t.TempDir(), "run")
	c.SeqLen, c.Packing, c.Batch, c.Accum, c.Steps, c.Threads = 64, "sequential", 1, config.Fixed(2), 6, 1
	c.EvalSplit, c.EvalEvery, c.SaveEvery, c.Dropout, c.Rank, c.LR = config.Fixed(0.2), config.Fixed(3), 2, 0.1, 4,
		config.Fixed(5e-3)
	return c
}

// A recorder keeps events, and may act on them.
type recorder struct {
	events []report.Event
	on     func(report.Event)
}

func (r *recorder) Report(e report.Event) {
	r.events = append(r.events, e)
	if r.on != nil {
		r.on(e)
	}
}

func (r *recorder) notes() string {
	var out []string
	for _, e := range r.events {
		if n, ok := e.(report.Notice); ok {
			out = append(out, n.Text)
		}
	}
	return strings.Join(out, "\n")
}

func mustTrain(t *testing.T, c config.Config) report.Summary {
	t.Helper()
	s, err := Train(t.Context(), c, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readFile(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// metrics gives the lines of a run without what depends on the clock.
func metrics(t *testing.T, dir string) []report.Line {
	t.Helper()
	var out []report.Line
	for _, s := range strings.Split(strings.TrimSpace(readFile(t, dir, fileMetrics)), "\n") {
		var l report.Line
		if err := json.Unmarshal([]byte(s), &l); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		l.TokPerS, l.Peak = 0, 0
		for _, name := range []string{"rollout_tok_per_s", "rollout_seconds", "reward_seconds"} {
			delete(l.Figures, name)
		}
		out = append(out, l)
	}
	return out
}

// TestTrain runs a whole small run and looks at all it leaves.
func TestTrain(t *testing.T) {
	c := tinyConfig(t, gguf.Q8_0)
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fileConfig, fileMetrics, filePlot, fileReport, fileAdapter, dirCheckpoints} {
		if _, err := os.Stat(filepath.Join(c.Output, name)); err != nil {
			t.Error(err)
		}
	}
	var written report.Summary
	if err := json.Unmarshal([]byte(readFile(t, c.Output, fileReport)), &written); err != nil ||
		!reflect.DeepEqual(written, s) {
		t.Errorf("report.json: %v, got %+v, want %+v", err, written, s)
	}
	if s.Steps != 6 || s.AdapterSHA256 == nil || s.LlamaMaxDiff == nil || s.EvalLossAfter == nil ||
		!(*s.EvalLossAfter < *s.EvalLossBefore) {
		t.Errorf("got %+v", s)
	}
	lines := metrics(t, c.Output)
	if len(lines) != 6 || lines[2].EvalLoss == nil || lines[5].EvalLoss == nil || lines[0].EvalLoss != nil ||
		lines[5].LR >= lines[2].LR {
		t.Errorf("metrics: %+v", lines)
	}
	again := config.Default()
	if _, err := again.LoadTOML(filepath.Join(c.Output, fileConfig)); err != nil || again.Steps != 6 ||
		again.LR != c.LR || again.Dropout != 0.1 {
		t.Errorf("run.toml: %+v, %v", again, err)
	}
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "already holds a run") {
		t.Errorf("a second run into the same directory: got %v", err)
	}
}

// TestNothingWritten: a run that cannot begin leaves no directory.
func TestNothingWritten(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *config.Config)
		want   string
	}{
		"empty data":    {func(c *config.Config) { c.Data = []string{emptyFile(t)} }, "empty"},
		"no such model": {func(c *config.Config) { c.Model = filepath.Join(t.TempDir(), "no.gguf") }, "no.gguf"},
		"layer":         {func(c *config.Config) { c.Layers = "7" }, "outside the model's layers 0 to 1"},
		"target":        {func(c *config.Config) { c.Targets = []string{"atn_q"} }, "attn_q"},
		"memory": {func(c *config.Config) { c.Memory, c.Rank = 1, 1024 },
			"--memory is 1.0 MB; a smaller --rank"},
		"warm-up": {func(c *config.Config) {
			c.Steps, c.Epochs, c.Settings = 0, config.Fixed(1),
				setting.Values{"warmup": 16}
		}, "--warmup: 16 steps of warm-up, and the run has"},
		"last turn":   {func(c *config.Config) { c.Mask = "last" }, "--mask last: "},
		"refuse long": {func(c *config.Config) { c.SeqLen, c.OnLong = 8, "refuse" }, "longer than a row of 8"},
		"all too long": {func(c *config.Config) {
			c.SeqLen, c.OnLong, c.EvalSplit, c.EvalEvery = 4, "drop", config.Fixed(0.0), config.Fixed(0)
		},
			"none of"},
		"no biases": {func(c *config.Config) {
			c.Tune, c.Train, c.Dropout, c.Rank = "part", []string{"norms", "biases"}, 0, config.Default().Rank
		}, `--train: "biases" is the role of no tensor that this model has there; known: all, norms, token_embd, `},
		"embedding's rate without an embedding": {func(c *config.Config) {
			c.Tune, c.Train, c.EmbedLR = "part", []string{"norms"}, 1e-4
			c.Dropout, c.Rank = 0, config.Default().Rank
		}, "--embed-lr is given, and no embedding is trained"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			tc.change(&c)
			_, err := Train(t.Context(), c, report.Silent{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if _, err := os.Stat(c.Output); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the output directory was made: %v", err)
			}
		})
	}
}

func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "empty.jsonl")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// heldConfig evaluates on other examples of the same kind.
func heldConfig(c config.Config, t *testing.T) config.Config {
	c.Data = []string{tinyData(t, 10)}
	return c
}

// TestEvaluate: an adapter's own settings are taken, the base is told from another one, and the report's loss is found
// again.
func TestEvaluate(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	held := tinyData(t, 10)
	c.EvalSplit, c.EvalData, c.SeqLen = config.Fixed(0.0), []string{held}, 48
	s := mustTrain(t, c)
	e := config.Default()
	e.Model, e.Data, e.Threads = c.Model, []string{held}, 1
	adapter := filepath.Join(c.Output, fileAdapter)
	base, err := Evaluate(t.Context(), e, "", nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := Evaluate(t.Context(), e, adapter, nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	// Rows are packed otherwise than in training; sums in another order.
	const tol = 1e-4
	if d := base.Loss - *s.EvalLossBefore; d > tol || d < -tol {
		t.Errorf("base: got %v, the report says %v", base.Loss, *s.EvalLossBefore)
	}
	if d := tuned.Loss - *s.EvalLossAfter; d > tol || d < -tol {
		t.Errorf("with the adapter: got %v, the report says %v", tuned.Loss, *s.EvalLossAfter)
	}
	var keys map[string]any
	if b, err := json.Marshal(tuned); err != nil || json.Unmarshal(b, &keys) != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"loss", "perplexity", "tokens", "counted_tokens"} {
		if keys[k] == nil {
			t.Errorf("eval --json lacks %q: %v", k, keys)
		}
	}
	other := synth.Tiny("llama", gguf.F32)
	other.Seed = 5
	e.Model = synth.Temp(t, other)
	rec := &recorder{}
	if _, err := Evaluate(t.Context(), e, adapter, nil, rec); err != nil ||
		!strings.Contains(rec.notes(), "another base") {
		t.Errorf("another base: notes %q, %v", rec.notes(), err)
	}
}

// TestFull trains every tensor of an F16 model.
func TestFull(t *testing.T) {
	c := tinyConfig(t, gguf.F16)
	c.Full, c.Dropout, c.Rank, c.LR = true, 0, config.Default().Rank, config.Fixed(1e-3)
	s := mustTrain(t, c)
	if s.ModelSHA256 == nil || s.AdapterSHA256 != nil || s.Result != filepath.Join(c.Output, fileModel) ||
		!(*s.EvalLossAfter < *s.EvalLossBefore) {
		t.Errorf("got %+v", s)
	}
	e := heldConfig(c, t)
	e.Model = s.Result
	if _, err := Evaluate(t.Context(), e, "", nil, report.Silent{}); err != nil {
		t.Error(err)
	}
}

// TestFullIsMeasuredAsWritten: the report's loss of a model trained in bf16 is that of the file, not of the numbers
// before they were rounded to it; the run's own evaluation of its last step is of those.
func TestFullIsMeasuredAsWritten(t *testing.T) {
	c := tinyConfig(t, gguf.BF16)
	c.Full, c.Exact, c.Dropout, c.Rank, c.LR = true, true, 0, config.Default().Rank, config.Fixed(3e-3)
	c.EvalSplit, c.EvalData = config.Fixed(0.0), []string{tinyData(t, 10)}
	s := mustTrain(t, c)
	e := c
	e.Model, e.Data = s.Result, c.EvalData
	got, err := Evaluate(t.Context(), e, "", nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	lines := metrics(t, c.Output)
	before := *lines[len(lines)-1].EvalLoss
	if off, rounding := math.Abs(got.Loss-*s.EvalLossAfter), math.Abs(got.Loss-before); !(off <= 1e-6) ||
		!(rounding > 10*off && rounding > 1e-5) {
		t.Errorf("loss of the file %.9g, the report's %.9g, before rounding %.9g", got.Loss, *s.EvalLossAfter, before)
	}
}

// TestTrainReal lowers the held-out loss of a real model on real stories.
func TestTrainReal(t *testing.T) {
	c := config.Default()
	c.Model = testdata.Path(t, "models", "stories260K", "stories260K-q8_0.gguf")
	c.Data = []string{testdata.Path(t, "text", "tinystories.jsonl")}
	c.Output = filepath.Join(t.TempDir(), "run")
	c.EvalSplit, c.SeqLen, c.EvalRows, c.Steps, c.LR, c.Threads = config.Fixed(0.2), 128, 8, 8, config.Fixed(2e-3), 1
	s := mustTrain(t, c)
	// Measured: 1.90 to 1.72 nats.
	t.Logf("held out: %g, then %g", *s.EvalLossBefore, *s.EvalLossAfter)
	if before, after := *s.EvalLossBefore, *s.EvalLossAfter; !(after < before-0.02) {
		t.Errorf("held-out loss: %g before, %g after", before, after)
	}
}

// TestAdapterSaysHowDataIsRead: eval reads data as the adapter's run did, unless the user says otherwise.
func TestAdapterSaysHowDataIsRead(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.DropReasoning, c.OnLong, c.Columns, c.TextSplit, c.TaskExamples, c.TaskChat = true, "drop",
		[]string{"prompt=ask", "completion=say"}, "line", 0, true
	c.Steps, c.EvalSplit = 2, config.Fixed(0.0)
	renamed := func(n int) []string {
		path := filepath.Join(t.TempDir(), "renamed.jsonl")
		text := strings.NewReplacer(`"prompt"`, `"ask"`, `"completion"`, `"say"`).Replace(readFile(t, tinyData(t, n)))
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return []string{path}
	}
	c.Data, c.EvalData = renamed(40), renamed(10)
	s := mustTrain(t, c)
	e := config.Default()
	e.Model, e.Data, e.Threads = c.Model, c.EvalData, 1
	rec := &recorder{}
	got, err := Evaluate(t.Context(), e, s.Result, nil, rec)
	if err != nil || math.Abs(got.Loss-*s.EvalLossAfter) > 1e-4 ||
		!strings.Contains(rec.notes(), "--columns prompt=ask") {
		t.Errorf("got %+v, %v, notes %q; want loss %g", got, err, rec.notes(), *s.EvalLossAfter)
	}
}
