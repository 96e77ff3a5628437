package corpus

import (
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
)

// TestTaskAnswers: of a share of the prompts the data's answer is known: all that counts of it behind the prompt, with
// its end, and what is longer than an answer may be is cut.
func TestTaskAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, template string
		lines          []string
		want           []string // "" of one that has none
		note           string
	}{
		{"conversations", barTemplate, []string{
			`{"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}]}`,
			`{"messages": [{"role": "user", "content": "ef"}]}`,
		}, []string{"cd|", ""}, "1 of 2 prompts have no answer in the data"},
		{"completions", "", []string{`{"prompt": "ab", "completion": " cd"}`,
			`{"prompt": "ab", "completion": " ` + strings.Repeat("abcdefgh ", 40) + `"}`},
			[]string{" cd</s>", " abcdefgh abcd"}, "1 answer of the data cut to 20 tokens"},
		{"pairs", "", []string{`{"prompt": "ab", "chosen": " cd", "rejected": " ef"}`}, []string{" cd</s>"}, ""},
		{"verdicts", "", []string{`{"prompt": "ab", "completion": " cd", "label": true}`,
			`{"prompt": "ab", "completion": " cd", "label": false}`}, []string{" cd</s>", ""}, "1 of 2 prompts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, rows, err := textOf(t, tc.template, func(c *config.Config) {
				c.Method, c.EvalSplit, c.Lmbda, c.MaxCompletion = "gkd", config.Fixed(0.0), 0.5, 20
			}, tc.lines...)
			if err != nil {
				t.Fatal(err)
			}
			r, _, err := textOf(t, tc.template, nil, tc.lines[0])
			if r == nil {
				t.Fatal(err)
			}
			for i, want := range tc.want {
				got := ""
				if a := rows.Tasks[i].Answer; a != nil {
					if got, err = r.text.vocab.Decode(a, true); err != nil {
						t.Fatal(err)
					}
				}
				if !strings.HasPrefix(got, want) || (want == "") != (got == "") || len(rows.Tasks[i].Answer) > 20 {
					t.Errorf("%s: the answer is %q, want %q", rows.Tasks[i].Source, got, want)
				}
			}
			if notes := strings.Join(rows.Notes, "\n"); !strings.Contains(notes, tc.note) {
				t.Errorf("notes: %s", notes)
			}
		})
	}
	_, _, err := textOf(t, "", func(c *config.Config) { c.Method, c.Lmbda = "gkd", 0.5 }, `{"prompt": "ab"}`)
	if err == nil || !strings.Contains(err.Error(), "--lmbda is 0.5, and the data has no answer") {
		t.Errorf("without answers: %v", err)
	}
	_, rows, err := textOf(t, "", func(c *config.Config) { c.Method = "gkd" }, `{"prompt": "ab", "completion": " c"}`)
	if err != nil || rows.Tasks[0].Answer != nil {
		t.Errorf("where nobody asks: %v", err)
	}
}
