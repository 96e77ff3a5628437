package gguf_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

// toSplit is a model of tensors of 400 bytes, 416 with what pads them.
func toSplit(t *testing.T) *gguf.Writer {
	t.Helper()
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if err := w.AddBytes(name, gguf.F32, []int64{100}, bytes.Repeat([]byte(name), 400)); err != nil {
			t.Fatal(err)
		}
	}
	return &w
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		most  int64
		parts []int // tensors of each
	}{{1, []int{1, 1, 1, 1, 1}}, {831, []int{1, 1, 1, 1, 1}}, {832, []int{2, 2, 1}}, {1 << 30, []int{5}}} {
		parts, err := toSplit(t).Split(tc.most)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := gguf.WriteParts(context.Background(), nil, parts, path); err != nil {
			t.Fatal(err)
		}
		paths := gguf.SplitPaths(path, len(tc.parts))
		var base []string
		for _, p := range paths {
			base = append(base, filepath.Base(p))
		}
		got := names(t, filepath.Dir(path))
		if !slices.Equal(got, base) || !strings.HasPrefix(got[0], "m-00001-of-0000") {
			t.Fatalf("%d bytes: got %v, want %v", tc.most, got, base)
		}
		f, err := gguf.Open(paths[len(paths)-1]) // whichever is named
		if err != nil {
			t.Fatal(err)
		}
		count := make([]int, len(tc.parts))
		for i := range f.Tensors {
			info := &f.Tensors[i]
			count[info.Part]++
			data, err := f.Data(info)
			if err != nil || !bytes.Equal(data, bytes.Repeat([]byte(info.Name), 400)) {
				t.Errorf("%d bytes: tensor %s came back changed, %v", tc.most, info.Name, err)
			}
		}
		if !slices.Equal(count, tc.parts) {
			t.Errorf("%d bytes: got parts of %v tensors, want %v", tc.most, count, tc.parts)
		}
		if a, err := f.Architecture(); err != nil || a != "llama" {
			t.Errorf("metadata: got %q, %v", a, err)
		}
		f.Close()
	}
}

// Whatever operation fails, the parts are all there, or none is.
func TestSplitFails(t *testing.T) {
	for at := 1; ; at++ {
		parts, err := toSplit(t).Split(832)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		ffs := faultfs.New(nil, at, faultfs.Fail, nil)
		err = gguf.WriteParts(context.Background(), ffs, parts, filepath.Join(dir, "m.gguf"))
		left := names(t, dir)
		if ffs.Ops() < at {
			if err != nil || len(left) != 3 || at < 15 {
				t.Errorf("with nothing failing: got %v and %v after %d operations", left, err, at)
			}
			return
		}
		if err == nil && len(left) != 3 {
			t.Errorf("operation %d fails, and nothing is said: %v", at, left)
		}
		for _, name := range left {
			if err != nil && !atomicfile.IsTemp(name) {
				t.Errorf("operation %d fails with %v, and leaves %v", at, err, left)
			}
		}
	}
}
