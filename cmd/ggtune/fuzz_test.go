package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
)

// inspected demands that inspect says what a path is, or in one message why not.
func inspected(t *testing.T, args ...string) {
	t.Helper()
	var stderr bytes.Buffer
	code := execute(context.Background(), append([]string{"ggtune", "inspect"}, args...), strings.NewReader(""),
		io.Discard, &stderr)
	// A run's settings are at fault with exit code 2, as on the command line.
	if said := strings.Count(stderr.String(), "ggtune: "); code == exitFault || code != exitDone && said != 1 {
		t.Fatalf("inspect %q: exit code %d:\n%s", args, code, stderr.String())
	}
}

// FuzzInspect: whatever a file holds, and whatever its name says that it is, inspect ends in words.
func FuzzInspect(f *testing.F) {
	names := []string{"a.gguf", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.parquet", "a.gz", "a"}
	for i, s := range []string{
		`{"prompt": "a", "completion": "b"}`, `[{"text": "one"}]`, "prompt,completion\na,b\n",
		"question\tanswer\nq\ta\n", "one\n\ntwo\n",
	} {
		f.Add([]byte(s), uint8(i+1))
	}
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	w.SetUint32("llama.block_count", 1)
	w.SetUint32("llama.embedding_length", 32)
	w.SetStrings("tokenizer.ggml.tokens", []string{"a", "b"})
	w.SetString("tokenizer.ggml.model", "llama")
	var model bytes.Buffer
	if err := w.AddFloats("token_embd.weight", []int64{32, 2}, make([]float32, 64)); err != nil {
		f.Fatal(err)
	}
	if _, err := w.Write(context.Background(), &model); err != nil {
		f.Fatal(err)
	}
	f.Add(model.Bytes(), uint8(0))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		path := filepath.Join(dir, names[int(kind)%len(names)])
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		inspected(t, path)
		inspected(t, path, "--json", "--tensors", "--metadata")
	})
}

// FuzzInspectRun: whatever a run's files hold, inspect ends in words.
func FuzzInspectRun(f *testing.F) {
	f.Add("model = \"m.gguf\"\ndata = [\"d.jsonl\"]\nmethod = \"sft\"\n",
		"{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"loss\"",
		`{"steps": 2, "result": "run/adapter.gguf", "first_loss": 2.5}`)
	f.Add("", "", "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, settings, metrics, report string) {
		for name, text := range map[string]string{"run.toml": settings, "metrics.jsonl": metrics,
			"report.json": report} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		inspected(t, dir)
		inspected(t, dir, "--json")
	})
}
