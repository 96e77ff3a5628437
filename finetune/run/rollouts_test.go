package run

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// tinyPrompts is a JSONL file of prompts.
func tinyPrompts(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt": "the number %d is"}`+"\n", i)
	}
	path := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// rollConfig has a generated model learn to write short answers. An answer of few tokens is rare at first, and each
// token less is worth more.
func rollConfig(t *testing.T, how string) config.Config {
	t.Helper()
	c := tinyConfig(t, gguf.F32)
	c.Method, c.Data, c.Dropout, c.Packing, c.Accum = how, []string{tinyPrompts(t, 40)}, 0, "auto",
		config.Auto[int]{Auto: true}
	c.Reward, c.MaxCompletion, c.RolloutPrompts, c.Steps, c.LR = []string{"length=2"}, 12, 4, 6, config.Fixed(2e-3)
	return c
}

// counted has a run rewarded by a program that writes down what it is asked, and gives the file.
func counted(t *testing.T, c *config.Config) (asked string) {
	t.Helper()
	asked = filepath.Join(t.TempDir(), "asked")
	c.Reward = nil
	c.RewardCmd = `while read -r line; do echo "$line" >> ` + asked + `; echo "$((${#line} % 7))"; done`
	return asked
}

// TestRollouts trains a generated model by what its answers are worth: it learns, and leaves what a run leaves.
func TestRollouts(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Steps, c.EvalEvery, c.SampleEvery, c.SaveEvery = 12, config.Fixed(6), config.Fixed(4), 5
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	rewards := rec.evaluated("reward")
	if first, last := rewards[0], rewards[len(rewards)-1]; len(rewards) != 3 || last < first+0.2 {
		t.Errorf("held-out rewards %v: want three that rise", rewards)
	}
	if s.EvalLossAfter == nil || *s.EvalLossAfter != -rewards[len(rewards)-1] {
		t.Errorf("%+v: the loss of what is learned by rewards is their negative, %g", s, -rewards[len(rewards)-1])
	}
	for i, l := range metrics(t, c.Output) {
		for _, name := range []string{"reward", "reward_length", "signal", "answer_len", "ended", "entropy", "mismatch",
			"mismatch_max", "ess", "clip_frac", "approx_kl"} {
			if _, ok := l.Figures[name]; !ok {
				t.Errorf("step %d has no figure %s: %v", i+1, name, l.Figures)
			}
		}
		// One update a rollout: what is trained is what wrote the answers.
		if l.Figures["approx_kl"] != 0 || l.Figures["ratio"] != 1 {
			t.Errorf("step %d: the model was another one when it wrote the answers: %v", i+1, l.Figures)
		}
		if x := l.Figures["mismatch"]; !(x > 0 && x < 0.1) {
			t.Errorf("step %d: the writer's log-probabilities are %g nats from the engine's", i+1, x)
		}
	}
	var whys []string
	for _, e := range rec.events {
		if x, ok := e.(report.Sampled); ok {
			whys = append(whys, fmt.Sprint(x.Step, x.Why))
			empty := x.TunedTokens == 1 && x.TunedEnd == "end" // it has but the token that ends it
			if x.Reward == nil || x.Rewards["length=2"] != *x.Reward || (x.Tuned == "") != empty || x.Source == nil {
				t.Errorf("an answer is shown without what it is worth, or its text: %+v", x)
			}
		}
	}
	if want := []string{"4best", "4worst", "4random", "8best", "8worst", "8random", "12best", "12worst",
		"12random"}; !reflect.DeepEqual(whys, want) {
		t.Errorf("shown are %v, want %v", whys, want)
	}
	// Those since the older of the two newest checkpoints, of steps 10 and 12.
	left, err := os.ReadDir(filepath.Join(c.Output, dirRollouts))
	if err != nil || len(left) == 0 || len(left) > 4 {
		t.Errorf("%d rollouts are left, %v", len(left), err)
	}
}

// TestRolloutsDivided: answers that are too many for a row, in several, make the same updates.
func TestRolloutsDivided(t *testing.T) {
	const tol = 1e-5 // measured: 1e-6, of sums in F32
	figures := []string{"reward", "entropy", "ratio", "mismatch", "answer_len"}
	of := func(most int) (out []float64) {
		c := rollConfig(t, "grpo")
		c.Steps, c.GroupTokens, c.Exact, c.RolloutPrompts = 1, most, true, 2
		c.EvalSplit, c.EvalEvery = config.Fixed(0.0), config.Fixed(0)
		if _, err := Train(t.Context(), c, &recorder{}); err != nil {
			t.Fatal(err)
		}
		for _, l := range metrics(t, c.Output) {
			out = append(out, l.Loss, l.GradNorm, float64(l.Counted))
			for _, name := range figures {
				out = append(out, l.Figures[name])
			}
		}
		return out
	}
	want := of(0)
	if len(want) != 8 || want[2] < 3*24 {
		t.Fatalf("%v", want)
	}
	for i, x := range of(24) {
		if !(math.Abs(x-want[i]) <= tol*max(1, math.Abs(want[i]))) {
			t.Errorf("figure %d is %.9g, in one row %.9g", i, x, want[i])
		}
	}
}

