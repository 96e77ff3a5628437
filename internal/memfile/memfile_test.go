package memfile

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	text := strings.Repeat("adapter ", 1<<18) // more than is buffered
	f, err := Write(func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as often as one likes
		if got, err := os.ReadFile(f.Path()); err != nil || string(got) != text {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(text))
		}
	}
	if st, err := os.Stat(f.Path()); err != nil || !st.Mode().IsRegular() {
		t.Errorf("got %v, %v, want a regular file", st, err)
	}
	if runtime.GOOS == "linux" {
		if to, err := os.Readlink(f.Path()); err != nil || !strings.HasPrefix(to, "/memfd:") {
			t.Errorf("got %q, %v, want memory and no disk", to, err)
		}
	}
	path := f.Path()
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it is still there after Close")
	}
}

func TestWriteFails(t *testing.T) {
	want := errors.New("no more")
	if f, err := Write(func(io.Writer) error { return want }); f != nil || !errors.Is(err, want) {
		t.Errorf("got %v, %v, want the error of who writes", f, err)
	}
}
