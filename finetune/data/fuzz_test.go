package data_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
)

// readAll opens data in dir under small limits and reads every example. Whatever the data, it must not panic, what it
// opens must read again, and a piece of a text must not be longer than asked. dir is used again and again: to make one
// for each input takes longer than all else.
func readAll(t *testing.T, dir, name string, content []byte, opts data.Options) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	opts.MaxRecord, opts.MaxInflated, opts.MaxDocument, opts.TempDir = 1<<16, 1<<20, 1024, dir
	d, err := data.Open(context.Background(), []string{path}, opts)
	if err != nil {
		if err.Error() == "" {
			t.Error("an error without a message")
		}
		return
	}
	defer d.Close()
	for i := range d.Len() {
		e, err := d.At(i)
		if err != nil {
			t.Fatalf("example %d: %v", i, err)
		}
		if wrong := len(e.Answers) != map[data.Kind]int{data.KindPair: 2, data.KindVerdict: 1}[e.Kind]; wrong ||
			len(e.Answers) > 0 && (e.Kind == data.KindPair) != (opts.Want == data.WantPairs) {
			t.Fatalf("example %d of %v has %d answers, wanted %d", i, e.Kind, len(e.Answers), opts.Want)
		}
		if e.Source.Line < 1 || e.Source.File != path {
			t.Fatalf("example %d comes from %v", i, e.Source)
		}
		if d.Format() == "text" && (e.Continues || e.Continued) && len(e.Text) > 1024 {
			t.Fatalf("example %d has %d bytes", i, len(e.Text))
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		`{"messages": [{"role": "user", "content": "q"}, ` +
			`{"role": "assistant", "content": [{"type": "text", "text": "a"}], "weight": 1}]}`,
		`{"conversations": [{"from": "human", "value": "q"}, ` +
			`{"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}"}, ` +
			`{"from": "gpt", "value": "a"}], "tools": "[{}]"}`,
		`{"instruction": "i", "input": "x", "output": "o", "history": [["a", "b"]]}` + "\n" +
			`{"instruction": "i", "output": "o"}`,
		`{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}`,
		`{"question": "q", "answer": 4}`,
		`{"instruction": "i", "instances": [{"input": "", "output": "o"}]}`,
		`[{"text": "one"}, {"text": "two"}]`,
		"\xef\xbb\xbf{\"text\": \"one\"}\r\n\r\n{\"text\": \"tw\xff\"}",
		task,
		`{"data": [{"text": "one"}], "data2": 3}`,
		`{"prompt": "p", "chosen": "a", "rejected": "b"}` + "\n" + `{"prompt": [{"role": "user", "content": "q"}], ` +
			`"chosen": {"role": "assistant", "content": "a"}, "rejected": null}`,
		`{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b\n\nAssistant:"}`,
		`{"chosen": [{"role": "user", "content": "q"}, ` +
			`{"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "q"}]}`,
		`{"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}, ` +
			`"rejected": {"from": "gpt", "value": "b"}}`,
		`{"chosen_messages": "[{\"role\": \"assistant\", \"content\": \"a\"}]", "rejected_messages": []}`,
		`{"instruction": "i", "completions": [{"response": "a", "overall_score": 5}, ` +
			`{"text": {"role": "assistant", "content": "b"}, "overall_score": "4.5"}, {"response": "c"}]}`,
		`{"prompt": "p", "responses": ["a", "b", "c"], "ranks": [1, 2, 2]}`,
		`{"prompt": "p", "completion": "a", "label": true}` + "\n" +
			`{"prompt": "p", "completion": "b", "label": "False"}`,
		`{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "kto_tag": false}`,
		`{"prompt": "p", "answers": [{"text": "a"}, ` +
			`{"text": "b"}], "choice": "edit", "edited": "c", "edited_from": 1}` + "\n" +
			`{"prompt": "p", "answers": [{"text": "a"}, {"text": "b"}], "choice": "bad"}`,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, replace bool) {
		for want := data.WantAnswers; want <= data.WantVerdicts; want++ {
			readAll(t, dir, "a.json", content, data.Options{ReplaceInvalid: replace, Want: want, BestWorst: replace,
				Margins: replace, Each: replace && want == data.WantVerdicts})
			readAll(t, dir, "a.jsonl", content, data.Options{ReplaceInvalid: replace, Want: want, BestWorst: replace})
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("prompt,completion\na,\"b\"\"c\nd\"\n"))
	f.Add([]byte("question\tanswer\nq\ta\n"))
	f.Add([]byte("\xef\xbb\xbfmessages\n\"[{\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"a\"\"}]\"\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		readAll(t, dir, "a.csv", content, data.Options{})
		readAll(t, dir, "a.tsv", content, data.Options{})
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("one\n\ntwo\r\n\r\nthree\n<|endoftext|>\nfour"), "paragraph")
	f.Add([]byte("one\n<|endoftext|>\ntwo"), "auto")
	f.Add([]byte("ü\xc3"), "line")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, split string) {
		readAll(t, dir, "a.txt", content, data.Options{Split: split, ReplaceInvalid: true})
	})
}

func FuzzCompressed(f *testing.F) {
	f.Add([]byte(gz(f, `{"text": "one"}`)))
	f.Add([]byte(zst(f, `{"text": "one"}`)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) { readAll(t, dir, "a.gz", content, data.Options{}) })
}

func FuzzParquet(f *testing.F) {
	f.Add([]byte(parquetFile(f, []parquetRow{{ID: 1, Messages: []parquetMessage{{"user", "q"}, {"assistant", "a"}}}})))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 1<<16 {
			t.Skip("larger files only cost time")
		}
		readAll(t, dir, "a.parquet", content, data.Options{})
	})
}
