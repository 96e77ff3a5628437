package run

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/reward"
)

// TestRewardModelScores: a reward model in the session of another run gives answers, however many to a prompt and
// however many prompts in a pass, the scores that it gives them one by one in a session of its own.
func TestRewardModelScores(t *testing.T) {
	c := pairConfig(t, "reward")
	c.Dropout, c.Steps, c.EvalSplit, c.EvalEvery = 0, 8, config.Fixed(0.0), config.Fixed(0)
	c.Model = rollConfig(t, "grpo").Model
	mustTrain(t, c)
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	base, err := fileSHA256(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	open := func(trees int, others ...engine.Set) (*rewardModel, *engine.Session) {
		t.Helper()
		var models rewardModels
		if _, err := models.kind(trees).Open(c.Output, nil); err != nil {
			t.Fatal(err)
		}
		if err := models.open(m, func(string) {}); err != nil {
			t.Fatal(err)
		}
		sess, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true,
			Sets: append(others, models.sets()...)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sess.Close() })
		if err := models.use(sess, base); err != nil {
			t.Fatal(err)
		}
		return models[0], sess
	}
	samples := []reward.Sample{
		{Given: []int32{1, 20, 30}, Written: []int32{40, 50}}, {Given: []int32{1, 20, 30}, Written: []int32{41}},
		{Given: []int32{1, 21}, Written: []int32{40, 50, 60}}, {Given: []int32{1, 20, 30}, Written: []int32{40, 50}},
	}
	alone, _ := open(1)
	var want []float64
	for i := range samples {
		x, err := alone.Score(t.Context(), samples[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, x[0])
	}
	policy := config.Default()
	policy.Threads, policy.Seed = 1, 9
	sc, err := policy.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, trees := range []int{1, 2, 8} {
		judge, sess := open(trees, sc.Sets...)
		got, err := judge.Score(t.Context(), samples)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-5 { // sums in another order
				t.Errorf("%d prompts a pass: answer %d scores %g, alone %g", trees, i, got[i], want[i])
			}
		}
		if len(got) != len(want) || got[0] == got[1] {
			t.Errorf("scores %v: want %d, not all alike", got, len(want))
		}
		if n := len(sess.Params()); n != 2*len(sc.Sets[0].Adapter.Deltas()) {
			t.Errorf("%d tensors are trained, the policy has %d pairs", n, len(sc.Sets[0].Adapter.Deltas()))
		}
	}
	if err := (rewardModels{alone}).use(alone.sess, "another"); err == nil {
		t.Error("a base of another hash is accepted")
	}
	if _, err := alone.Score(t.Context(), []reward.Sample{{Given: []int32{1}}}); err == nil {
		t.Error("an answer without tokens has a score")
	}
}

// TestScorer: answers that come one by one are scored as those of a file are.
func TestScorer(t *testing.T) {
	c := pairConfig(t, "reward")
	c.Dropout, c.Steps, c.EvalSplit, c.EvalEvery = 0, 8, config.Fixed(0.0), config.Fixed(0)
	mustTrain(t, c)
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	text := `{"prompt": "one and one is", "completion": " two"}
{"prompt": "one and one is", "completion": " nine nine"}
{"prompt": "two and two is", "completion": " four"}
`
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Model, cfg.Data, cfg.Threads = c.Model, []string{path}, 1
	want, err := ScoreAnswers(t.Context(), cfg, c.Output, nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenScorer(t.Context(), c.Model, c.Output, 1, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	score := func(prompt string, answers ...data.Answer) []float64 {
		t.Helper()
		got, err := s.Score(t.Context(), &data.Example{Kind: data.KindPrompt, Prompt: prompt}, answers)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := append(score("one and one is", data.Answer{Text: " two"}, data.Answer{Text: " nine nine"}),
		score("two and two is", data.Answer{Text: " four"})...)
	for i, x := range want.Answers {
		if math.Abs(got[i]-x.Score) > 1e-5 { // sums in another order
			t.Errorf("answer %d scores %g, in a file %g", i, got[i], x.Score)
		}
	}
	if cut := score("one and one is", data.Answer{Text: " two", CutOff: true}); cut[0] == got[0] {
		t.Error("an answer that was cut off scores as one with its end")
	}
	var unread *EncodingError
	if _, err := s.Score(t.Context(), &data.Example{}, []data.Answer{{}}); !errors.As(err, &unread) {
		t.Errorf("no answer at all: got %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := OpenScorer(t.Context(), c.Model, t.TempDir(), 1, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "reward model ") {
		t.Errorf("a directory without a run: got %v", err)
	}
}
