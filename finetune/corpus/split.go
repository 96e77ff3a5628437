package corpus

import (
	"errors"
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

// loadVocab opens a file's tokenizer. Where llama.cpp does not know the way of splitting text that a file names, it
// refuses the file, or takes a way of its own with no more than a warning: a run would learn from tokens that the model
// has never seen in those places.
func loadVocab(f *gguf.File) (*llama.Vocab, error) {
	if err := f.CheckTokenizer(); err != nil {
		return nil, err
	}
	name, err := f.StringOr("tokenizer.ggml.pre", "")
	if err != nil {
		return nil, err
	}
	v, err := llama.LoadVocab(f.Path())
	if errors.Is(err, llama.ErrUnknownSplit) || err == nil && name != "" && v.SplitsByDefault() {
		v.Close()
		return nil, fmt.Errorf("%s: the model splits text as %q (tokenizer.ggml.pre), which the llama.cpp inside does "+
			"not know: it would make other tokens of it than the model has learned; a newer ggtune may know it, or "+
			"one that is built with a newer llama.cpp (make build SYSTEM_LLAMA=1)", f.Path(), name)
	}
	return v, err
}
