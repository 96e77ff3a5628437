//go:build unix

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// talkConfig has a generated model learn to say little in each of two turns, between which a program speaks. asked is
// the file in which the program writes down what it is asked.
func talkConfig(t *testing.T, how string) (c config.Config, asked string) {
	t.Helper()
	c = rollConfig(t, how)
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `{"messages": [{"role": "user", "content": "the number %d"}]}`+"\n", i)
	}
	data := filepath.Join(t.TempDir(), "games.jsonl")
	if err := os.WriteFile(data, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	asked = filepath.Join(t.TempDir(), "asked")
	c.Data, c.Template, c.SeqLen, c.MaxCompletion, c.Reward = []string{data}, "plain", 128, 40, nil
	c.EnvCmd = `while read -r line; do
	printf '%s\n' "$line" >> ` + asked + `
	tokens=${line#*'"tokens":'}; reward=-0.${tokens%%,*}
	[ "${tokens%%,*}" -lt 10 ] && reward=-0.0${tokens%%,*}
	case "$line" in
	*'"turn":0,'*) echo '{"message": "begin"}' ;;
	*'"turn":1,'*'"over":"",'*) echo '{"message": "go on", "reward": '$reward'}' ;;
	*) echo '{"done": true, "reward": '$reward'}' ;;
	esac
done`
	return c, asked
}

// TestEnvironments: with every method of rollouts a model talks with a program, and goes on from wherever it was
// stopped to the bits of a straight run; what is on disk nobody is asked again.
func TestEnvironments(t *testing.T) {
	for _, name := range method.Names() {
		how, err := method.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if !how.Rewarded() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, asked := talkConfig(t, name)
			c.Steps, c.EvalSplit, c.EvalEvery, c.NumGenerations, c.SampleEvery = 3, config.Fixed(0.0), config.Fixed(0),
				config.Fixed(4), config.Fixed(2)
			straight, askedOnce := c, asked+"-once"
			straight.Output = filepath.Join(t.TempDir(), "straight")
			straight.EnvCmd = strings.ReplaceAll(c.EnvCmd, asked, askedOnce)
			mustTrain(t, straight)
			phases := []string{"environment"}
			if name == "grpo" { // what comes about is not the methods'
				phases = append(phases, "write answers", "reward", "read answers", "train")
			}
			for _, what := range phases {
				told := errors.New("told to stop")
				ctx, stop := context.WithCancelCause(t.Context())
				rec := &recorder{on: func(e report.Event) {
					if p, ok := e.(report.Progress); ok && p.What == what {
						stop(told)
					}
				}}
				_, err := Train(ctx, c, rec)
				if stop(nil); !errors.Is(err, told) {
					t.Fatalf("stopped in %s: %v", what, err)
				}
				c.Resume = true
			}
			mustTrain(t, c)
			for _, file := range []string{fileAdapter, fileSamples} {
				if readFile(t, c.Output, file) != readFile(t, straight.Output, file) {
					t.Errorf("%s is not that of a straight run", file)
				}
			}
			if got, want := metrics(t, c.Output), metrics(t, straight.Output); !reflect.DeepEqual(got, want) {
				t.Errorf("metrics:\n%+v, want\n%+v", got, want)
			}
			once, all := questions(t, askedOnce), questions(t, asked)
			if len(all) > len(once)+3*4*9 { // of a rollout that was stopped before it was kept
				t.Errorf("the program was asked %d times over the stops, and %d in a straight run", len(all), len(once))
			}
			checkTalk(t, straight, once)
		})
	}
}

