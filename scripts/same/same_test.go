package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/checkpoint"
)

// TestCompareFiles: of two files of every kind, what may differ is passed over and what may not is found.
func TestCompareFiles(t *testing.T) {
	stateFile := func(meta map[string]any, numbers ...float32) string {
		path := filepath.Join(t.TempDir(), "state.bin")
		if err := checkpoint.WriteFile(nil, path, meta,
			[]checkpoint.Tensor{checkpoint.Floats("a", numbers)}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	type object = map[string]any
	for _, tc := range []struct {
		name, file, was, is string
		want                string // in the difference; "" is none
	}{
		{"times", "metrics.jsonl", `{"loss":1,"tok_per_s":3}`, `{"tok_per_s":4,"loss":1}`, ""},
		{"last digit", "metrics.jsonl", `{"loss":1.0000000000000002}`, `{"loss":1}`,
			"object 1: .loss is 1.0000000000000002, now 1"},
		{"null for a time", "report.json", `{"seconds":1}`, `{"seconds":null}`, ".seconds"},
		{"new key", "report.json", `{}`, `{"a":1}`, ".a was not there"},
		{"lost key", "report.json", `{"a":[{"b":1}]}`, `{"a":[{}]}`, ".a[0].b is missing"},
		{"lost line", "metrics.jsonl", "{}\n{}\n", "{}\n", "object 2"},
		{"comment and order", "run.toml", "a = 1\nb = 2\n", "# b\nb = 2\na = 1\n", ""},
		{"setting", "run.toml", "a = 1\n", "a = 2\n", ".a is 1, now 2"},
		{"version and settings' order", "state.bin", stateFile(object{"version": "1", "config": "a = 1\nb = 2"}, 1),
			stateFile(object{"version": "2", "config": "b = 2\na = 1"}, 1), ""},
		{"settings of a checkpoint", "state.bin", stateFile(object{"config": "a = 1"}, 1),
			stateFile(object{"config": "a = 2"}, 1), ".config: .a is 1, now 2"},
		{"state", "state.bin", stateFile(object{"step": 1}, 1), stateFile(object{"step": 2}, 1), ".step is 1, now 2"},
		{"number of a checkpoint", "state.bin", stateFile(nil, 1, 2), stateFile(nil, 1, 3), "tensor a: byte 6 of 8"},
		{"length of a checkpoint", "state.bin", stateFile(nil, 1, 2), stateFile(nil, 1), "tensor 0"},
		{"picture", "loss.svg", "<svg>1", "<svg>2", "byte 5 of 6"},
		{"cut short", "loss.svg", "<svg>1", "<svg>", "6 bytes, now 5"},
	} {
		t.Run(tc.name, func(t *testing.T) { check(t, tc.file, []byte(tc.was), []byte(tc.is), tc.want) })
	}
}

// TestCompareGGUF: one bit of one tensor is found, and metadata but for the version.
func TestCompareGGUF(t *testing.T) {
	file := func(change func(w *gguf.Writer)) []byte {
		w, err := synth.Tiny("llama", gguf.Q8_0).Writer()
		if err != nil {
			t.Fatal(err)
		}
		w.SetString("ggtune.version", "1")
		change(w)
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := w.WriteFile(context.Background(), nil, path); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	was := file(func(*gguf.Writer) {})
	check(t, "m.gguf", was, file(func(w *gguf.Writer) { w.SetString("ggtune.version", "2") }), "")
	check(t, "m.gguf", was, file(func(w *gguf.Writer) { w.SetString("general.name", "another") }),
		"metadata general.name")
	check(t, "m.gguf", was, file(func(w *gguf.Writer) { w.SetBool("extra", true) }), "metadata keys")
	is := bytes.Clone(was)
	is[len(is)-40] ^= 1
	check(t, "m.gguf", was, is, "tensor blk.1.ffn_down.weight: byte")
}

func check(t *testing.T, name string, was, is []byte, want string) {
	t.Helper()
	old, new := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), name)
	for path, b := range map[string][]byte{old: was, new: is} {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := compareFiles(old, new)
	if err != nil {
		t.Fatal(err)
	}
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestText: what is printed may differ in times, speeds, sizes and version alone.
func TestText(t *testing.T) {
	p := &pair{old: build{version: "v1.2"}, new: build{version: "(devel)"}}
	const line = "step 1/4: loss 4.5674, 1033 tok/s, 58.1 MB, 3 s left\nby v1.2 in 3 s, peak memory 1.2 GB\n"
	const slower = "step 1/4: loss 4.5674, 9 tok/s, 7 kB, 1 min 3 s left\nby (devel) in 2 h 1 min, peak memory 9 GB\n"
	if got := p.text([]byte(line), []byte(slower)); got != "" {
		t.Error(got)
	}
	for _, other := range []string{strings.Replace(line, "4.5674", "4.5675", 1), line + "more\n",
		strings.TrimSuffix(line, "\n")} {
		if p.text([]byte(line), []byte(other)) == "" {
			t.Errorf("%q was not found different", other)
		}
	}
	if got := p.text([]byte(`{"seconds":1,"a":2}`), []byte(`{"seconds":2,"a":3}`)); got != "line 1: .a is 2, now 3" {
		t.Error(got)
	}
}

// TestCases: names are the cases' folders, and the quick ones named among the others exist.
func TestCases(t *testing.T) {
	names := map[string]bool{}
	for _, c := range cases() {
		if names[c.name] {
			t.Errorf("two cases are called %s", c.name)
		}
		names[c.name] = true
	}
	for _, name := range alsoQuick {
		if !names[name] {
			t.Errorf("no case is called %s", name)
		}
	}
}
