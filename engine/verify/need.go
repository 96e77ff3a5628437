package verify

import (
	"errors"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// TB is the part of testing.TB that NeedLlama needs; naming it here keeps the testing package out of the binary.
type TB interface {
	Helper()
	Fatal(args ...any)
	Skip(args ...any)
}

// NeedLlama skips a test in which llama.cpp opens the model at path, where the linked one does not know its
// architecture: one that is newer than the Go module's. It gives path.
func NeedLlama(tb TB, path string) string {
	tb.Helper()
	err := known(path)
	if errors.Is(err, llama.ErrUnknownArch) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// known asks llama.cpp where it may not know the architecture.
func known(path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name, err := f.Architecture()
	if err != nil {
		return err
	}
	if a, err := arch.Get(name); err != nil || !a.Newer {
		return nil // what is wrong with it the test will see
	}
	v, err := llama.LoadVocab(path)
	if errors.Is(err, llama.ErrUnknownArch) {
		return err
	}
	return v.Close()
}
