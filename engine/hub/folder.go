// Package hub reads models from Hugging Face's folders: config.json, tokenizer.json and safetensors, as transformers
// writes them, into what a GGUF file of llama.cpp's converter has; and makes such folders of GGUF files. It knows no
// llama.cpp: whether a vocabulary encodes as it did is for others to compare (Tokenizer.Encode).
//
// Folders come from strangers: what is read is bounded, and nothing in them is run.
package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/safetensors"
	"github.com/ggtune/ggtune/internal/regular"
)

const (
	configFile = "config.json"
	modelFile  = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// The most bytes of a file that is read whole.
const (
	maxConfig    = 1 << 20
	maxTokenizer = 256 << 20 // those of 250,000 tokens have 30 MB
	maxIndex     = 64 << 20
)

// Is says whether path is the folder of a model.
func Is(path string) bool {
	_, err := os.Stat(filepath.Join(path, configFile))
	return err == nil
}

// A Folder is an open one. Weights are read from its files when they are written.
type Folder struct {
	Dir       string
	Arch      arch.Arch
	Tokenizer *Tokenizer

	config     settings
	generation settings
	pooling    arch.Pooling
	prompts    map[string]string
	files      []*safetensors.File // in the order of their names
}

// Open reads all but the weights. Close it.
func Open(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	if err := readJSON(filepath.Join(dir, configFile), maxConfig, &f.config.values); err != nil {
		return nil, err
	}
	f.config.path = filepath.Join(dir, configFile)
	var err error
	if f.Arch, err = f.config.arch(); err != nil {
		return nil, err
	}
	if f.generation, err = readGeneration(dir); err != nil {
		return nil, err
	}
	if f.pooling, err = readPooling(dir); err != nil {
		return nil, err
	}
	if f.prompts, err = readPrompts(dir); err != nil {
		return nil, err
	}
	if f.Tokenizer, err = readTokenizer(dir, &f.config); err != nil {
		return nil, err
	}
	if err := f.openWeights(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the files of weights. It may be called again and on nil.
func (f *Folder) Close() error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, one := range f.files {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// Notes says what the folder does not tell and whoever uses the file should know.
func (f *Folder) Notes() (out []string) {
	if f.Arch.Headless && !f.pooling.Pools() {
		out = append(out, fmt.Sprintf("%s is not there, which says how a vector is made of a text's states; the file "+
			"does not either: give --pooling", filepath.Join(f.Dir, modulesFile)))
	}
	for _, name := range slices.Sorted(maps.Keys(f.prompts)) {
		if f.prompts[name] != "" {
			out = append(out, fmt.Sprintf("before texts of the kind %q stands %q, which no file of llama.cpp's says: "+
				"give --query-prefix, --document-prefix", name, f.prompts[name]))
		}
	}
	if u := f.Tokenizer.split.unigram; u != nil && u.endless {
		out = append(out, "blanks at the end of a text are a token by tokenizer.json; llama.cpp and SentencePiece "+
			"leave them out")
	}
	return out
}

// Files lists the files of weights.
func (f *Folder) Files() []string {
	var out []string
	for _, one := range f.files {
		out = append(out, one.Path())
	}
	return out
}

// bytes is the size of the files of weights.
func (f *Folder) bytes() (n int64) {
	for _, one := range f.files {
		n += one.Size()
	}
	return n
}

// openWeights opens the file of weights, or those that an index lists.
func (f *Folder) openWeights() error {
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	path := filepath.Join(f.Dir, indexFile)
	names := []string{modelFile}
	switch err := readJSON(path, maxIndex, &index); {
	case err == nil:
		names = slices.Compact(slices.Sorted(maps.Values(index.Map)))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, name := range names {
		if name != filepath.Base(name) {
			return fmt.Errorf("%s: it names the file %q; expected one of the same folder", path, name)
		}
		one, err := safetensors.Open(filepath.Join(f.Dir, name))
		if err != nil {
			if old, _ := filepath.Glob(filepath.Join(f.Dir, "pytorch_model*.bin")); errors.Is(err, fs.ErrNotExist) &&
				len(old) > 0 {
				return fmt.Errorf("%s: the weights are pickles, which may run any program when they are read; load "+
					"the model where you trust it and save it with save_pretrained(safe_serialization=True)", f.Dir)
			}
			return err
		}
		f.files = append(f.files, one)
	}
	return f.checkIndex(index.Map)
}

// checkIndex wants every tensor of the index in the file that it names.
func (f *Folder) checkIndex(index map[string]string) error {
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(index)) {
		there := false
		for _, one := range f.files {
			there = there || filepath.Base(one.Path()) == index[name] && one.Tensor(name) != nil
		}
		if !there {
			missing = append(missing, fmt.Sprintf("%q (%s)", name, index[name]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: %d tensors are not in the files that it names: %s; download the folder again",
			filepath.Join(f.Dir, indexFile), len(missing), strings.Join(missing[:min(len(missing), 10)], ", "))
	}
	return nil
}

// readJSON reads a file of at most most bytes.
func readJSON(path string, most int64, into any) error {
	text, err := regular.Read(path, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w; expected JSON as transformers writes it", path, err)
	}
	return nil
}
