package data_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/ggtune/ggtune/finetune/data"
)

// write puts content into a file of a temporary directory and gives its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, opts data.Options, paths ...string) *data.Dataset {
	t.Helper()
	d, err := data.Open(context.Background(), paths, opts)
	if err != nil {
		t.Fatal(err)
	}
	tried[d.Format()] = true
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// brief writes an example without its place, for comparison.
func brief(e data.Example) string {
	switch e.Kind {
	case data.KindGroup:
		s := fmt.Sprintf("%q and %q", e.Texts[0], e.Texts[1])
		if len(e.Texts) > 2 {
			s += fmt.Sprintf(" not %s", strings.Trim(fmt.Sprintf("%q", e.Texts[2:]), "[]"))
		}
		return s
	case data.KindLikeness:
		return fmt.Sprintf("%q and %q: %g", e.Texts[0], e.Texts[1], e.Score)
	case data.KindText:
		s := fmt.Sprintf("text %q", e.Text)
		if e.Continues {
			s = "…" + s
		}
		if e.Continued {
			s += "…"
		}
		return s
	case data.KindCompletion:
		return fmt.Sprintf("completion %q %q", e.Prompt, e.Completion)
	case data.KindPair, data.KindVerdict:
		return briefChoice(e)
	case data.KindPrompt:
		if e.Messages == nil {
			return fmt.Sprintf("prompt %q", e.Prompt)
		}
		return "prompt " + briefMessages(e.Messages, e.Tools)
	}
	return briefMessages(e.Messages, e.Tools)
}

// briefChoice writes a prompt and its answers: the chosen one behind +, the rejected one behind -.
func briefChoice(e data.Example) string {
	s := fmt.Sprintf("%q", e.Prompt)
	if e.Answers[0].Messages != nil {
		s = briefMessages(e.Messages, e.Tools)
	}
	for i, a := range e.Answers {
		mark := " + "
		if i > 0 || e.Kind == data.KindVerdict && !e.Desirable {
			mark = " - "
		}
		s += mark
		if a.Messages != nil {
			s += briefMessages(a.Messages, nil)
		} else {
			s += fmt.Sprintf("%q", a.Text)
		}
	}
	return s
}

