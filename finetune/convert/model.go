package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	typ := f.Type()
	if job.Type != "" {
		if typ, err = gguf.ParseType(job.Type); err != nil {
			return nil, err
		}
	}
	r := &ModelResult{Input: job.In, Output: job.Out, Arch: f.Arch.Name, Type: typ.String()}
	if err := r.compareTokenizer(f); err != nil {
		return nil, err
	}
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

// compared is the text that both encode: what tokenizers disagree on, and some ordinary sentences.
const compared = "Hello, world!  It's 3 o'clock; we'll see what they've DONE, I'D say: 33 333 3333 33333.3\n" +
	"\tdef f(x):\n\t\treturn [x + 1, \"two\"]  # one more\n\n\n   three blanks,\r\n and \n \n\n more\t \t\n" +
	"Straße, déjà vu, 我想在这里吃饭, नमस्ते, Привет, こんにちは, ½ of 10²; 🙂🚀👩‍💻 (fine) ... !!! ???\n" +
	"https://example.org/a_b?c=d&e=100%25 <b>bold</b> {\"key\": [1, 2, null]} snake_case camelCase ABC'S 'twas\n" +
	"Once upon a time there was a little cow. She lived on a farm, and every day she ate 12345 straws. "

// compareTokenizer has llama.cpp encode a text with the vocabulary as the file will have it, and the definition in
// tokenizer.json; then each added token between words. What differs there is refused too, but for llama.cpp's own rule
// for blanks of vocabularies with scores, which no file can change: that is noted.
func (r *ModelResult) compareTokenizer(f *hub.Folder) error {
	v, err := loadVocabulary(f)
	if err != nil {
		return err
	}
	defer v.Close()
	refuse := func(difference string) error {
		return fmt.Errorf("%s: llama.cpp would read a text otherwise than tokenizer.json: %s; the model would be fed "+
			"what it never saw, and is not converted", f.Dir, difference)
	}
	for _, text := range append([]string{compared}, strings.SplitAfter(compared, "\n")...) {
		n, difference, err := compareText(f, v, text)
		if err != nil {
			return err
		}
		if difference != "" {
			return refuse(difference)
		}
		r.Compared += n
	}
	if r.Compared == 0 {
		return fmt.Errorf("%s: the vocabulary has no tokens for any line of the text by which llama.cpp's reading is "+
			"compared with tokenizer.json; it is not converted", f.Dir)
	}
	for _, token := range f.Tokenizer.Control() {
		for _, text := range []string{token, token + token, "a " + token + " b", "a" + token + "b\n" + token} {
			n, difference, err := compareText(f, v, text)
			switch {
			case err != nil:
				return err
			case difference != "" && !f.Tokenizer.ByScores():
				return refuse(difference)
			case difference != "":
				r.Notes = append(r.Notes,
					"beside added tokens llama.cpp has other blanks than tokenizer.json: "+difference)
				return nil // it is the same for all
			}
			r.Compared += n
		}
	}
	return nil
}

// compareText encodes a text both ways; difference is "" where they agree.
func compareText(f *hub.Folder, v *llama.Vocab, text string) (n int, difference string, err error) {
	want, err := f.Tokenizer.Encode(text)
	if err != nil {
		return 0, "", err
	}
	got, err := v.Encode(text, false, true)
	var cannot *llama.UnencodableError
	if errors.As(err, &cannot) && slices.Contains(want, -1) {
		return 0, "", nil // neither has a token for it
	}
	if err == nil && !slices.Equal(got, want) {
		difference = firstDifference(v, got, want)
	}
	return len(got), difference, err
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

// firstDifference shows where two encodings part.
func firstDifference(v *llama.Vocab, got, want []int32) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	show := func(ids []int32) string {
		var out []string
		for _, id := range ids[at:min(len(ids), at+4)] {
			piece, err := v.Piece(id, true)
			if err != nil {
				piece = "?"
			}
			out = append(out, fmt.Sprintf("%d %q", id, piece))
		}
		return strings.Join(out, ", ")
	}
	before, err := v.Decode(got[:at], true)
	if err != nil {
		before = "?"
	}
	return fmt.Sprintf("behind %q llama.cpp has %s, and the definition %s", before[max(0, len(before)-20):], show(got),
		show(want))
}
