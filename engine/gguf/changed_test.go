package gguf

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A file that is changed while it is mapped is noticed, and Go code that reads what is gone gets an error, not a fault.
func TestChanged(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mapped file cannot be changed there")
	}
	const rows = 64
	var w Writer
	if err := w.AddFloats("t", []int64{1024, rows}, make([]float32, 1024*rows)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := w.WriteFile(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.CheckUnchanged(); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if err := f.CheckUnchanged(); !errors.Is(err, ErrChanged) {
		t.Errorf("written to: got %v, want ErrChanged", err)
	}
	if err := os.Truncate(path, f.Bytes()/2); err != nil {
		t.Fatal(err)
	}
	if err := f.CheckUnchanged(); !errors.Is(err, ErrChanged) {
		t.Errorf("cut: got %v, want ErrChanged", err)
	}
	data, err := f.Data(&f.Tensors[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	read := func() error {
		for _, b := range data {
			sum += int(b)
		}
		return nil
	}
	if err := reading(path, data, read); !errors.Is(err, ErrChanged) {
		t.Errorf("read: got %v (sum %d), want ErrChanged", err, sum)
	}
	var again Writer
	if err := again.AddFrom(f, &f.Tensors[0]); err != nil {
		t.Fatal(err)
	}
	if err := again.WriteFile(t.Context(), nil, filepath.Join(t.TempDir(), "copy.gguf")); err == nil {
		t.Error("copied what is gone")
	}
	// A fault of our own stays one.
	defer func() {
		if recover() == nil {
			t.Error("a panic became an error")
		}
	}()
	_ = reading(path, data, func() error { panic("ours") })
}

// A file in whose place another is put by renaming is the same as long as it is open.
func TestRenamedOver(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mapped file cannot be replaced there")
	}
	path := writeSmall(t)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(writeSmall(t), path); err != nil {
		t.Fatal(err)
	}
	if err := f.CheckUnchanged(); err != nil {
		t.Error(err)
	}
}

func writeSmall(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := small(t).WriteFile(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}
