package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/hub"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/memfile"
)

// A ModelJob is a model in a folder of Hugging Face's, to be written as a GGUF file.
type ModelJob struct {
	In  string
	Out string // which is replaced
	// Type is what matrices are stored in: f32, f16 or bf16. Default "": that of most of the weights, so that nothing
	// is lost.
	Type string
}

// A ModelResult is what was written.
type ModelResult struct {
	Input   string   `json:"input"`
	Output  string   `json:"output"`
	Arch    string   `json:"architecture"`
	Type    string   `json:"type"`
	Tensors int      `json:"tensors"`
	Bytes   int64    `json:"bytes"`
	Notes   []string `json:"notes"` // what whoever uses the output should know
	// Compared is how many tokens llama.cpp and the definition made of the text of the comparison.
	Compared int `json:"tokens_compared"`
}

// Model converts a model. A tokenizer with which llama.cpp would read a text otherwise is refused before anything is
// written.
func Model(ctx context.Context, job ModelJob) (*ModelResult, error) {
	f, err := hub.Open(job.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := atomicfile.Distinct(job.Out, f.Files()...); err != nil {
		return nil, err
	}
	if err := apart(job.Out, job.In); err != nil {
		return nil, err
	}
	typ := f.Type()
	if job.Type != "" {
		if typ, err = gguf.ParseType(job.Type); err != nil {
			return nil, err
		}
	}
	r := &ModelResult{Input: job.In, Output: job.Out, Arch: f.Arch.Name, Type: typ.String()}
	v, err := loadVocabulary(f)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if r.Compared, r.Notes, err = compareTokenizer(f.Dir, f.Tokenizer, v); err != nil {
		return nil, err
	}
	r.Notes = append(f.Notes(), r.Notes...)
	w, err := f.Writer(typ)
	if err != nil {
		return nil, err
	}
	if err := w.WriteFile(ctx, nil, job.Out); err != nil {
		return nil, err
	}
	written, err := gguf.Open(job.Out)
	if err != nil {
		return nil, err
	}
	defer written.Close()
	r.Tensors, r.Bytes = len(written.Tensors), written.Bytes()
	return r, written.CheckRuns()
}

// apart refuses an output among the files of a folder that is read, under a name by which other tools, or the next
// conversion, would take it for one of them.
func apart(out, folder string) error {
	if strings.EqualFold(filepath.Ext(out), ".gguf") {
		return nil
	}
	in, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if dir, err := os.Stat(filepath.Dir(out)); err != nil || !os.SameFile(dir, in) {
		return nil
	}
	return fmt.Errorf("write %s: it would stand among the files of the folder that is read, as one of them; give a "+
		"name that ends in .gguf, or another directory", out)
}

// loadVocabulary has llama.cpp read the vocabulary as the file will have it.
func loadVocabulary(f *hub.Folder) (*llama.Vocab, error) {
	var w gguf.Writer
	w.SetString("general.architecture", f.Arch.Name)
	if err := f.Tokenizer.Metadata(&w); err != nil {
		return nil, err
	}
	file, err := memfile.Write(func(dst io.Writer) error {
		_, err := w.Write(context.Background(), dst)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer file.Close() // llama.cpp keeps a copy
	g, err := gguf.Open(file.Path())
	if err != nil {
		return nil, err
	}
	err = g.CheckTokenizer()
	if err := errors.Join(err, g.Close()); err != nil {
		return nil, fmt.Errorf("%s: the tokenizer as GGUF: %w", f.Dir, err)
	}
	return llama.LoadVocab(file.Path())
}
