package gguf_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/testdata"
)

// Every real file opens, hashes to what the file system holds, and is written again byte for byte.
func TestRealFiles(t *testing.T) {
	dir := testdata.Shared(t)
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".gguf") {
			return err
		}
		n++
		f, err := gguf.Open(path)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer f.Close()
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(want)
		if got, err := f.SHA256(context.Background()); err != nil || got != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: hash: got %s, %v, want %x", path, got, err, sum)
		}
		if err := f.CheckTokenizer(); err != nil {
			t.Error(err)
		}
		var w gguf.Writer
		w.CopyMetadata(f)
		for i := range f.Tensors {
			if err := w.AddFrom(f, &f.Tensors[i]); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		var got bytes.Buffer
		if _, err := w.Write(context.Background(), &got); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if len(f.Tensors) == 0 {
			// Some writers pad the header of a vocabulary, some do not.
			want = bytes.TrimRight(want, "\x00")
			got.Truncate(len(bytes.TrimRight(got.Bytes(), "\x00")))
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: written again: %d bytes that differ from the file's %d", path, got.Len(), len(want))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Errorf("no .gguf under %s", dir)
	}
}
