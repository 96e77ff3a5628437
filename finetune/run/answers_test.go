package run

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/match"
	"github.com/ggtune/ggtune/finetune/report"
)

// quiz is a configuration with a model and a file of the given lines.
func quiz(t *testing.T, lines ...string) config.Config {
	t.Helper()
	c := config.Default()
	spec := synth.Tiny("llama", gguf.F32)
	spec.Tokenizer = synth.SmolLM
	c.Model, c.Threads = synth.Temp(t, spec), 1
	path := filepath.Join(t.TempDir(), "quiz.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	c.Data = []string{path}
	return c
}

// TestChoicesAgainstLlama: the log-probabilities of choices are those that llama.cpp gives for them one by one, with
// the tokens parted as lm-evaluation-harness parts them: those of question and choice together, behind those of the
// question alone.
func TestChoicesAgainstLlama(t *testing.T) {
	c := quiz(t, `{"question": "The sky is", "choices": ["blue", "made of green cheese", "up"], "answer": "A"}`,
		`{"sentence": "Ann paid Bea because _ was poor.", "option1": "Ann", "option2": "Bea", "answer": "2"}`)
	c.Exact = true // llama.cpp computes an f32 model in f32
	text, err := os.ReadFile(c.Data[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, parts := range [][][2]string{
		{{"The sky is", " blue"}, {"The sky is", " made of green cheese"}, {"The sky is", " up"}},
		{{"Ann paid Bea because Ann", " was poor."}, {"Ann paid Bea because Bea", " was poor."}},
	} {
		if err := os.WriteFile(c.Data[0], []byte(strings.Split(string(text), "\n")[i]), 0o666); err != nil {
			t.Fatal(err)
		}
		var got ChoiceOf
		a, err := EvaluateChoices(t.Context(), c, "", nil, false, report.Silent{},
			func(x ChoiceOf) error { got = x; return nil })
		if err != nil {
			t.Fatal(err)
		}
		best := 0
		for k, p := range parts {
			want := llamaLogP(t, c.Model, p[0], p[1])
			// Measured: 2e-5 of 139.
			if math.Abs(got.LogP[k]-want) > 1e-3 {
				t.Errorf("%q: got %g, llama.cpp %g", p, got.LogP[k], want)
			}
			if got.LogP[k] > got.LogP[best] {
				best = k
			}
		}
		if got.Choice != best || a.Questions != 1 || a.Scores[0].Share.Value != is(best == got.Right) ||
			a.Scores[0].Base != nil {
			t.Errorf("got %+v and %+v", got, a)
		}
	}
}

// llamaLogP is llama.cpp's log-probability of a continuation.
func llamaLogP(t *testing.T, model, context, continuation string) float64 {
	t.Helper()
	m, err := verify.OpenModel(model, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	encode := func(s string) []int32 {
		tokens, err := m.Vocab().Encode(s, true, false)
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	whole, given := encode(context+continuation), encode(context)
	x, err := m.NewContext(llama.VerifyContextOptions(len(whole)+1, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	all := make([]int, len(whole))
	for i := range all {
		all[i] = i
	}
	logits, err := x.Logits(t.Context(), whole, all)
	if err != nil {
		t.Fatal(err)
	}
	vocab := len(logits) / len(whole)
	sum := 0.0
	for i := len(given); i < len(whole); i++ {
		row := logits[(i-1)*vocab : i*vocab]
		z := 0.0
		for _, v := range row {
			z += math.Exp(float64(v))
		}
		sum += float64(row[whole[i]]) - math.Log(z)
	}
	return sum
}

// TestChoicesTuned: an adapter that was trained to give an answer gives it, and the base is measured beside it.
func TestChoicesTuned(t *testing.T) {
	var questions, lessons []string
	for i := range 12 {
		q := fmt.Sprintf("What is number %d?", i)
		questions = append(questions,
			fmt.Sprintf(`{"question": %q, "choices": ["odd", "even", "round"], "answer": %d}`, q, i%2))
		lessons = append(lessons, fmt.Sprintf(`{"prompt": %q, "completion": %q}`, q, []string{" odd", " even"}[i%2]))
	}
	c := quiz(t, questions...)
	lc := c
	lc.Data = []string{filepath.Join(t.TempDir(), "lessons.jsonl")}
	if err := os.WriteFile(lc.Data[0], []byte(strings.Join(lessons, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	lc.Output, lc.LR, lc.Steps, lc.Accum = filepath.Join(t.TempDir(), "run"), config.Fixed(0.02), 60, config.Fixed(12)
	lc.SeqLen = 28 // too short for some of the questions, which are measured nevertheless
	mustTrain(t, lc)
	n := 0
	a, err := EvaluateChoices(t.Context(), c, lc.Output, nil, false, report.Silent{}, func(x ChoiceOf) error {
		n++
		if x.Base == nil {
			t.Error("no word of the base")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	acc := a.Scores[0]
	if n != 12 || acc.Name != "acc" || acc.Base == nil || acc.Share.Value < 0.9 || acc.Base.Value > 0.7 ||
		math.Abs(acc.Change.Value-(acc.Share.Value-acc.Base.Value)) > 1e-12 {
		t.Errorf("of %d questions got %+v", n, acc)
	}
	c.EvalRows = 5
	if a, err := EvaluateChoices(t.Context(), c, "", nil, false, report.Silent{}, nil); err != nil || a.Questions != 5 {
		t.Errorf("got %d questions (%v), want a sample of 5", a.Questions, err)
	}

	// The same adapter writes the answers.
	c.Data, c.EvalRows = lc.Data, 0
	way, err := match.New("exact", "")
	if err != nil {
		t.Fatal(err)
	}
	mc := MatchConfig{Match: way, Samples: 1, Predict: 8, Sampling: llama.Greedy()}
	a, err = EvaluateMatch(t.Context(), c, lc.Output, nil, mc, report.Silent{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	em := a.Scores[0]
	if len(a.Scores) != 1 || em.Name != "exact_match" || em.Share.Value < 0.9 || em.Base == nil || em.Base.Value != 0 {
		t.Errorf("got %+v", a.Scores)
	}
	mc.Samples, mc.Sampling.Temp = 3, 0.8
	var answers [2]map[string]bool
	for i := range answers {
		answers[i] = map[string]bool{}
		if a, err = EvaluateMatch(t.Context(), c, "", nil, mc, report.Silent{}, func(x AnswerOf) error {
			for k, s := range x.Answers {
				answers[i][fmt.Sprintf("%s %d %s", x.Source, k, s)] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.Scores) != 3 || a.Scores[0].Name != "pass@1" || a.Scores[1].Name != "pass@2" ||
		a.Scores[2].Name != "pass@3" {
		t.Errorf("got %+v", a.Scores)
	}
	for s := range answers[0] {
		if !answers[1][s] {
			t.Errorf("the same seed gave other answers: %s", s)
		}
	}
}
