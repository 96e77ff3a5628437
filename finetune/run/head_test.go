package run

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// rewardConfig trains a reward model on pairs of which one word is always chosen.
func rewardConfig(t *testing.T) config.Config {
	t.Helper()
	c := pairConfig(t, "reward")
	c.Dropout = 0.1
	return c
}

// measuring is a configuration that measures another's model on data.
func measuring(c *config.Config, data string) config.Config {
	e := config.Default()
	e.Model, e.Data, e.Threads, e.Exact = c.Model, []string{data}, 1, true
	return e
}

// TestRewardRun: a run leaves adapter and head, bound to each other and to the base, in its checkpoints too; its scores
// have the mean 0 over the training answers; eval and score agree, whatever form the answers have.
func TestRewardRun(t *testing.T) {
	c := rewardConfig(t)
	c.Steps, c.EvalEvery = 20, config.Fixed(0)
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.Output, fileHead)
	h, err := head.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if h.Base != s.BaseSHA256 || h.Adapter != *s.AdapterSHA256 || h.Purpose != head.Reward || h.Unfinished != "" ||
		h.Mean == 0 || s.HeadSHA256 == nil || s.General != nil || s.ScoreRMSDiff == nil ||
		!(*s.ScoreRMSDiff < 0.05*(*s.ScoreSize)) {
		t.Errorf("head %+v, report %+v", h, s)
	}
	if notes := rec.notes(); !strings.Contains(notes, "a place for a head in bert kin") {
		t.Errorf("how the head can leave is not said: %s", notes)
	}
	beside, err := head.Load(filepath.Join(c.Output, dirCheckpoints, "step-00000020", fileHead))
	if err != nil || beside.Unfinished != "step 20 of 20" || beside.Weight[3] != h.Weight[3] {
		t.Errorf("the checkpoint's head: %+v, %v", beside, err)
	}
	pairs := measuring(&c, c.Data[0])
	e, err := Evaluate(t.Context(), pairs, c.Output, nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if x := e.Scores; x == nil || x.Prompts != 40 || x.Accuracy.Value != e.Figures["accuracy"] ||
		x.Trivial.Value != e.Figures["longer"] || !(x.Accuracy.Value > 0.9) || x.Calibration[0].From != 0.5 {
		t.Errorf("eval: %+v of %v", x, e.Figures)
	}
	scored, err := ScoreAnswers(t.Context(), pairs, c.Output, nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if len(scored.Answers) != 80 || scored.Answers[1].Answer != "rejected" {
		t.Fatalf("%d scores, %+v", len(scored.Answers), scored.Answers[:2])
	}
	mean, chosen := 0.0, 0.0
	for i, a := range scored.Answers {
		mean += a.Score / 80
		if i%2 == 0 {
			chosen += a.Score / 40
		}
	}
	want := e.Figures["chosen_reward"]
	if !(math.Abs(chosen-want) <= 1e-5) || !(math.Abs(mean) <= 0.2*math.Abs(chosen)) {
		t.Errorf("mean score %g, of the chosen %g and eval %g; want near 0, and equal", mean, chosen, want)
	}
	// The same answers, not as pairs.
	plain := filepath.Join(t.TempDir(), "plain.jsonl")
	text := `{"prompt": "the number 0 is", "completion": " even"}` + "\n" + `{"prompt": "the number 0 is", ` +
		`"completion": " odd"}` + "\n"
	if err := os.WriteFile(plain, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	alone, err := ScoreAnswers(t.Context(), measuring(&c, plain), c.Output, nil, report.Silent{})
	if err != nil || len(alone.Answers) != 2 {
		t.Fatal(alone, err)
	}
	const tol = 1e-5 // rows of other lengths are summed in another order
	for i, a := range alone.Answers {
		if !(math.Abs(a.Score-scored.Answers[i].Score) <= tol) || a.Answer != "" {
			t.Errorf("alone %+v, as one of a pair %+v", a, scored.Answers[i])
		}
	}
}

// TestRewardResume: a run that is stopped leaves an unfinished head with its adapter, and goes on to the bits of a
// straight one.
func TestRewardResume(t *testing.T) {
	straight := rewardConfig(t)
	mustTrain(t, straight)
	for name, at := range map[string]func(e report.Event) bool{
		"after step 3": func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 3 },
		"at the end":   func(e report.Event) bool { p, ok := e.(report.Progress); return ok && p.What == "verify" },
	} {
		c := straight
		c.Output = filepath.Join(t.TempDir(), "run")
		stopAndResume(t, c, at, func() {
			h, err := head.Load(filepath.Join(c.Output, fileHead))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			sum, err := fileSHA256(filepath.Join(c.Output, fileAdapter))
			if err != nil || h.Adapter != sum || !strings.HasPrefix(h.Unfinished, "step ") {
				t.Errorf("%s: head %+v beside the adapter %s, %v", name, h, sum, err)
			}
			if _, err := os.Stat(filepath.Join(c.Output, fileUnsure)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: an unverified head is left: %v", name, err)
			}
		})
		sameResult(t, c.Output, straight.Output)
		if readFile(t, c.Output, fileHead) != readFile(t, straight.Output, fileHead) {
			t.Errorf("%s: the head is not that of a straight run", name)
		}
	}
}

// TestHeadRefused: a head that is missing, or another's, is named with what would do.
func TestHeadRefused(t *testing.T) {
	c := rewardConfig(t)
	c.Steps = 1
	mustTrain(t, c)
	e := measuring(&c, c.Data[0])
	fails := func(name, want string, e config.Config, adapter string) {
		t.Helper()
		_, err := Evaluate(t.Context(), e, adapter, nil, report.Silent{})
		_, also := ScoreAnswers(t.Context(), e, adapter, nil, report.Silent{})
		if err == nil || also == nil || !strings.Contains(err.Error(), want) || !strings.Contains(also.Error(), want) {
			t.Errorf("%s: %v; %v; want %q", name, err, also, want)
		}
	}
	alone := filepath.Join(t.TempDir(), fileAdapter)
	b, err := os.ReadFile(filepath.Join(c.Output, fileAdapter))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, b, 0o666); err != nil {
		t.Fatal(err)
	}
	fails("no head", "no head.gguf beside it", e, alone)
	given := e
	given.Head = filepath.Join(c.Output, fileHead)
	if _, err := Evaluate(t.Context(), given, alone, nil, report.Silent{}); err != nil {
		t.Errorf("the head is given: %v", err)
	}
	given.Method = "reward"
	fails("no adapter", "and none is given", given, "")
	given.Head = ""
	fails("neither", "need a head", given, "")
	given.Head = alone
	fails("no head but an adapter", "not a head", given, alone)
	spec := synth.Tiny("llama", gguf.F32)
	spec.Seed++
	other := e
	other.Model = synth.Temp(t, spec)
	fails("another base", "trained on another base", other, c.Output)
	older := filepath.Join(c.Output, dirCheckpoints, "step-00000001")
	h, err := head.Load(filepath.Join(older, fileHead))
	if err != nil {
		t.Fatal(err)
	}
	given.Head = filepath.Join(older, fileHead)
	if h.Adapter != "" {
		fails("a checkpoint's", "trained with another adapter", given, alone)
	}
}

