package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/report"
)

// sampledConfig is tinyConfig with answers after every second step, however long they take.
func sampledConfig(t *testing.T) config.Config {
	t.Helper()
	c := tinyConfig(t, gguf.F32)
	c.SampleEvery, c.SampleTokens, c.SampleShare = config.Fixed(2), 8, 1
	return c
}

// samples reads a run's samples.jsonl.
func samples(t *testing.T, dir string) (out []report.Sample) {
	t.Helper()
	for line := range strings.Lines(readFile(t, dir, fileSamples)) {
		var s report.Sample
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, s)
	}
	return out
}

// places lists the steps and prompts of samples, in order.
func places(list []report.Sample) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%d:%d ", s.Step, s.Index)
	}
	return strings.TrimSpace(b.String())
}

// allPlaces are those of a run of 6 steps with answers to 4 prompts after every second.
const allPlaces = "2:0 2:1 2:2 2:3 4:0 4:1 4:2 4:3 6:0 6:1 6:2 6:3"

// equalRuns wants the same adapters, to the bit. Where settings may differ only tensors are compared.
func equalTensors(t *testing.T, a, b string) {
	t.Helper()
	read := func(dir string) map[string][]byte {
		f, err := gguf.Open(filepath.Join(dir, fileAdapter))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out := map[string][]byte{}
		for i := range f.Tensors {
			data, err := f.Data(&f.Tensors[i])
			if err != nil {
				t.Fatal(err)
			}
			out[f.Tensors[i].Name] = bytes.Clone(data)
		}
		return out
	}
	x, y := read(a), read(b)
	if len(x) == 0 || len(x) != len(y) {
		t.Fatalf("%d and %d tensors", len(x), len(y))
	}
	for name := range x {
		if !bytes.Equal(x[name], y[name]) {
			t.Errorf("tensor %s differs", name)
		}
	}
}

// TestSamples: the answers of base and adapter are those that generate writes with the run's files, every prompt after
// every second step; and the training is the same, to the bit, as without.
func TestSamples(t *testing.T) {
	c := sampledConfig(t)
	c.SaveEvery, c.Keep = 2, 5
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	got := samples(t, c.Output)
	if p := places(got); p != allPlaces {
		t.Fatalf("got %s, want %s", p, allPlaces)
	}
	var told []report.Sample
	for _, e := range rec.events {
		if s, ok := e.(report.Sampled); ok {
			told = append(told, s.Sample)
		}
	}
	if places(told) != allPlaces {
		t.Errorf("told of %s, want %s", places(told), allPlaces)
	}
	for _, step := range []int{2, 4, 6} {
		dir := filepath.Join(c.Output, dirCheckpoints, fmt.Sprintf("step-%08d", step))
		base := answers(t, c, "", got[:4])
		tuned := answers(t, c, dir, got[:4])
		for _, s := range got {
			if s.Step == step && (s.Base != base[s.Index] || s.Tuned != tuned[s.Index]) {
				t.Errorf("step %d, prompt %d: base %q and tuned %q, want %q and %q", step, s.Index, s.Base, s.Tuned,
					base[s.Index], tuned[s.Index])
			}
		}
	}
	if got[0].Tuned == got[8].Tuned && got[1].Tuned == got[9].Tuned {
		t.Error("after more steps the answers are the same: the test proves nothing")
	}
	for _, s := range got {
		if s.Expected == nil || s.Source == nil || !strings.HasPrefix(s.Prompt, "the number") || s.MaxTokens != 8 ||
			s.BaseEnd == "" || s.TunedEnd == "" || s.Seconds <= 0 {
			t.Errorf("got %+v", s)
		}
	}
	without := c
	without.Output, without.SampleEvery = filepath.Join(t.TempDir(), "run"), config.Fixed(0)
	mustTrain(t, without)
	equalTensors(t, c.Output, without.Output)
	if _, err := os.Stat(filepath.Join(without.Output, fileSamples)); err == nil {
		t.Error("a run without answers has a file of them")
	}
}

