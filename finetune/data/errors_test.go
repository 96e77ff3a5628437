package data_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestBadInput gives every fault of data its message: the file and line, what was found, what was expected.
func TestBadInput(t *testing.T) {
	ok := `{"text": "one"}` + "\n"
	for _, c := range []struct {
		name, file, content string
		opts                data.Options
		want                []string // all in the message
	}{
		{"empty file", "a.jsonl", "", data.Options{}, []string{"a.jsonl: the file is empty"}},
		{"blank file", "a.txt", " \n\n", data.Options{}, []string{"a.txt: the file is empty"}},
		{"empty list", "a.json", "[]", data.Options{}, []string{"a.json: the file holds no records"}},
		{"header only", "a.csv", "prompt,completion\n", data.Options{}, []string{"a.csv: the file holds no records"}},
		{"all dropped", "a.jsonl", `{"text": ""}`, data.Options{},
			[]string{"the dataset is empty: 1 record,", "dropped 1: empty text", "a.jsonl:1"}},
		{"malformed line", "a.jsonl", ok + `{"text": "two}` + "\n" + ok, data.Options{},
			[]string{"a.jsonl:2:", "malformed JSON"}},
		{"malformed column", "a.jsonl", ok + ok + `{"text" "two"}`, data.Options{},
			[]string{"a.jsonl:3:9: malformed JSON: invalid character '\"' after object key"}},
		{"cut off", "a.jsonl", ok + `{"text": "tw`, data.Options{}, []string{"a.jsonl:2:", "cut off"}},
		{"two objects", "a.jsonl", ok + `{"text": "a"} {"text": "b"}`, data.Options{},
			[]string{"a.jsonl:2:", "one object a line"}},
		{"not an object", "a.jsonl", ok + "[1]", data.Options{},
			[]string{"a.jsonl:2: ", "found a list; expected an object"}},
		{"malformed list", "a.json", "[\n{\"text\": \"one\"},\n{\"text\": two}\n]", data.Options{},
			[]string{"a.json:3:11: malformed JSON"}},
		{"missing comma", "a.json", "[\n{\"text\": \"one\"}\n{\"text\": \"two\"}\n]", data.Options{},
			[]string{"a.json:", "malformed JSON"}},
		{"list cut off", "a.json", "[\n{\"text\": \"one\"},\n{\"text\"", data.Options{},
			[]string{"a.json:", "cut off"}},
		{"after the list", "a.json", "[{\"text\": \"one\"}]\n{}", data.Options{},
			[]string{"a.json:", "after the end of the JSON document"}},
		{"json is text", "a.json", "hello", data.Options{}, []string{"a.json: the name says JSON", "hello"}},
		{"name twice", "a.jsonl", ok + `{"text": "a", "text": "b"}`, data.Options{},
			[]string{"a.jsonl:2: ", `the name "text" appears twice`}},
		{"deep nesting", "a.jsonl", `{"text": "a", "x": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) +
			"}", data.Options{}, []string{"a.jsonl:1:", "max depth"}},
		{"wrong fields", "a.jsonl", `{"foo": 1, "bar": 2}`, data.Options{},
			[]string{`a.jsonl:1: the fields are "foo", "bar"`, "messages ", "natural-instructions", "sharegpt"}},
		{"wrong header", "a.csv", "a,b\n1,2\n", data.Options{}, []string{`a.csv:2: the fields are "a", "b"`}},
		{"mixed rows", "a.jsonl", ok + `{"prompt": "a", "completion": "b"}`, data.Options{},
			[]string{`a.jsonl:2: mixed formats: this record is "completion"`, `"text"`}},
		{"rows of no format", "a.jsonl", ok + `{"foo": "b"}`, data.Options{},
			[]string{`a.jsonl:2: the fields are "foo"`, `"text"`}},
		{"forced", "a.jsonl", ok, data.Options{Format: "alpaca"},
			[]string{`a.jsonl:1: the format "alpaca" was asked for`, `"instruction"`}},
		{"unknown format", "a.jsonl", ok, data.Options{Format: "alpacca"},
			[]string{`unknown data format "alpacca"`, `"alpaca"`}},
		{"invalid UTF-8", "a.jsonl", ok + "{\"text\": \"t\xffwo\"}", data.Options{},
			[]string{"a.jsonl:2: the byte 0xff at offset 27 is not UTF-8"}},
		{"invalid UTF-8 text", "a.txt", "one\ntw\x80", data.Options{}, []string{"a.txt:2: the byte 0x80 at offset 6"}},
		{"UTF-16", "a.txt", "\xff\xfeh\x00i\x00", data.Options{}, []string{"a.txt: the text is UTF-16"}},
		{"UTF-16 without mark", "a.jsonl", "{\x00\"\x00t\x00\"\x00:\x001\x00}\x00", data.Options{},
			[]string{"a.jsonl: the text is UTF-16"}},
		{"long line", "a.jsonl", ok + `{"text": "` + strings.Repeat("x", 2000) + `"}`, data.Options{MaxRecord: 1000},
			[]string{"a.jsonl:2: the line is longer than 1000 bytes"}},
		{"long element", "a.json", `[{"text": "` + strings.Repeat("x", 2000) + `"}]`, data.Options{MaxRecord: 1000},
			[]string{"a.json:1", "longer than 1000 bytes"}},
		{"long object", "a.json", `{"text": "` + strings.Repeat("x", 2000) + "\"\n}", data.Options{MaxRecord: 1000},
			[]string{"a.json:1", "at most 1000"}},
		{"unknown role", "a.jsonl",
			`{"messages": [{"role": "user", "content": "q"}, {"role": "narrator", "content": "a"}]}`, data.Options{},
			[]string{`a.jsonl:1: field "messages", message 2: the role "narrator" is unknown; known: assistant`}},
		{"no role", "a.jsonl", `{"messages": [{"speaker": "user", "content": "q"}]}`, data.Options{},
			[]string{`message 1: found the fields "speaker", "content"; expected "role" and "content"`}},
		{"no assistant", "a.jsonl", `{"messages": [{"role": "user", "content": "q"}]}`, data.Options{},
			[]string{"the dataset is empty", "no assistant turn"}},
		{"messages no list", "a.jsonl", `{"messages": "hi"}`, data.Options{},
			[]string{`field "messages" is a string; expected a list of messages`}},
		{"image", "a.jsonl", `{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}`,
			data.Options{}, []string{`part 1 of the content is of type "image_url"`}},
		{"weight", "a.jsonl", `{"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]}`, data.Options{},
			[]string{"the weight is 0.5", "not supported"}},
		{"call", "a.jsonl", `{"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "x"}]}]}`,
			data.Options{}, []string{"a tool call needs \"name\""}},
		{"sharegpt call", "a.jsonl", `{"conversations": [{"from": "function_call", "value": "f()"}]}`, data.Options{},
			[]string{`a message of role "function_call" holds no call`}},
		{"output a list", "a.jsonl", `{"instruction": "i", "output": ["a"]}`, data.Options{},
			[]string{`a.jsonl:1: field "output" is a list; expected a string`}},
		{"half conversational", "a.jsonl", `{"prompt": "p", "completion": []}`, data.Options{},
			[]string{"expected two strings or two lists of messages"}},
		{"preference", "a.jsonl", `{"prompt": "p", "chosen": "a", "rejected": "b"}`, data.Options{},
			[]string{"found preference data"}},
		{"kto", "a.jsonl", `{"prompt": "p", "completion": "a", "label": true}`, data.Options{},
			[]string{"found preference data"}},
		{"csv cells", "a.csv", "prompt,completion\na,b\na,b,c\n", data.Options{},
			[]string{"a.csv:3: the row has 3 cells, the header 2"}},
		{"csv quote", "a.csv", "prompt,completion\na,\"b\n", data.Options{}, []string{"a.csv:2", "malformed table"}},
		{"csv header", "a.csv", "prompt,prompt\na,b\n", data.Options{},
			[]string{`a.csv:1: the header names the column "prompt" twice`}},
		{"csv long row", "a.csv", "prompt,completion\na,\"" + strings.Repeat("x\n", 100000),
			data.Options{MaxRecord: 1000}, []string{"a row is longer than 1000 bytes"}},
		{"gzip cut off", "a.jsonl.gz", gz(t, ok)[:20], data.Options{}, []string{"a.jsonl.gz: malformed gzip"}},
		{"zstd cut off", "a.jsonl.zst", zst(t, ok)[:12], data.Options{}, []string{"a.jsonl.zst: malformed zstd"}},
		{"gzip bomb", "a.jsonl.gz", gz(t, strings.Repeat("x", 1<<20)), data.Options{MaxInflated: 1 << 16},
			[]string{"expands beyond the limit of 65536 bytes"}},
		{"zstd bomb", "a.jsonl.zst", zst(t, strings.Repeat("x", 1<<20)), data.Options{MaxInflated: 1 << 16},
			[]string{"expands beyond the limit of 65536 bytes"}},
		{"twice compressed", "a.gz", gz(t, gz(t, ok)), data.Options{}, []string{"compressed more than once"}},
		{"parquet in name only", "a.parquet", ok, data.Options{}, []string{"the name says Parquet"}},
		{"malformed parquet", "a.parquet", "PAR1" + strings.Repeat("\xff", 100) + "\x40\x00\x00\x00PAR1",
			data.Options{}, []string{"malformed Parquet"}},
		{"task without output", "a.json", `{"Definition": "d", "Instances": [{"input": "x"}]}`, data.Options{},
			[]string{`the fields are "input"`}},
		{"options", "a.jsonl", ok, data.Options{MaxDocument: 5, MaxRecord: -1},
			[]string{"the longest document is 5 bytes", "must not be negative"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			tmp := t.TempDir()
			c.opts.TempDir, c.opts.InMemory = tmp, 1
			d, err := data.Open(context.Background(), []string{path}, c.opts)
			if err == nil {
				d.Close()
				t.Fatalf("got no error, want one with %q", c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
			if left, _ := os.ReadDir(tmp); len(left) > 0 {
				t.Errorf("temporary files are left: %v", left)
			}
		})
	}
}

func TestBadPaths(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.jsonl")
	if err := os.WriteFile(a, []byte(`{"text": "one"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b, []byte(`{"question": "q", "answer": "a"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{nil, "no data file was named"},
		{[]string{filepath.Join(dir, "missing.jsonl")}, "no such file"},
		{[]string{empty}, "holds no data files"},
		{[]string{a, dir}, "is named twice"},
		{[]string{dir}, `mixed formats: ` + a + ` is "text", ` + b + ` is "qa"`},
		{[]string{os.DevNull}, "not a regular file"},
	} {
		d, err := data.Open(context.Background(), c.paths, data.Options{})
		if err == nil {
			d.Close()
			t.Errorf("%v: got no error, want %q", c.paths, c.want)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.paths, err, c.want)
		}
	}
}

func TestReplaceInvalid(t *testing.T) {
	d := open(t, data.Options{ReplaceInvalid: true}, write(t, "a.jsonl", "{\"text\": \"t\xffwo\"}"))
	if got := all(t, d); len(got) != 1 || got[0] != "text \"t\uFFFDwo\"" {
		t.Errorf("got %q", got)
	}
}
