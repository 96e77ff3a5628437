//go:build unix

package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, pipe, link := filepath.Join(dir, "file"), filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("12345"), 0o666), syscall.Mkfifo(pipe, 0o666),
		os.Symlink(pipe, link)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path string
		most       int64
		is         error // nil: it is read
	}{
		{"a file", file, 5, nil},
		{"a file too large", file, 4, ErrSize},
		{"a pipe", pipe, 5, ErrKind},
		{"a link to a pipe", link, 5, ErrKind},
		{"a device without an end", "/dev/zero", 5, ErrKind},
		{"a directory", dir, 5, syscall.EISDIR},
		{"nothing", filepath.Join(dir, "none"), 5, fs.ErrNotExist},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := Read(tc.path, tc.most)
			if tc.is == nil && (err != nil || string(b) != "12345") || !errors.Is(err, tc.is) {
				t.Errorf("got %q, %v; want the error %v", b, err, tc.is)
			}
		})
	}
}
