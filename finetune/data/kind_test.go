//go:build unix

package data_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestPipes: what is no file is refused at once where it is named, and left out and named where a directory holds it.
// Nobody writes to the pipe: opening it would wait for ever.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "b.jsonl"), filepath.Join(dir, "c.jsonl")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o666), os.Symlink(os.DevNull, link),
		os.Mkdir(filepath.Join(dir, "d.jsonl"), 0o777)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "b.jsonl: it is a pipe, not a regular file; save it to a file first",
		link: "c.jsonl: it is a device, not a regular file",
		dir:  "holds no data files; expected files named *.jsonl",
	} {
		if _, err := data.Open(context.Background(), []string{path}, data.Options{}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte(`{"text": "one"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	d := open(t, data.Options{}, dir)
	if diff := cmp.Diff([]string{`text "one"`}, all(t, d)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{pipe + " is a pipe", link + " is a device"}, d.Stats().Skipped); diff != "" {
		t.Error(diff)
	}
	_, err := data.Open(context.Background(), []string{dir}, data.Options{Strict: true})
	if err == nil ||
		!strings.Contains(err.Error(),
			"b.jsonl is a pipe, not a regular file: it cannot be read; take it out of the directory") {
		t.Errorf("strict: got %v", err)
	}
}
