package verify

import (
	"errors"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// TB is the part of testing.TB that NeedLlama and LlamaOpens need; naming it here keeps the testing package out of the
// binary.
type TB interface {
	Helper()
	Fatal(args ...any)
	Skip(args ...any)
}

// NeedLlama skips a test in which llama.cpp opens the model at path, where the linked one does not know its
// architecture: one that is newer than the Go module's. It gives path.
func NeedLlama(tb TB, path string) string {
	tb.Helper()
	if err := unknown(tb, path); err != nil {
		tb.Skip(err)
	}
	return path
}

// LlamaOpens says whether the linked llama.cpp knows the architecture of the model at path.
func LlamaOpens(tb TB, path string) bool {
	tb.Helper()
	return unknown(tb, path) == nil
}

// unknown gives the error of a llama.cpp that does not know the architecture, and ends a test at any other.
func unknown(tb TB, path string) error {
	tb.Helper()
	err := known(path)
	if err != nil && !errors.Is(err, llama.ErrUnknownArch) {
		tb.Fatal(err)
	}
	return err
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
