package rate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// brief writes prompts as text: role:content, joined by |, or the literal text.
func brief(p Prompts) []string {
	var out []string
	for _, it := range p.Items {
		s := it.Prompt.Text
		for i, m := range it.Prompt.Messages {
			if i > 0 {
				s += "|"
			}
			s += m.Role + ":" + m.Content
		}
		out = append(out, s)
	}
	return out
}

func TestReadPrompts(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		o                PromptOptions
		want             []string
		dropped          string
	}{
		{"lines", "p.txt", "one\n\ntwo\r\none\n", PromptOptions{}, []string{"user:one", "user:two"},
			"a prompt that came before"},
		{"lines, literal", "p.txt", "one\ntwo", PromptOptions{Raw: true}, []string{"one", "two"}, ""},
		{"limit", "p.txt", "one\ntwo\nthree\n", PromptOptions{Limit: 2}, []string{"user:one", "user:two"}, ""},
		{"system", "p.txt", "one\n", PromptOptions{System: "be brief"}, []string{"system:be brief|user:one"}, ""},
		{"prompt strings", "p.jsonl", `{"prompt": "one", "id": 7}` + "\n\n" + `{"prompt": "two"}`, PromptOptions{},
			[]string{"user:one", "user:two"}, ""},
		{"prompt messages", "p.jsonl",
			`{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "one"}]}`,
			PromptOptions{System: "other"}, []string{"system:s|user:one"}, ""},
		{"messages without an answer", "p.jsonl", `{"messages": [{"role": "user", "content": "one"}]}`, PromptOptions{},
			[]string{"user:one"}, ""},
		{"empty prompts", "p.jsonl", `{"prompt": " "}` + "\n" + `{"prompt": "two"}`, PromptOptions{},
			[]string{"user:two"}, "an empty prompt"},
		{"byte order mark", "p.jsonl", "\xef\xbb\xbf" + `{"prompt": "one"}`, PromptOptions{}, []string{"user:one"}, ""},
		{"conversations", "p.jsonl", `{"messages": [{"role": "user", "content": "a"}, ` +
			`{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, ` +
			`{"role": "assistant", "content": "d"}]}`,
			PromptOptions{}, []string{"user:a|assistant:b|user:c"}, ""},
		{"completions", "p.jsonl", `{"prompt": "one", "completion": "x"}`, PromptOptions{Raw: true}, []string{"one"},
			""},
		{"questions", "p.csv", "question,answer\none,x\ntwo,y\n", PromptOptions{}, []string{"user:one", "user:two"},
			""},
		{"a column of prompts", "p.csv", "id,prompt\n1,one\n2,two\n", PromptOptions{}, []string{"user:one", "user:two"},
			""},
		{"tool calls", "p.jsonl", `{"messages": [{"role": "user", "content": "a"}, ` +
			`{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, ` +
			`{"role": "tool", "content": "r"}, {"role": "assistant", "content": "d"}]}` + "\n" +
			`{"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "d"}]}`, PromptOptions{},
			[]string{"user:b"}, "tool calls"},
		{"pairs, answered anew", "p.jsonl",
			`{"prompt": "raw", "answers": [{"text": "x"}, {"text": "x"}], "choice": "tie"}`, PromptOptions{Fresh: true},
			[]string{"user:raw"}, ""},
		{"pairs to rate", "p.jsonl", `{"prompt": "raw", "answers": [{"text": "x"}, {"text": "y"}]}`, PromptOptions{},
			[]string{"raw"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ReadPrompts(t.Context(), []string{file(t, tt.file, tt.text)}, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := brief(p); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if dropped := len(p.Dropped) > 0; dropped != (tt.dropped != "") || dropped &&
				p.Dropped[0].Reason != tt.dropped {
				t.Errorf("dropped %+v, want %q", p.Dropped, tt.dropped)
			}
		})
	}
}

func TestReadPromptsRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		o                PromptOptions
		want             string
	}{
		{"conversation, literal", "p.jsonl", `{"prompt": [{"role": "user", "content": "a"}]}`, PromptOptions{Raw: true},
			"p.jsonl:1: the prompt is a conversation, and --raw takes literal text"},
		{"a row without", "p.jsonl", `{"prompt": "a"}` + "\n" + `{"text": "b"}`, PromptOptions{},
			`p.jsonl:2: mixed formats: this record is "text"`},
		{"a row that is none", "p.jsonl", `{"prompt": "a"}` + "\n" + `{"prompt": "b"`, PromptOptions{},
			"p.jsonl:2:14: malformed JSON"},
		{"an object", "p.jsonl", `{"prompt": {"text": "a"}}`, PromptOptions{}, `p.jsonl:1: field "prompt"`},
		{"no messages", "p.jsonl", `{"prompt": []}`, PromptOptions{}, "dropped 1: an empty prompt ("},
		{"one answer", "p.jsonl", `{"prompt": "a", "answers": [{"text": "x"}]}`, PromptOptions{},
			`p.jsonl:1: it has 1 "answers", expected 2`},
		{"not UTF-8", "p.jsonl", `{"prompt": "a"}` + "\n{\"prompt\": \"\xff\"}", PromptOptions{},
			"p.jsonl:2: the byte 0xff at offset 28 is not UTF-8"},
		{"all empty", "p.jsonl", `{"prompt": " "}`, PromptOptions{},
			"no prompt to answer is left of 1 record; dropped 1: an empty prompt ("},
		{"all with tools", "p.jsonl", `{"prompt": [{"role": "user", "content": "a"}], "tools": [{"name": "f"}]}`,
			PromptOptions{}, "no prompt to answer is left (1 with tools)"},
		{"unknown fields", "p.jsonl", `{"foo": "a"}`, PromptOptions{}, "no known format"},
		{"an empty file", "p.txt", "", PromptOptions{}, "the file is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ReadPrompts(t.Context(), []string{file(t, tt.file, tt.text)}, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v; want %q", p, err, tt.want)
			}
		})
	}
	if _, err := ReadPrompts(t.Context(), []string{"none.txt"}, PromptOptions{}); err == nil ||
		!strings.Contains(err.Error(), "none.txt: no such file") {
		t.Errorf("no file: %v", err)
	}
}

// FuzzPromptRow: whatever a row holds, what is taken of it asks something.
func FuzzPromptRow(f *testing.F) {
	for _, line := range []string{`{"prompt": "a"}`, `{"prompt": [{"role": "user", "content": "a"}]}`,
		`{"messages": [{"role": "user", "content": "a"}]}`,
		`{"prompt": null}`, `{"prompt": "a", "answers": [{"text": "x"}, null]}`, `{"messages": {}}`, `[]`,
		`{"prompt": " ", "answers": [{"text": "x"}, {"text": "y"}]}`,
		`{"prompt": [null]}`, `{"prompt": "a", "answers": [{"text": "x"}, {"text": "y"}], "choice": "tie"}`} {
		f.Add([]byte(line))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, line []byte) {
		path := filepath.Join(dir, "p.jsonl")
		if err := os.WriteFile(path, line, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, raw := range []bool{false, true} {
			p, err := ReadPrompts(t.Context(), []string{path}, PromptOptions{Raw: raw, System: "s"})
			if err != nil {
				continue
			}
			for _, it := range p.Items {
				last := it.Prompt.Text
				if m := it.Prompt.Messages; m != nil {
					last = m[len(m)-1].Content
				}
				if strings.TrimSpace(last) == "" && it.Answers == nil {
					t.Fatalf("%q gives a blank prompt", line)
				}
			}
		}
	})
}