// TestHeadBegins: --head gives what training starts from, of the same size only.
func TestHeadBegins(t *testing.T) {
	c := rewardConfig(t)
	c.Steps = 1
	mustTrain(t, c)
	again := c
	again.Output, again.Head = filepath.Join(t.TempDir(), "run"), filepath.Join(c.Output, fileHead)
	r := begun(t, again, func(*run) {})
	set, err := r.sess.Set("")
	if err != nil {
		t.Fatal(err)
	}
	h, err := head.Load(again.Head)
	if err != nil || set.Heads[0].Values[5] != h.Weight[5] {
		t.Errorf("begins with %g, want %g, %v", set.Heads[0].Values[5], h.Weight[5], err)
	}
	h.Weight = h.Weight[1:]
	small := filepath.Join(t.TempDir(), "small.gguf")
	if err := h.Save(t.Context(), nil, small); err != nil {
		t.Fatal(err)
	}
	again.Output, again.Head = filepath.Join(t.TempDir(), "other"), small
	if _, err := Train(t.Context(), again, report.Silent{}); err == nil || !strings.Contains(err.Error(), "n_embd 63") {
		t.Errorf("a head of another size: %v", err)
	}
}

// TestRewardKilled: a process that is killed as it gives the head its name leaves a run that can be ended.
func TestRewardKilled(t *testing.T) {
	c := rewardConfig(t)
	want := mustTrain(t, c)
	store := checkpoint.Store{Dir: filepath.Join(c.Output, dirCheckpoints)}
	if ids, err := store.List(); err != nil || len(ids) == 0 {
		t.Fatal(ids, err)
	}
	adapter, headFile := readFile(t, c.Output, fileAdapter), readFile(t, c.Output, fileHead)
	for _, name := range []string{fileAdapter, fileReport} { // as it is between the two names
		if err := os.Remove(filepath.Join(c.Output, name)); err != nil {
			t.Fatal(err)
		}
	}
	c.Resume = true
	got := mustTrain(t, c)
	if readFile(t, c.Output, fileAdapter) != adapter || readFile(t, c.Output, fileHead) != headFile ||
		*got.HeadSHA256 != *want.HeadSHA256 {
		t.Error("the result is not that of a straight run")
	}
}

// TestScoresNotVerified: where llama.cpp's states give other scores, the run says so and leaves no result.
func TestScoresNotVerified(t *testing.T) {
	c := rewardConfig(t)
	c.Steps = 2
	var r *run
	rec := &recorder{on: func(e report.Event) {
		if p, ok := e.(report.Progress); ok && p.What == "verify the scores" {
			r.probed.Ours[0] += 10
		}
	}}
	begun(t, c, func(x *run) { r, x.rep = x, rec })
	if err := r.train(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := r.finish(t.Context())
	if !errors.Is(err, verify.ErrDisagree) || !strings.Contains(err.Error(), "verify the scores of ") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{fileAdapter, fileHead, fileUnverified, fileUnsure, fileReport} {
		if _, err := os.Stat(filepath.Join(c.Output, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