// TestRolloutsBest: --patience ends a run whose held-out reward rises no more, and --best takes the step where it was
// highest.
func TestRolloutsBest(t *testing.T) {
	c := rollConfig(t, "grpo")
	held, asked := filepath.Join(t.TempDir(), "held.jsonl"), filepath.Join(t.TempDir(), "asked")
	if err := os.WriteFile(held, []byte(`{"prompt": "the number held is"}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	// What the held-out answer is worth follows from how often it was asked for: 0.1, 0.5, 0.7, 0.3, 0.2, …
	c.Reward, c.RewardCmd = nil, `while read -r line; do case $line in *"number held is"*) echo >> `+asked+
		`; set -- 0.1 0.5 0.7 0.3 0.2; shift $(($(wc -l < `+asked+`) - 1)); echo "${1:-0}";; `+
		`*) echo "$((${#line} % 7))";; esac; done`
	c.EvalData, c.EvalSplit, c.EvalEvery, c.EvalShare, c.Steps = []string{held}, config.Default().EvalSplit,
		config.Fixed(2), 1, 20
	c.Patience = 1
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{0.1, 0.5, 0.7, 0.3}
	if got := rec.evaluated("reward"); !reflect.DeepEqual(got, want) {
		t.Errorf("held-out rewards %v, want %v", got, want)
	}
	if s.Stopped != "patience" || s.Steps != 6 || s.ResultStep != 4 || s.BestStep == nil || *s.BestStep != 4 ||
		s.EvalRewardAfter == nil || *s.EvalRewardAfter != 0.7 {
		t.Errorf("%+v: want that of step 4 in step 6", s)
	}
	if err := os.Remove(asked); err != nil {
		t.Fatal(err)
	}
	c.Patience, c.Best, c.Steps, c.Output = 0, true, 8, filepath.Join(t.TempDir(), "best")
	if s, err = Train(t.Context(), c, rec); err != nil || s.Stopped != "steps" || s.Steps != 8 || s.ResultStep != 4 ||
		*s.EvalRewardAfter != 0.7 {
		t.Errorf("%+v, %v: want the result of step 4", s, err)
	}
}

// TestEveryMethodOfRewards: each is given what it needs, raises the reward, and goes on from where it was stopped.
func TestEveryMethodOfRewards(t *testing.T) {
	for _, name := range method.Names() {
		how, err := method.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if !how.Rewarded() { // gkd has tests of its own
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := rollConfig(t, name)
			c.Steps, c.EvalEvery, c.LR, c.NumGenerations = 16, config.Fixed(0), config.Fixed(5e-3), config.Fixed(8)
			c.Reward = []string{"length=6"}   // few answers end by chance: each that does shall count
			if how.Value != method.NoValues { // which must be learned first, and 4 updates are of one rollout
				c.Steps, c.LR = 32, config.Fixed(1e-2)
			}
			rec := &recorder{}
			_, err := Train(t.Context(), c, rec)
			if err != nil {
				t.Fatal(err)
			}
			rewards := rec.evaluated("reward")
			if first, last := rewards[0], rewards[len(rewards)-1]; last < first+0.1 {
				t.Errorf("held-out rewards %v: want that they rise", rewards)
			}
			t.Logf("held-out rewards %v", rewards)
			whole, stopped := c, c
			whole.Output, stopped.Output = c.Output, filepath.Join(t.TempDir(), "stopped")
			ctx, stop := context.WithCancel(t.Context())
			rec.on = func(e report.Event) {
				if s, ok := e.(report.Step); ok && s.Step == 7 {
					stop()
				}
			}
			if _, err := Train(ctx, stopped, rec); err == nil {
				t.Fatal("it was not stopped")
			}
			stopped.Resume = true
			mustTrain(t, stopped)
			if readFile(t, whole.Output, fileAdapter) != readFile(t, stopped.Output, fileAdapter) {
				t.Error("stopped and resumed, the adapter is another")
			}
		})
	}
}

// TestOwnValues: values on an adapter of their own learn beside the policy, and go on from where they were stopped; the
// policy's gradient is not theirs.
func TestOwnValues(t *testing.T) {
	c := rollConfig(t, "ppo")
	c.Steps, c.EvalEvery, c.LR, c.NumGenerations, c.Reward, c.ValueAdapter = 12, config.Fixed(0), config.Fixed(5e-3),
		config.Fixed(8), []string{"length=4"}, "own"
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	lines := metrics(t, c.Output)
	if first, last := lines[0].Figures["value_loss"], lines[3].Figures["value_loss"]; !(last < first) {
		t.Errorf("over the updates of a rollout the values' loss goes from %g to %g", first, last)
	}
	// However much the loss of the values weighs in the first update, the policy moves as it does without.
	var policies []string
	for _, weight := range []float64{0.1, 5} {
		one := c
		one.Output, one.Steps, one.Clip = filepath.Join(t.TempDir(), "one"), 1, 0 // a common norm would couple them
		one.Settings = map[string]float64{"vf-coef": weight}
		mustTrain(t, one)
		policies = append(policies, tensorsOf(t, filepath.Join(one.Output, fileAdapter)))
	}
	if policies[0] != policies[1] {
		t.Error("the loss of the values changes the policy")
	}
	stopped := c
	stopped.Output = filepath.Join(t.TempDir(), "stopped")
	ctx, stop := context.WithCancel(t.Context())
	rec.on = func(e report.Event) {
		if s, ok := e.(report.Step); ok && s.Step == 6 {
			stop()
		}
	}
	if _, err := Train(ctx, stopped, rec); err == nil {
		t.Fatal("it was not stopped")
	}
	stopped.Resume = true
	mustTrain(t, stopped)
	if readFile(t, c.Output, fileAdapter) != readFile(t, stopped.Output, fileAdapter) {
		t.Error("stopped and resumed, the adapter is another")
	}
}

// TestRolloutsFromAdapter: a run that starts from an adapter is held to the base with it, and not to the base alone,
// unless that is asked for.
func TestRolloutsFromAdapter(t *testing.T) {
	first := rollConfig(t, "grpo")
	first.EvalSplit, first.EvalEvery, first.LR = config.Fixed(0.0), config.Fixed(0), config.Fixed(1e-2)
	mustTrain(t, first)
	for _, ref := range []string{"", "none"} {
		c := first
		c.Output, c.InitAdapter, c.RefAdapter = filepath.Join(t.TempDir(), "on"), first.Output, ref
		c.Steps, c.Rank, c.Settings = 1, config.Default().Rank, map[string]float64{"beta": 0.1}
		mustTrain(t, c)
		if kl := metrics(t, c.Output)[0].Figures["kl"]; (kl == 0) != (ref == "") {
			t.Errorf("with --ref-adapter %q the model is %g nats from its reference before the first update", ref, kl)
		}
	}
}

// tensorsOf gives the bytes of all tensors of a file.
func tensorsOf(t *testing.T, path string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	for i := range f.Tensors {
		data, err := f.Data(&f.Tensors[i])
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
	}
	return b.String()
}

// TestRolloutsLearned: a run that has learned all there is ends with its result; one that cannot begin says why.
func TestRolloutsLearned(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Reward, c.LR, c.Steps, c.EvalSplit, c.EvalEvery = []string{"length=8"}, config.Fixed(2e-2), 60, config.Fixed(0.0),
		config.Fixed(0)
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	if s.Stopped != "no signal" || s.Steps >= c.Steps || !strings.Contains(rec.notes(), "no answer is better") {
		t.Errorf("stopped for %q after %d steps, with the notes\n%s", s.Stopped, s.Steps, rec.notes())
	}
	if _, err := os.Stat(filepath.Join(c.Output, fileAdapter)); err != nil {
		t.Error(err)
	}
	c.Output = filepath.Join(t.TempDir(), "other")
	c.Reward = []string{"length=100"}
	if _, err := Train(t.Context(), c, rec); err == nil || !strings.Contains(err.Error(), "had the same reward") {
		t.Errorf("with a reward that is always 0: got %v", err)
	}
}

// TestRolloutDisk: the rollouts that lie on the disk at one time take about what was foreseen, if no rollout is without
// signal.
func TestRolloutDisk(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Steps, c.SaveEvery, c.Keep, c.Settings = 9, 2, 1, map[string]float64{"beta": 0.1}
	c.NumGenerations, c.NumIterations = config.Fixed(8), config.Fixed(1)
	most := int64(0)
	if _, err := Train(t.Context(), c, &recorder{on: func(report.Event) {
		n := int64(0)
		files, _ := filepath.Glob(filepath.Join(c.Output, dirRollouts, "rollout-*"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				n += info.Size()
			}
		}
		most = max(most, n)
	}}); err != nil {
		t.Fatal(err)
	}
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	how, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	if plan := budget.RolloutDisk(&c, how, m, 1<<20, c.Steps); most > plan || most < plan/3 {
		t.Errorf("rollouts had %d bytes at most, %d were foreseen", most, plan)
	}
}

// TestRolloutsResumed stops a run in every phase of a rollout and of an update, goes on, and wants the end and the
// metrics of a straight run; no answer is rewarded twice.
func TestRolloutsResumed(t *testing.T) {
	for _, engine := range []string{"llama.cpp", "ggtune"} {
		t.Run(engine, func(t *testing.T) { resumedRollouts(t, engine) })
	}
}

func resumedRollouts(t *testing.T, engine string) {
	c := rollConfig(t, "grpo")
	c.RolloutEngine = engine
	c.NumIterations, c.NumMiniBatches, c.Steps, c.SaveEvery, c.EvalSplit, c.EvalEvery = config.Fixed(2), 2, 10, 3,
		config.Fixed(0.0), config.Fixed(0)
	c.Settings = map[string]float64{"beta": 0.1}
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	askedOnce := counted(t, &straight)
	mustTrain(t, straight)
	asked := counted(t, &c)
	stops := 0
	for _, at := range []struct {
		what string
		nth  int
	}{{"write answers", 1}, {"reward", 1}, {"read answers", 2}, {"train", 1}, {"train", 4}, {"write answers", 9},
		{"reward", 1}, {"read answers", 1}, {"train", 3}} {
		told := errors.New("told to stop")
		ctx, stop := context.WithCancelCause(t.Context())
		seen := 0
		rec := &recorder{on: func(e report.Event) {
			if p, ok := e.(report.Progress); ok && p.What == at.what {
				if seen++; seen == at.nth {
					stop(told)
				}
			}
		}}
		_, err := Train(ctx, c, rec)
		stop(nil)
		if !errors.Is(err, told) {
			t.Fatalf("stopped in %s: %v", at.what, err)
		}
		c.Resume = true
		stops++
	}
	mustTrain(t, c)
	if readFile(t, c.Output, fileAdapter) != readFile(t, straight.Output, fileAdapter) {
		t.Error("the adapter is not that of a straight run")
	}
	if got, want := metrics(t, c.Output), metrics(t, straight.Output); !reflect.DeepEqual(got, want) {
		t.Errorf("metrics:\n%+v, want\n%+v", got, want)
	}
	// A rollout that is stopped while the program is asked has no rewards yet.
	once, all := strings.Count(readFile(t, askedOnce), "\n"), strings.Count(readFile(t, asked), "\n")
	if all > once+2*4*8 {
		t.Errorf("%d answers were rewarded over %d stops, and %d in a straight run", all, stops, once)
	}
}

// TestRolloutsKilled kills a process without warning, several times, and wants the run that is resumed to end where a
// straight one ends.
func TestRolloutsKilled(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.NumIterations, c.Steps, c.SaveEvery, c.EvalSplit, c.EvalEvery = config.Fixed(2), 30, 4, config.Fixed(0.0),
		config.Fixed(0)
	straight, settings := toBeKilled(t, c)
	killed := 0
	for n := 3; n <= 11; n += 4 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.count=1")
		child.Env = append(os.Environ(), childEnv+"="+settings)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(30 * time.Second)
		for newestRollout(c.Output) < n && time.Now().Before(deadline) {
			time.Sleep(2 * time.Millisecond)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if child.Wait() != nil {
			killed++
		}
	}
	if killed == 0 {
		t.Fatal("no process was killed: each was done before")
	}
	c.Resume = true
	mustTrain(t, c)
	if readFile(t, c.Output, fileAdapter) != readFile(t, straight.Output, fileAdapter) {
		t.Error("the adapter is not that of a straight run")
	}
	if got, want := metrics(t, c.Output), metrics(t, straight.Output); !reflect.DeepEqual(got, want) {
		t.Errorf("metrics:\n%+v, want\n%+v", got, want)
	}
}

// newestRollout gives the number of the newest rollout on disk, -1 without one.
func newestRollout(dir string) int {
	files, _ := filepath.Glob(filepath.Join(dir, dirRollouts, "rollout-*.bin"))
	newest := -1
	for _, f := range files {
		var number, step int
		if _, err := fmt.Sscanf(filepath.Base(f), "rollout-%d-step-%d.bin", &number, &step); err == nil {
			newest = max(newest, number)
		}
	}
	return newest
}
