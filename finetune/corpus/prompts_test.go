package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
)

// TestHeldPrompts: what is asked of held-out examples, and what is expected, by the kind of example.
func TestHeldPrompts(t *testing.T) {
	chat := func(mask string) func(c *config.Config) {
		return func(c *config.Config) { c.Mask = mask }
	}
	const two = `{"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "ab %[1]d"}, ` +
		`{"role": "assistant", "content": "cd"}, {"role": "user", "content": "ef %[1]d"}, ` +
		`{"role": "assistant", "content": "gh"}]}`
	for _, tc := range []struct {
		name, line            string
		change                func(c *config.Config)
		text, input, expected string // of the first; %d is its number
	}{
		{"conversation", two, chat("assistant"), "ab %d", "[system] be brief|[user] ab %d|[assistant] ", "cd"},
		{"last turn", two, chat("last"), "ef %d", "[user] ef %d|[assistant] ", "gh"},
		{"completion", `{"prompt": "ab %d", "completion": " cd"}`, nil, "ab %d", "ab %d", " cd"},
		{"text", `{"text": "%d is a number, and what a fine one it is"}`, nil, "%d is a", "%d is a", " fine one it is"},
		{"pair", `{"prompt": "ab %d", "chosen": " cd", "rejected": " ef"}`, func(c *config.Config) { c.Method = "dpo" },
			"ab %d", "ab %d", " cd"},
		{"verdict", `{"prompt": "ab %[1]d", "completion": " cd %[1]d", "label": true}`,
			func(c *config.Config) { c.Method = "kto" }, "ab %d", "ab %d", " cd %d"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var lines []string
			for i := range 20 {
				lines = append(lines, fmt.Sprintf(tc.line, i))
			}
			if tc.name == "verdict" { // both kinds are needed
				for i := range lines {
					if i%2 == 1 {
						lines[i] = strings.Replace(lines[i], "true", "false", 1)
					}
				}
			}
			_, rows, err := textOf(t, barTemplate, func(c *config.Config) {
				c.EvalSplit = config.Fixed(0.4)
				if tc.change != nil {
					tc.change(c)
				}
			}, lines...)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows.Prompts) != heldPrompts {
				t.Fatalf("got %d prompts, want %d", len(rows.Prompts), heldPrompts)
			}
			last := -1
			for _, p := range rows.Prompts {
				var line int
				if _, err := fmt.Sscanf(p.Source[strings.LastIndex(p.Source, ":")+1:], "%d", &line); err != nil ||
					line <= last {
					t.Errorf("got an example at %s, want one behind line %d", p.Source, last)
				}
				last = line
				has := func(what, got, want string) {
					t.Helper()
					if strings.Contains(want, "%d") {
						want = fmt.Sprintf(want, line-1)
					}
					if want = strings.TrimSpace(want); !strings.Contains(got, want) || want == "" && got != "" {
						t.Errorf("%s: %s is %q, want %q", p.Source, what, got, want)
					}
				}
				has("the text", p.Text, tc.text)
				has("the input", p.Input, tc.input)
				if tc.name == "verdict" && line%2 == 0 {
					has("what is expected instead of an undesirable answer", p.Expected, "")
				} else {
					has("what is expected", p.Expected, tc.expected)
				}
				if strings.Contains(p.Input, "cd|") && tc.name == "conversation" {
					t.Errorf("the answer stands in the prompt: %q", p.Input)
				}
			}
		})
	}
}

// TestHeldPromptsDiffer: one prompt is asked once, however many examples have it.
func TestHeldPromptsDiffer(t *testing.T) {
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf(`{"prompt": "ab %d", "completion": " cd %d"}`, i%2, i))
	}
	_, rows, err := textOf(t, "", func(c *config.Config) { c.EvalSplit = config.Fixed(0.5) }, lines...)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows.Prompts) != 2 {
		t.Errorf("got %d prompts of 2 that differ: %v", len(rows.Prompts), rows.Prompts)
	}
	if _, rows, err = textOf(t, "", func(c *config.Config) {
		c.EvalSplit, c.SampleEvery = config.Fixed(0.5), config.Fixed(0)
	}, lines...); err != nil || len(rows.Prompts) != 0 {
		t.Errorf("without samples: got %d prompts, %v", len(rows.Prompts), err)
	}
}

// TestAsked: a text, a file of lines, a file of examples; with a template where the data has one.
func TestAsked(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	txt := write("p.txt", "\ufeffone here\n\n  two here  \n")
	examples := write("p.jsonl", `{"prompt": "ab", "completion": " cd"}`)
	r, _, err := textOf(t, barTemplate, nil,
		`{"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Asked(t.Context(), []string{"what now?", txt, examples})
	if err != nil {
		t.Fatal(err)
	}
	var show []string
	for _, p := range got {
		show = append(show, strings.TrimPrefix(p.Source, dir+"/")+" "+p.Text+" "+strings.TrimPrefix(p.Input, "<s>")+" "+
			p.Expected)
	}
	want := []string{" what now?  [user] what now?|[assistant]  ", "p.txt:1 one here  [user] one here|[assistant]  ",
		"p.txt:3 two here  [user] two here|[assistant]  ", "p.jsonl:1 ab  ab  cd"}
	if strings.Join(show, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%q\nwant\n%q", show, want)
	}
	for given, says := range map[string]string{
		"prompts.txt":                 "no file prompts.txt",
		write("empty.txt", "\n\n"):    "no line with a prompt",
		write("bad.txt", "a\xff\n"):   "not UTF-8",
		write("bad.jsonl", `{"a": 1`): "bad.jsonl",
		dir:                           "",
	} {
		if got, err := r.Asked(t.Context(), []string{given}); err == nil || !strings.Contains(err.Error(), says) ||
			!strings.Contains(err.Error(), "--sample-prompts") {
			t.Errorf("%s: got %v, %v, want an error that says %q", given, got, err, says)
		}
	}
	if r, _, err = textOf(t, "", nil, `{"prompt": "ab", "completion": " cd"}`); err != nil {
		t.Fatal(err)
	}
	if got, err = r.Asked(t.Context(), []string{"what now?"}); err != nil || strings.Contains(got[0].Input, "user") {
		t.Errorf("without a template: got %q, %v, want the text as it is", got[0].Input, err)
	}
}