func briefMessages(messages []data.Message, tools []byte) string {
	var b strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&b, "%s %q", m.Role, m.Content)
		if m.Reasoning != "" {
			fmt.Fprintf(&b, " reasoning %q", m.Reasoning)
		}
		for _, c := range m.ToolCalls {
			fmt.Fprintf(&b, " call %s%s %s", c.Name, c.ID, c.Arguments)
		}
		if m.Name+m.ToolCallID != "" {
			fmt.Fprintf(&b, " name %s id %s", m.Name, m.ToolCallID)
		}
		if m.Train != nil {
			fmt.Fprintf(&b, " train %v", *m.Train)
		}
		b.WriteString("; ")
	}
	if tools != nil {
		fmt.Fprintf(&b, "tools %s", tools)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func all(t testing.TB, d *data.Dataset) []string {
	t.Helper()
	var out []string
	for i := range d.Len() {
		e, err := d.At(i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, brief(e))
	}
	return out
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name, file, content, format string
		want                        []string
		opts                        data.Options
	}{
		{name: "messages", file: "a.jsonl", format: "messages",
			content: `{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}, ` +
				`{"role": "assistant", "content": "A"}], "extra": 1}` + "\n" +
				`{"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}, ` +
				`{"type": "text", "value": "2"}]}, {"role": "assistant", "content": "A", "weight": 0}, ` +
				`{"role": "assistant", "content": "B", "loss_weight": 1.0}]}`,
			want: []string{`system "S"; user "Q"; assistant "A"`,
				`user "Q2"; assistant "A" train false; assistant "B" train true`}},
		{name: "tools", file: "a.jsonl", format: "messages",
			content: `{"tools": "[{\"type\": \"function\"}]", "messages": [{"role": "user", "content": "Q"}, ` +
				`{"role": "assistant", "content": null, "tool_calls": [{"id": "x1", "type": "function", "function": ` +
				`{"name": "f", "arguments": "{\"a\": 1}"}}]}, ` +
				`{"role": "tool", "tool_call_id": "x1", "name": "f", "content": "7"}, ` +
				`{"role": "assistant", "content": "7", "reasoning_content": "hm"}]}`,
			want: []string{`user "Q"; assistant "" call fx1 "{\"a\": 1}"; tool "7" name f id x1; assistant "7" ` +
				`reasoning "hm"; tools [{"type": "function"}]`}},
		{name: "parts", file: "a.jsonl", format: "messages",
			content: `{"messages": [{"role": "user", "content": "Q"}, ` +
				`{"role": "assistant", "content": [{"type": "reasoning", "value": "R"}, ` +
				`{"type": "tool_call", "value": "{\"name\": \"f\", \"arguments\": {\"a\": 1}}"}]}]}`,
			want: []string{`user "Q"; assistant "" reasoning "R" call f {"a": 1}`}},
		{name: "sharegpt", file: "a.json", format: "sharegpt",
			content: `[{"conversations": [{"from": "human", "value": "Q"}, ` +
				`{"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}"}, ` +
				`{"from": "observation", "value": "7"}, {"from": "gpt", "value": "A"}], "system": "S", "tools": "[]"}]`,
			want: []string{`system "S"; user "Q"; assistant "" call f {}; tool "7"; assistant "A"`}},
		{name: "alpaca", file: "a.json", format: "alpaca",
			content: `[{"instruction": "I", "input": "", "output": "O"}, ` +
				`{"instruction": "I", "input": "X", "output": 4, "system": "S", "history": [["a", "b"]]}]`,
			want: []string{`user "I"; assistant "O"`,
				`system "S"; user "a"; assistant "b"; user "I\nX"; assistant "4"`}},
		{name: "dolly", file: "a.jsonl", format: "alpaca",
			content: `{"instruction": "I", "context": "C", "response": "R", "category": "x"}`,
			want:    []string{`user "I\nC"; assistant "R"`}},
		{name: "completion", file: "a.jsonl", format: "completion", content: `{"prompt": "P ", "completion": "C"}`,
			want: []string{`completion "P " "C"`}},
		{name: "completion of messages", file: "a.jsonl", format: "completion",
			content: `{"prompt": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}, ` +
				`{"role": "user", "content": "R"}], "completion": [{"role": "assistant", "content": "B"}]}`,
			want: []string{`user "Q" train false; assistant "A" train false; user "R" train false; assistant "B"`}},
		{name: "qa", file: "a.jsonl", format: "qa", content: `{"question": "Q", "answer": "A"}` + "\r\n\r\n" +
			`{"question": "Q2", "answer": "A2"}` + "\r\n",
			want: []string{`user "Q"; assistant "A"`, `user "Q2"; assistant "A2"`}},
		{name: "self-instruct", file: "a.jsonl", format: "self-instruct",
			content: `{"instruction": "I", "instances": [{"input": "", "output": "O"}, {"input": "X", "output": "P"}]}`,
			want:    []string{`user "I"; assistant "O"`, `user "I\nX"; assistant "P"`}},
		{name: "text rows", file: "a.jsonl", format: "text",
			content: `{"text": "one"}` + "\n" + `{"text": "two\u0000"}`,
			want:    []string{`text "one"`, `text "two\x00"`}},
		{name: "list of strings", file: "a.json", format: "text", content: `["one", "two"]`,
			want: []string{`text "one"`, `text "two"`}},
		{name: "renamed", file: "a.json", format: "text", content: `[{"title": "t", "content": "c"}]`,
			opts: data.Options{Columns: map[string]string{"text": "content"}}, want: []string{`text "c"`}},
		{name: "plain file", file: "a.txt", format: "text", content: "one\r\n\r\ntwo\r\n",
			want: []string{`text "one\n\ntwo\n"`}},
		{name: "no suffix", file: "a", format: "text", content: "one\ntwo", want: []string{`text "one\ntwo"`}},
		{name: "end of text", file: "a.txt", format: "text",
			content: "one\n<|endoftext|>\ntwo\n\nmore\n<|endoftext|>\n",
			want:    []string{`text "one"`, `text "two\n\nmore"`}},
		{name: "paragraphs", file: "a.md", format: "text", content: "one\n\n\n\ntwo\nmore\r\n\r\nthree\n",
			opts: data.Options{Split: "paragraph"}, want: []string{`text "one"`, `text "two\nmore"`, `text "three"`}},
		{name: "lines", file: "a.txt", format: "text", content: "one\n\ntwo", opts: data.Options{Split: "line"},
			want: []string{`text "one"`, `text "two"`}},
		{name: "separator", file: "a.txt", format: "text", content: "one===two", opts: data.Options{Split: "==="},
			want: []string{`text "one"`, `text "two"`}},
		{name: "csv", file: "a.csv", format: "alpaca",
			content: "\xef\xbb\xbfinstruction,input,output\r\nI,\"x, y\",\"a \"\"b\"\"\nc\"\r\nJ,,O\r\n",
			want:    []string{`user "I\nx, y"; assistant "a \"b\"\nc"`, `user "J"; assistant "O"`}},
		{name: "csv with lists", file: "a.csv", format: "messages",
			content: "messages\n" +
				`"[{""role"": ""user"", ""content"": ""Q""}, {""role"": ""assistant"", ""content"": ""A""}]"` + "\n",
			want: []string{`user "Q"; assistant "A"`}},
		{name: "tsv", file: "a.tsv", format: "qa", content: "question\tanswer\nQ \"x\"\tA\n",
			want: []string{`user "Q \"x\""; assistant "A"`}},
		{name: "csv by content", file: "a.txt", format: "completion", content: "prompt,completion\nP,C\n",
			want: []string{`completion "P" "C"`}},
		{name: "rows in an object", file: "a.json", format: "text",
			content: `{"version": 1, "data": [{"text": "one"}], "more": {}}`, want: []string{`text "one"`}},
		{name: "one object", file: "a.json", format: "text", content: "\n{\n \"text\":\n \"one\"\n}\n",
			want: []string{`text "one"`}},
		{name: "jsonl named json", file: "a.json", format: "text",
			content: `{"text": "one"}` + "\n" + `{"text": "two"}`, want: []string{`text "one"`, `text "two"`}},
		{name: "jsonl named txt", file: "a.txt", format: "text", content: `{"text": "one"}` + "\n" + `{"text": "two"}`,
			want: []string{`text "one"`, `text "two"`}},
		{name: "no newline at the end", file: "a.jsonl", format: "text", content: `{"text": "one"}`,
			want: []string{`text "one"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, c.opts, write(t, c.file, c.content))
			if d.Format() != c.format {
				t.Errorf("got format %q, want %q", d.Format(), c.format)
			}
			if diff := cmp.Diff(c.want, all(t, d)); diff != "" {
				t.Errorf("examples (-want +got):\n%s", diff)
			}
		})
	}
}

const task = `{"Definition": ["Add."], "Prompt": "-", "Instances": [{"id": "1", "input": "1+1", "output": ["2", "two"]},
 {"input": "2+2", "output": "4"}], "Positive Examples": [{"input": "3+3", "output": "6", "explanation": "three and three"}, {"input": "4+4", "output": "8"}],
 "Negative Examples": [{"input": "5+5", "output": "11", "explanation": "too many"}]}`

func TestInstructions(t *testing.T) {
	head := "Definition: Add.\n\n"
	pos1 := "Positive Example 1-\ninput: 3+3\noutput: 6\nexplanation: three and three\n\n"
	pos2 := "Positive Example 2-\ninput: 4+4\noutput: 8\n\n"
	neg := "Negative Example 1-\ninput: 5+5\noutput: 11\nexplanation: too many\n\n"
	x := "input: 1+1\noutput:"
	for _, c := range []struct {
		name string
		opts data.InstructionOptions
		want string
	}{
		{"default", data.InstructionOptions{}, fmt.Sprintf("completion %q %q", head+pos1+pos2+x, " 2")},
		{"none", data.InstructionOptions{Examples: -1}, fmt.Sprintf("completion %q %q", head+x, " 2")},
		{"negative", data.InstructionOptions{Examples: 1, Negative: 3},
			fmt.Sprintf("completion %q %q", head+neg+pos1+x, " 2")},
		{"examples only", data.InstructionOptions{Examples: 1, NoDefinition: true},
			fmt.Sprintf("completion %q %q", pos1+x, " 2")},
		{"chat", data.InstructionOptions{Examples: -1, Chat: true}, fmt.Sprintf("user %q; assistant %q", head+x, "2")},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, data.Options{Instructions: c.opts}, write(t, "task.json", task))
			if got := all(t, d); len(got) != 2 || got[0] != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	d := open(t, data.Options{}, write(t, "task.json", task))
	if e, err := d.At(1); err != nil || e.Source.Line != 2 {
		t.Errorf("got the second instance at line %d (%v), want 2", e.Source.Line, err)
	}
}

func gz(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zst(t testing.TB, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(s), nil))
}

func TestCompressed(t *testing.T) {
	const rows = `{"text": "one"}` + "\n" + `{"text": "two"}` + "\n"
	plain := open(t, data.Options{}, write(t, "a.jsonl", rows))
	for name, content := range map[string]string{"a.jsonl.gz": gz(t, rows), "a.jsonl.zst": zst(t, rows),
		"wrong-name.jsonl": gz(t, rows)} {
		for _, mem := range []int{0, 1} { // in memory, and through a temporary file
			dir := t.TempDir()
			d := open(t, data.Options{InMemory: mem, TempDir: dir}, write(t, name, content))
			if diff := cmp.Diff([]string{`text "one"`, `text "two"`}, all(t, d)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if d.SHA256() != plain.SHA256() {
				t.Errorf("%s: the hash differs from that of the plain file", name)
			}
			if left, _ := os.ReadDir(dir); (len(left) == 1) != (mem == 1) {
				t.Errorf("%s, %d bytes in memory: %d temporary files while open", name, mem, len(left))
			}
			d.Close()
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%s: temporary files are left after Close", name)
			}
		}
	}
	csv := open(t, data.Options{}, write(t, "a.csv.gz", gz(t, "prompt,completion\nP,C\n")))
	if diff := cmp.Diff([]string{`completion "P" "C"`}, all(t, csv)); diff != "" {
		t.Error(diff)
	}
}

type parquetMessage struct {
	Role    string `parquet:"role"`
	Content string `parquet:"content"`
}

type parquetRow struct {
	ID       int64            `parquet:"id"`
	Messages []parquetMessage `parquet:"messages,list"`
	Note     *string          `parquet:"note,optional"`
}

func parquetFile[T any](t testing.TB, rows []T) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestParquet(t *testing.T) {
	var rows []parquetRow
	var want []string
	for i := range 200 {
		q := fmt.Sprintf("Q%d größer", i)
		rows = append(rows, parquetRow{ID: int64(i), Messages: []parquetMessage{{"user", q}, {"assistant", "A"}}})
		want = append(want, fmt.Sprintf("user %q; assistant %q", q, "A"))
	}
	content := parquetFile(t, rows)
	d := open(t, data.Options{}, write(t, "a.parquet", content))
	if diff := cmp.Diff(want, all(t, d)); diff != "" {
		t.Errorf("examples (-want +got):\n%s", diff)
	}
	if e, _ := d.At(7); e.Source.Line != 8 {
		t.Errorf("got row number %d, want 8", e.Source.Line)
	}
	type flat struct {
		Prompt     string `parquet:"prompt"`
		Completion []byte `parquet:"completion"`
	}
	d = open(t, data.Options{}, write(t, "b.bin", parquetFile(t, []flat{{"P", []byte("C")}})))
	if diff := cmp.Diff([]string{`completion "P" "C"`}, all(t, d)); diff != "" {
		t.Error(diff)
	}
	_, err := data.Open(context.Background(), []string{write(t, "a.parquet", content)}, data.Options{MaxInflated: 100})
	if err == nil || !strings.Contains(err.Error(), "expands beyond the limit of 100 bytes") {
		t.Errorf("got %v, want an error about the limit", err)
	}
	for _, cut := range []int{5, 20, len(content) / 2, len(content) - 1} {
		if _, err := data.Open(context.Background(), []string{write(t, "a.parquet", content[:cut])},
			data.Options{}); err == nil {
			t.Errorf("cut off at %d bytes: got no error", cut)
		}
	}
}

// TestLongDocument cuts a document into pieces that give the text again when put together.
func TestLongDocument(t *testing.T) {
	var b strings.Builder
	for i := range 400 {
		fmt.Fprintf(&b, "Line %d of größe ", i)
		switch {
		case i%7 == 0:
			b.WriteString("\n\n")
		case i%3 == 0:
			b.WriteString("\n")
		}
	}
	b.WriteString(strings.Repeat("ü", 2000)) // without a place to cut
	for _, split := range []string{"file", "===", "auto"} {
		d := open(t, data.Options{MaxDocument: 1024, Split: split}, write(t, "a.txt", b.String()))
		var got strings.Builder
		for i := range d.Len() {
			e, err := d.At(i)
			if err != nil {
				t.Fatal(err)
			}
			if len(e.Text) > 1024 || e.Continues != (i > 0) || e.Continued != (i < d.Len()-1) {
				t.Errorf("piece %d of %d: %d bytes, continues %v, continued %v", i, d.Len(), len(e.Text), e.Continues,
					e.Continued)
			}
			got.WriteString(e.Text)
		}
		if got.String() != b.String() {
			t.Errorf("split %q: the pieces do not give the document again", split)
		}
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.jsonl": `{"text": "two"}`, "a.jsonl.gz": gz(t, `{"text": "one"}`), "c.txt": "three", ".hidden.jsonl": "{",
		"notes.pdf": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, data.Options{}, dir)
	if diff := cmp.Diff([]string{`text "one"`, `text "two"`, `text "three"`}, all(t, d)); diff != "" {
		t.Error(diff)
	}
	if st := d.Stats(); st.Files != 3 || st.Records != 3 {
		t.Errorf("got %+v, want 3 files and 3 records", st)
	}
}

func TestDropped(t *testing.T) {
	rows := `{"instruction": "I", "output": "O"}
{"instruction": "I", "output": " "}
{"instruction": "I", "output": null}
{"instruction": "J", "output": "P"}
`
	path := write(t, "a.jsonl", rows)
	d := open(t, data.Options{}, path)
	want := data.Stats{Files: 1, Records: 4, Read: 4, Kept: 2,
		Dropped: []data.Drop{{Reason: "empty assistant turn", Count: 2, First: []string{path + ":2", path + ":3"}}}}
	if diff := cmp.Diff(want, d.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`user "I"; assistant "O"`, `user "J"; assistant "P"`}, all(t, d)); diff != "" {
		t.Error(diff)
	}
	if s := d.Source(1); s.Line != 4 {
		t.Errorf("got line %d, want 4", s.Line)
	}
	_, err := data.Open(context.Background(), []string{path}, data.Options{Strict: true})
	if err == nil || !strings.Contains(err.Error(), path+":2: empty assistant turn") {
		t.Errorf("strict: got %v", err)
	}
}

func TestChangedFile(t *testing.T) {
	path := write(t, "a.jsonl", `{"text": "one"}`+"\n"+`{"text": "two"}`+"\n")
	d := open(t, data.Options{}, path)
	if err := os.WriteFile(path, []byte(`{"text": "one"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := d.At(1); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v, want an error that the data has changed", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := data.Open(ctx, []string{write(t, "a.jsonl", `{"text": "one"}`)}, data.Options{}); !errors.Is(err,
		stop) {
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
}
