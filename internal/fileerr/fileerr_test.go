package fileerr

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	_, absent := os.Open(missing)
	for _, tc := range []struct {
		name  string
		path  string
		err   error
		cause error
		want  string
	}{
		{"missing", missing, absent, fs.ErrNotExist, "open " + missing + ": " + syscall.ENOENT.Error() +
			"; check the name"},
		{"address", "https://host/m.gguf", absent, fs.ErrNotExist,
			"open https://host/m.gguf: " + syscall.ENOENT.Error() +
				"; nothing is downloaded: fetch it first, and name the file"},
		{"forbidden", "a", &fs.PathError{Op: "open", Path: "a", Err: syscall.EACCES}, fs.ErrPermission,
			"open a: " + syscall.EACCES.Error() + "; you may not read it, change its permissions"},
		{"directory", "a", &fs.PathError{Op: "read", Path: "a", Err: syscall.EISDIR}, syscall.EISDIR,
			"open a: " + syscall.EISDIR.Error() + "; name a file in it"},
		{"other", "a", syscall.EMFILE, syscall.EMFILE, "open a: " + syscall.EMFILE.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Open(tc.path, tc.err)
			if got.Error() != tc.want || !errors.Is(got, tc.cause) {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}
