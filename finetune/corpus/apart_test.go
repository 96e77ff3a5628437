package corpus

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
)

// TestTextsApart: each text is a root with what the model expects around it, behind its prefix, and cut to a row.
func TestTextsApart(t *testing.T) {
	s, r, err := textFor(t, method.MNRL, "", func(c *config.Config) {
		c.QueryPrefix, c.DocumentPrefix, c.SeqLen, c.EvalSplit = "q:", "d:", 8, config.Fixed(0.0)
	}, `{"anchor": "ab", "positive": "cd", "negative": "ef"}`, `{"anchor": "abcdefghijk", "positive": "cd"}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"[<s>][ ][q][:][a][b]", "[<s>][ ][d][:][c][d]", "[<s>][ ][d][:][e][f]"},
		{"[<s>][ ][q][:][a][b][c][d]", "[<s>][ ][d][:][c][d]"}} {
		if got := branches(s, &r.Train.Items[i]); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if c := r.Train.Counts; c.Truncated != 1 || c.Tokens != 18+14 {
		t.Errorf("%+v", c)
	}
	// A row holds an example whole, however many texts it has.
	if n, _ := r.TrainRows.Longest(); n != 18 || r.StepsPerEpoch() != 1 {
		t.Errorf("rows of %d tokens, %d steps", n, r.StepsPerEpoch())
	}
}

// TestViews: a text is there twice, as a document, and is held out with those equal to it.
func TestViews(t *testing.T) {
	s, r, err := textFor(t, method.SimCSE, "", func(c *config.Config) {
		c.QueryPrefix, c.DocumentPrefix, c.SeqLen, c.EvalSplit = "q:", "d:", 8, config.Fixed(0.34)
	}, `{"text": "ab"}`, `{"text": "cd"}`, `{"text": "ef"}`, `{"text": "ab"}`, `{"text": "cd"}`, `{"text": "ef"}`)
	if err != nil {
		t.Fatal(err)
	}
	train, held := branches(s, &r.Train.Items[0]), branches(s, &r.Held.Items[0])
	if len(train) != 2 || train[0] != train[1] || !strings.HasPrefix(train[0], "[<s>][ ][d][:]") ||
		train[0] == held[0] || len(r.Train.Items) != 4 || len(r.Held.Items) != 2 {
		t.Errorf("trained on %q of %d, held out %q of %d", train, len(r.Train.Items), held, len(r.Held.Items))
	}
}

// TestTextsUnsuited: what the method cannot learn from is refused by its place.
func TestTextsUnsuited(t *testing.T) {
	for name, c := range map[string]struct {
		how   *method.Method
		fault string
		lines []string
		with  func(c *config.Config)
	}{
		"one example": {method.MNRL, "there is one example", []string{`{"anchor": "a", "positive": "b"}`}, nil},
		"one text": {method.SimCSE, "--method simcse sets each beside others; give more; of a plain text file each",
			[]string{`{"text": "a"}`}, nil},
		"equal texts": {method.SimCSE, "every text (2 examples) is the same text, cut to 8 tokens",
			[]string{`{"text": "abcdefghi"}`, `{"text": "abcdefghk"}`}, func(c *config.Config) { c.SeqLen = 8 }},
		"empty texts": {method.SimCSE, "dropped 2: empty text", []string{`{"text": ""}`, `{"text": " "}`}, nil},
		"no texts": {method.SimCSE, "data.jsonl:1: the example is of completion (format",
			[]string{`{"prompt": "a", "completion": "b"}`, `{"prompt": "a", "completion": "b"}`}, nil},
		"pairs for one text": {method.SimCSE, "to read one of the fields as plain text, say which",
			[]string{`{"anchor": "a", "positive": "b"}`}, nil},
		"no negative": {method.Triplet, "data.jsonl:2: the example has no negative",
			[]string{`{"anchor": "a", "positive": "b", "negative": "c"}`, `{"anchor": "a", "positive": "b"}`}, nil},
		"a score out of range": {method.Cosine, "data.jsonl:1: the score is 3.5, and --method cosine expects −1 to 1",
			[]string{`{"text1": "a", "text2": "b", "score": 3.5}`}, nil},
		"half alike": {method.Contrastive, "expects 1 (alike) or 0",
			[]string{`{"text1": "a", "text2": "b", "score": 0.5}`}, nil},
		"equal scores": {method.CoSENT, "every score (2 examples) is 1",
			[]string{`{"text1": "a", "text2": "b", "score": 1}`, `{"text1": "c", "text2": "d", "score": 1}`}, nil},
		"steps of one": {method.MNRL, "--step-examples is 1",
			[]string{`{"anchor": "a", "positive": "b"}`, `{"anchor": "c", "positive": "d"}`},
			func(c *config.Config) { c.StepExamples = 1 }},
		"long, refused": {method.MNRL, "longer than a row of 8",
			[]string{`{"anchor": "abcdefghijkl", "positive": "b"}`, `{"anchor": "c", "positive": "d"}`},
			func(c *config.Config) { c.SeqLen, c.OnLong = 8, "refuse" }},
	} {
		_, _, err := textFor(t, c.how, "", func(cfg *config.Config) {
			cfg.EvalSplit = config.Fixed(0.0)
			if c.with != nil {
				c.with(cfg)
			}
		}, c.lines...)
		if err == nil || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}