// questions reads what a program was asked.
func questions(t *testing.T, path string) (out []environment.Question) {
	t.Helper()
	for line := range strings.Lines(readFile(t, path)) {
		var q environment.Question
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// checkTalk looks at what a program was asked in a run, and at what the run says of it.
func checkTalk(t *testing.T, c config.Config, asked []environment.Question) {
	t.Helper()
	turns := map[int]int{}
	for _, q := range asked {
		turns[q.Turn]++
		if x := q.Exchange; q.Turn == 2 && (len(x) != 4 || x[0].Content != "begin" || x[2].Content != "go on" ||
			x[3].Content != q.Answer) {
			t.Errorf("in turn 2 it is told %+v", q)
		}
	}
	if turns[0] == 0 || turns[1] < turns[0] || turns[2] == 0 || len(turns) != 3 {
		t.Errorf("questions by turn: %v", turns)
	}
	for _, l := range metrics(t, c.Output) {
		f := l.Figures
		if x := f["mismatch"]; f["reward"] != f["reward_env"] || !(f["turns"] >= 1 && f["turns"] <= 2) ||
			!(x >= 0 && x < 0.1) {
			t.Errorf("step %d: %v", l.Step, f)
		}
	}
	var s report.Sample
	line, _, _ := strings.Cut(readFile(t, c.Output, fileSamples), "\n")
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, x := range s.Exchange {
		if x.Reward != nil {
			sum += *x.Reward
		}
	}
	if len(s.Exchange) < 2 || sum != *s.Reward || s.Exchange[0].Content != "begin" ||
		!strings.HasSuffix(s.Input, "\n\nbegin\nAssistant:") {
		t.Errorf("the first sample is %+v", s)
	}
}

// TestEnvironmentLearns: what a program gives is learned, and measured on held-out prompts; the result is measured the
// same way.
func TestEnvironmentLearns(t *testing.T) {
	c, _ := talkConfig(t, "grpo")
	c.Steps, c.EvalEvery, c.LR = 10, config.Fixed(0), config.Fixed(5e-3)
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	rewards := rec.evaluated("reward")
	if first, last := rewards[0], rewards[len(rewards)-1]; last < first+0.05 {
		t.Errorf("held-out rewards %v: want that they rise", rewards)
	}
	e := c
	e.Reward, e.Settings = nil, nil
	got, err := Evaluate(t.Context(), e, c.Output, nil, report.Silent{})
	if err != nil || got.Figures["turns"] < 1 || got.Figures["reward_env"] != -got.Loss {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestEnvironmentRefused: a run whose prompts, programs or numbers do not go with an environment says so.
func TestEnvironmentRefused(t *testing.T) {
	c, _ := talkConfig(t, "grpo")
	c.Steps, c.EvalSplit, c.EvalEvery, c.Schedule = 1, config.Fixed(0.0), config.Fixed(0), "constant"
	mustTrain(t, c)
	with := c.EnvCmd
	on := c
	on.Resume, on.Steps = true, 2
	for _, x := range []struct {
		name string
		do   func(c *config.Config)
		want string
	}{
		{"resumed without it", func(c *config.Config) {
			c.EnvCmd, c.RewardCmd = "", "cat"
		}, "the run was rewarded by a program (--env-cmd), which no file holds; give it again"},
		{"resumed with a program more", func(c *config.Config) { c.RewardCmd = "cat" },
			"--reward-cmd is given, and the run was rewarded by no such program when it began"},
		{"literal prompts", func(c *config.Config) {
			c.Resume, c.Output, c.Data = false, filepath.Join(t.TempDir(), "x"), []string{tinyPrompts(t, 20)}
		}, "prompts.jsonl:1: the prompt is literal text, and an environment (--env-cmd) answers in turns"},
		{"turns without it", func(c *config.Config) { c.EnvCmd, c.RewardCmd, c.MaxTurns = "", "cat", 3 },
			"--max-turns is 3 without --env-cmd"},
		{"no turns", func(c *config.Config) { c.MaxTurns = 0 }, "--max-turns is 0; expected at least 1"},
		{"with another method", func(c *config.Config) { c.Method, c.Reward = "sft", nil },
			"--env-cmd is given with --method sft, which learns from given answers"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := on
			c.EnvCmd = with
			x.do(&c)
			if _, err := Train(t.Context(), c, report.Silent{}); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, want %s", err, x.want)
			}
		})
	}
}