// answers writes answers to the prompts of samples with an adapter's file, as generate does.
func answers(t *testing.T, c config.Config, dir string, to []report.Sample) (out []string) {
	t.Helper()
	cfg := generate.Config{Model: c.Model, Ctx: 64, Threads: 1}
	if dir != "" {
		cfg.Adapters = []generate.Adapter{{Path: dir, Scale: 1}}
	}
	g, err := generate.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, s := range to {
		tokens, err := g.Raw(s.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		r, err := g.Continue(t.Context(), tokens, c.SampleTokens, llama.Greedy(), nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.Text)
	}
	return out
}

// TestOverwrittenLogits: an adapter that llama.cpp holds is overwritten with what a step of training made of it; then
// its logits have changed, and are those of the file that the run saved, loaded anew, to the bit.
func TestOverwrittenLogits(t *testing.T) {
	c := tinyConfig(t, gguf.Q8_0)
	c.Steps, c.SaveEvery, c.SampleEvery, c.LR = 1, 1, config.Fixed(0), config.Fixed(0.05)
	r := begun(t, c, func(*run) {})
	m, err := verify.OpenModel(c.Model, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tokens := []int32{1, 20, 30, 40, 50, 60}
	logits := func(x *llama.Context) []float32 {
		t.Helper()
		out, err := x.Logits(t.Context(), tokens, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	load := func(path string) *llama.Context {
		t.Helper()
		a, err := verify.LoadAdapter(m, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		x, err := m.NewContext(llama.VerifyContextOptions(64, 1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		if err := x.SetAdapters([]*llama.Adapter{a}, []float32{1}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	start := filepath.Join(t.TempDir(), "start.gguf")
	if err := r.saveAdapter(t.Context(), start, ""); err != nil {
		t.Fatal(err)
	}
	live := load(start)
	before := logits(live)
	if err := r.train(t.Context()); err != nil {
		t.Fatal(err)
	}
	set, err := r.sess.Set("")
	if err != nil {
		t.Fatal(err)
	}
	var halves []llama.Tensor
	set.Adapter.(*adapter.Adapter).Halves(func(name string, values []float32) {
		halves = append(halves, llama.Tensor{Name: name, Values: values})
	})
	if err := live.Overwrite(t.Context(), halves); err != nil {
		t.Fatal(err)
	}
	after := logits(live)
	want := logits(load(filepath.Join(r.store.Path(r.saved), fileAdapter)))
	changed, differ := 0, 0
	for i := range want {
		if after[i] != before[i] {
			changed++
		}
		if after[i] != want[i] {
			differ++
		}
	}
	if changed < len(want)/2 || differ > 0 {
		t.Errorf("of %d logits %d changed, want most; %d differ from those of the saved file, want none", len(want),
			changed, differ)
	}
}

// TestSamplesResume: a run that is stopped within an answer, or after a step, ends at once, and goes on to the same
// samples and the same adapter as one that was not.
func TestSamplesResume(t *testing.T) {
	straight := sampledConfig(t)
	mustTrain(t, straight)
	want := samples(t, straight.Output)
	within := 0
	for name, at := range map[string]func(e report.Event) bool{
		"within an answer": func(e report.Event) bool {
			p, ok := e.(report.Progress)
			if ok && p.What == "sample" {
				within++
			}
			return ok && within == 20
		},
		"between answers": func(e report.Event) bool {
			s, ok := e.(report.Sampled)
			return ok && s.Step == 4 && s.Index == 1
		},
		"after a step": func(e report.Event) bool {
			s, ok := e.(report.Step)
			return ok && s.Step == 5
		},
		"within the last answers": func(e report.Event) bool {
			s, ok := e.(report.Sampled)
			return ok && s.Step == 6 && s.Index == 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := straight
			c.Output = filepath.Join(t.TempDir(), "run")
			stopAndResume(t, c, at, nil)
			got := samples(t, c.Output)
			if places(got) != allPlaces {
				t.Errorf("got %s, want %s", places(got), allPlaces)
			}
			for i := range min(len(got), len(want)) {
				if got[i].Base != want[i].Base || got[i].Tuned != want[i].Tuned {
					t.Errorf("step %d, prompt %d: got %q and %q, want %q and %q", got[i].Step, got[i].Index,
						got[i].Base,
						got[i].Tuned, want[i].Base, want[i].Tuned)
				}
			}
			equalTensors(t, c.Output, straight.Output)
		})
	}
}

// TestSamplesStopAtOnce: a stop within an answer does not wait for its end.
func TestSamplesStopAtOnce(t *testing.T) {
	c := sampledConfig(t)
	c.SampleTokens = 200
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	after := 0
	_, err := Train(ctx, c, &recorder{on: func(e report.Event) {
		if p, ok := e.(report.Progress); ok && p.What == "sample" {
			if ctx.Err() != nil {
				after++
			}
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) || after > 1 {
		t.Errorf("got %v and %d tokens after the stop, want the cause and at most one", err, after)
	}
	if _, err := os.Stat(filepath.Join(c.Output, fileAdapter)); err != nil {
		t.Errorf("the adapter of the stopped run: %v", err)
	}
}

// TestSampleShare: where the share is too small no answer is written, it is said once, and the training goes on.
func TestSampleShare(t *testing.T) {
	c := sampledConfig(t)
	c.SampleShare = 1e-9
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(rec.notes(), "some are left out"); n != 1 {
		t.Errorf("said %d times, want once: %s", n, rec.notes())
	}
	if _, err := os.Stat(filepath.Join(c.Output, fileSamples)); err == nil {
		t.Errorf("got %s, want no answers", places(samples(t, c.Output)))
	}
}

// TestShorterSamples: where there is not the time for answers as long as was asked for they are cut off sooner, which
// is said once and stands in the file; where there is not the time for all, each prompt has its turn.
func TestShorterSamples(t *testing.T) {
	c := sampledConfig(t)
	c.SampleTokens = 96
	r := begun(t, c, func(*run) {})
	rec := &recorder{}
	r.rep = rec
	if err := r.sample(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	r.cfg.SampleShare = 0.5
	n := 0
	for step := 3; n == 0 && step < 50; step++ { // the more often the busier the machine is, which delays answers
		all := 0.0 // seconds of answers of 96 tokens; base's answers of 48, not known yet, cost as much again
		for i := range r.sampler.Len() {
			all += r.sampler.Cost(i)
		}
		if r.meta.Seconds, r.meta.SampleSeconds = 0.8*all, 0; all == 0 {
			r.meta.Seconds = float64(step) // one was slow, and the speed is measured anew
		}
		if err := r.sample(t.Context(), step); err != nil {
			t.Fatal(err)
		}
		for _, s := range samples(t, c.Output) {
			if s.TunedTokens > s.MaxTokens || s.BaseTokens > s.MaxTokens || s.MaxTokens < 16 {
				t.Errorf("got %+v", s)
			}
			if s.MaxTokens < 96 {
				n++
			}
		}
	}
	if said := strings.Count(rec.notes(), "not enough yet for answers of 96 tokens: they are cut off after"); n == 0 ||
		said != 1 {
		t.Errorf("%d shorter answers; said %d times, want once: %s", n, said, rec.notes())
	}
	inputs := []string{r.sampler.Input(0), r.sampler.Input(1), r.sampler.Input(2), r.sampler.Input(3)}
	for i, s := range []report.Sample{{Step: 58, Input: inputs[1]}, {Step: 59, Input: inputs[0]},
		{Step: 60, Input: inputs[3]}, {Step: 60, Input: inputs[2]}} {
		if err := r.answered.Append(s); err != nil {
			t.Fatal(i, err)
		}
	}
	for _, tc := range []struct {
		step int
		want []int
	}{{61, []int{1, 0, 2, 3}}, {60, []int{1, 0}}, {58, nil}} {
		if got := r.unanswered(tc.step); !slices.Equal(got, tc.want) {
			t.Errorf("after step %d prompts %v are asked, want %v", tc.step, got, tc.want)
		}
	}
}

// TestNoSamples: why there are none is said, and the training goes on.
func TestNoSamples(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		change     func(c *config.Config)
	}{
		{"full", "no samples while training: llama.cpp would write them", func(c *config.Config) {
			c.Full, c.Rank, c.Dropout, c.SampleEvery = true, config.Default().Rank, 0, config.Auto[int]{Auto: true}
		}},
		{"long prompts", "each prompt is longer than the 128 tokens", func(c *config.Config) {
			c.SamplePrompts = []string{strings.Repeat("too long ", 200)}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := sampledConfig(t)
			tc.change(&c)
			rec := &recorder{}
			if _, err := Train(t.Context(), c, rec); err != nil || !strings.Contains(rec.notes(), tc.says) {
				t.Errorf("got %v and notes %q, want one that says %q", err, rec.notes(), tc.says)
			}
		})
	}
}

// TestSamplesFail: what goes wrong with an answer ends the answers, once, and not the training.
func TestSamplesFail(t *testing.T) {
	c := sampledConfig(t)
	r := begun(t, c, func(*run) {})
	rec := &recorder{}
	r.rep = rec
	before, size := report.PeakBytes(), r.model.File().Bytes()
	peak := r.peak()
	if after := report.PeakBytes(); before > 0 && (peak < before-size || peak > after-size) {
		t.Errorf("got a peak of %d bytes, want %d to %d without the model's second mapping", peak, before-size,
			after-size)
	}
	if err := r.sampler.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.train(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(rec.notes(), "no more samples while training"); n != 1 || r.sampler != nil {
		t.Errorf("said %d times, want once: %s", n, rec.notes())
	}
}

// TestSamplesAsked: the user's prompts are asked in place of the data's, without held-out examples too, and of a method
// of preferences as of others.
func TestSamplesAsked(t *testing.T) {
	c := sampledConfig(t)
	c.EvalSplit, c.EvalEvery, c.SamplePrompts = config.Fixed(0.0), config.Auto[int]{Auto: true},
		[]string{"the number 3 is"}
	c.SampleEvery = config.Auto[int]{Auto: true}
	mustTrain(t, c)
	if got := places(samples(t, c.Output)); got != "1:0 2:0 3:0 4:0 5:0 6:0" {
		t.Errorf("got %s", got)
	}
	c = pairConfig(t, "dpo")
	c.SampleEvery, c.SampleTokens, c.SampleShare = config.Fixed(3), 8, 1
	mustTrain(t, c)
	got := samples(t, c.Output)
	if len(got) == 0 || got[0].Step != 3 || got[0].Expected == nil || strings.Contains(got[0].Input, *got[0].Expected) {
		t.Errorf("got %+v", got)
	}
}

// TestOldRunHasNoSamples: a run from before there were any goes on without.
func TestOldRunHasNoSamples(t *testing.T) {
	const old = "testdata/run-v1"
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(old, "run"))); err != nil {
		t.Fatal(err)
	}
	c, err := ResumeConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Model, c.Data = synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)), []string{filepath.Join(old, "pairs.jsonl")}
	mustTrain(t, *c)
	if _, err := os.Stat(filepath.Join(dir, fileSamples)); err == nil {
		t.Errorf("got %s", places(samples(t, dir)))
	}
}
