package corpus

import (
	"fmt"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
)

// CheckTokenizer refuses a file whose tokenizer is damaged, or makes other tokens here than the model has learned.
func CheckTokenizer(f *gguf.File) error {
	v, err := loadVocab(f)
	if err != nil {
		return err
	}
	return v.Close()
}

// loadVocab opens a file's tokenizer. llama.cpp takes a way of its own where it does not know the one that a file
// names, with no more than a warning: a run would learn from tokens that the model has never seen in those places.
func loadVocab(f *gguf.File) (*llama.Vocab, error) {
	if err := f.CheckTokenizer(); err != nil {
		return nil, err
	}
	v, err := llama.LoadVocab(f.Path())
	if err != nil {
		return nil, err
	}
	if name, err := f.StringOr("tokenizer.ggml.pre", ""); err != nil || name != "" && v.SplitsByDefault() {
		v.Close()
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: the model splits text as %q (tokenizer.ggml.pre), which the llama.cpp inside does "+
			"not know: it would make other tokens of it than the model has learned; a newer ggtune may know it",
			f.Path(), name)
	}
	return v, nil
}
