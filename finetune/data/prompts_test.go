package data_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/testdata"
)

// TestPrompts: of whatever data the prompts are taken, each once, with their rows.
func TestPrompts(t *testing.T) {
	chat := `[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]`
	for _, c := range []struct {
		name, file, content, format string
		opts                        data.Options
		want                        []string
		row                         string // the first one's
		dropped                     string
	}{
		{name: "alone", file: "a.jsonl", format: "prompts", want: []string{`prompt "one"`, `prompt user "two"`},
			content: `{"prompt": "one", "answer": 4, "id": [1, {"a": null}], "x": NaN}` + "\n" +
				`{"prompt": [{"role": "user", "content": "two"}]}`,
			row: `{"answer":4,"id":[1,{"a":null}],"prompt":"one","x":""}`},
		{name: "with tools", file: "a.json", format: "prompts",
			content: `[{"prompt": [{"from": "human", "value": "Q"}], "tools": [{"name": "f"}], "system": "S"}]`,
			want:    []string{`prompt system "S"; user "Q"; tools [{"name": "f"}]`}},
		{name: "a table", file: "a.csv", format: "prompts", content: "id,prompt,target\n7,one,x\n",
			want: []string{`prompt "one"`}, row: `{"id":"7","prompt":"one","target":"x"}`},
		{name: "under another name", file: "a.jsonl", format: "prompts",
			opts:    data.Options{Columns: map[string]string{"prompt": "problem"}, Ignore: []string{"id"}},
			content: `{"problem": "one", "gold": true, "id": 1}`,
			want:    []string{`prompt "one"`}, row: `{"gold":true,"problem":"one","prompt":"one"}`},
		{name: "empty", file: "a.jsonl", format: "prompts",
			content: `{"prompt": " "}` + "\n" + `{"prompt": []}` + "\n" + `{"prompt": "x"}` + "\n" +
				`{"prompt": [{"role": "user", "content": ""}]}` + "\n" + `{"prompt": ` + chat + `}`,
			want: []string{`prompt "x"`}, dropped: "3 an empty prompt, 1 the prompt ends with an assistant's turn"},
		{name: "lines", file: "a.txt", format: "text", content: "one\n\ntwo\r\n", row: "{}",
			want: []string{`prompt "one"`, `prompt "two"`}},
		{name: "conversations", file: "a.jsonl", format: "messages",
			content: `{"messages": ` + chat + `, "gold": "A"}` + "\n" +
				`{"messages": [{"role": "user", "content": "Q"}]}` + "\n" +
				`{"messages": [{"role": "assistant", "content": "A"}]}`,
			want: []string{`prompt user "Q"`, `prompt user "Q"`}, dropped: "1 no prompt before the answer"},
		{name: "answers to a tool", file: "a.jsonl", format: "messages",
			content: `{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", ` +
				`"tool_calls": [{"name": "f", "arguments": {}}]}, {"role": "tool", "content": "R"}, ` +
				`{"role": "assistant", "content": "A"}]}`,
			want: []string{`prompt user "Q"; assistant "" call f {}; tool "R"`}},
		{name: "questions", file: "a.jsonl", format: "qa", content: `{"question": "Q", "answer": "A"}`,
			want: []string{`prompt user "Q"`}, row: `{"answer":"A","question":"Q"}`},
		{name: "completions", file: "a.jsonl", format: "completion", content: `{"prompt": "P", "completion": ""}`,
			want: []string{`prompt "P"`}},
		{name: "pairs", file: "a.jsonl", format: "preference",
			content: `{"prompt": "P", "chosen": "A", "rejected": "A"}`, want: []string{`prompt "P"`}},
		{name: "verdicts", file: "a.jsonl", format: "kto",
			content: `{"prompt": "P", "completion": "A", "label": false}`, want: []string{`prompt "P"`}},
		{name: "a label that is no verdict", file: "a.jsonl", format: "prompts",
			content: `{"prompt": "P", "label": "4"}`, want: []string{`prompt "P"`}},
		{name: "rated", file: "a.jsonl", format: "rated",
			content: `{"prompt": "P", "answers": [{"text": "x"}, {"text": "y"}], "choice": "tie"}`,
			want:    []string{`prompt "P"`}},
		{name: "a list of answers", file: "a.jsonl", format: "scored",
			content: `{"prompt": "P", "responses": ["a", "b", "c"], "scores": [1, 2, 3]}`,
			want:    []string{`prompt user "P"`}},
		{name: "several instances", file: "a.jsonl", format: "self-instruct",
			content: `{"instruction": "I", "instances": [{"input": "1", "output": "x"}, {"input": "2", "output": ""}]}`,
			want:    []string{"prompt user \"I\\n1\"", "prompt user \"I\\n2\""}},
		{name: "a forced format", file: "a.jsonl", format: "text", opts: data.Options{Format: "text"},
			content: `{"prompt": "P", "text": "T"}`, want: []string{`prompt "T"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opts.Want = data.WantPrompts
			d := open(t, c.opts, write(t, c.file, c.content))
			if diff := cmp.Diff(c.want, all(t, d)); diff != "" || d.Format() != c.format {
				t.Errorf("format %s, want %s\n%s", d.Format(), c.format, diff)
			}
			row, err := d.Row(0)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := json.Marshal(row); err != nil || c.row != "" && string(b) != c.row {
				t.Errorf("the row is %s (%v), want %s", b, err, c.row)
			}
			st := d.Stats()
			var dropped []string
			for _, drop := range st.Dropped {
				dropped = append(dropped, strings.TrimSpace(strings.Join([]string{string(rune('0' + drop.Count)),
					drop.Reason}, " ")))
			}
			if got := strings.Join(dropped, ", "); got != c.dropped || len(st.Unread) > 0 {
				t.Errorf("dropped %q, want %q; unread %v", got, c.dropped, st.Unread)
			}
		})
	}
}

func TestPromptsRefused(t *testing.T) {
	for content, want := range map[string]string{
		`{"foo": "x"}`: `the fields are "foo", which is no known format`,
		`{"question": "Q", "choices": ["a", "b"], "answer": "a"}` + "\n" + `{"foo": 1}`: `the fields are "foo"`,
		`{"prompt": {"a": 1}}`: `field "prompt"`,
		`{"prompt": ""}`:       "no prompt to answer is left of 1 record; dropped 1: an empty prompt (",
	} {
		_, err := data.Open(context.Background(), []string{write(t, "a.jsonl", content)},
			data.Options{Want: data.WantPrompts})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
	path := write(t, "a.jsonl", `{"prompt": "P"}`)
	for _, want := range []data.Want{data.WantAnswers, data.WantPairs, data.WantVerdicts} {
		_, err := data.Open(context.Background(), []string{path}, data.Options{Want: want, Format: "prompts"})
		if err == nil || !strings.Contains(err.Error(), `"prompts" is prompts without answers, and this needs `+
			want.String()) {
			t.Errorf("%v: got %v", want, err)
		}
		if _, err = data.Open(context.Background(), []string{path}, data.Options{Want: want}); err == nil ||
			strings.Contains(err.Error(), "\n  prompts") {
			t.Errorf("%v: got %v", want, err)
		}
	}
	// What has changed since is found.
	d := open(t, data.Options{Want: data.WantPrompts}, path)
	if err := os.WriteFile(path, []byte(`{"prompt": 1, x`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Row(0); err == nil || !strings.Contains(err.Error(), "changed since it was opened") {
		t.Errorf("got %v", err)
	}
}

// TestTaskPrompts: a task of Natural Instructions gives prompts with the right outputs beside them.
func TestTaskPrompts(t *testing.T) {
	path := testdata.Path(t, "instruct/natural-instructions/"+
		"task128_scan_structured_text_generation_command_action_short.json")
	d := open(t, data.Options{Want: data.WantPrompts}, path)
	x, err := d.At(0)
	if err != nil {
		t.Fatal(err)
	}
	row, err := d.Row(0)
	if err != nil {
		t.Fatal(err)
	}
	var input string
	var output []string
	if err := json.Unmarshal(row["input"], &input); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(row["output"], &output); err != nil || len(output) != 1 ||
		!strings.HasPrefix(output[0], "I_") {
		t.Errorf("the outputs are %q (%v)", output, err)
	}
	if d.Len() != 1500 || !strings.HasSuffix(x.Prompt, "input: "+input+"\noutput:") {
		t.Errorf("%d prompts; the first is %q", d.Len(), x.Prompt)
	}
}
