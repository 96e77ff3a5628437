package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
)

// TestEncodePublished: the reading of definitions gives what Hugging Face's tokenizers gave for published vocabularies.
func TestEncodePublished(t *testing.T) {
	const dir = "../../../shared/data/tokenizers/"
	for file, name := range map[string]string{"ggml-vocab-gpt-2": "gpt-2", "rebuilt-llama3.2": "llama-bpe",
		"rebuilt-qwen2.5": "qwen2"} {
		t.Run(name, func(t *testing.T) {
			path := dir + file + ".gguf"
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				t.Skipf("%s is not here", path)
			}
			tok := published(t, path, name)
			comparePublished(t, tok, path)
		})
	}
}

// comparePublished encodes the texts that lie beside a vocabulary, whose ids do too.
func comparePublished(t *testing.T, tok *Tokenizer, path string) {
	t.Helper()
	texts := strings.Split(readFile(t, path+".inp"), "\n__ggml_vocab_test__\n")
	lines := strings.Split(strings.TrimRight(readFile(t, path+".out"), "\n"), "\n")
	compared := 0
	for i, text := range texts {
		if i >= len(lines) || text == "" {
			continue
		}
		got, err := tok.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		var want []int32
		for _, id := range strings.Fields(lines[i]) {
			var n int32
			if _, err := fmt.Sscan(id, &n); err != nil {
				t.Fatal(err)
			}
			want = append(want, n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		compared += len(want)
	}
	if compared < 300 {
		t.Errorf("only %d tokens were compared", compared)
	}
}

// TestScoresPublished: the merges that are made of a published vocabulary's scores give the ids that llama.cpp has
// published for it.
func TestScoresPublished(t *testing.T) {
	for _, name := range []string{"llama-spm", "phi-3"} {
		t.Run(name, func(t *testing.T) {
			scoresPublished(t, "../../../shared/data/tokenizers/ggml-vocab-"+name+".gguf")
		})
	}
}

func scoresPublished(t *testing.T, path string) {
	t.Helper()
	f, err := gguf.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := (&Model{file: f}).readVocabulary()
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.definition()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.Model.Merges); n < len(v.tokens) {
		t.Errorf("%d merges of %d tokens", n, len(v.tokens))
	}
	tok := &Tokenizer{def: d, pieces: v, bare: true,
		model: settings{values: map[string]any{"vocab_size": float64(len(v.tokens))}}}
	if err := tok.read(); err != nil {
		t.Fatal(err)
	}
	comparePublished(t, tok, path)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// published makes a definition of a vocabulary in GGUF.
func published(t *testing.T, path, name string) *Tokenizer {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tokens, err1 := f.Strings("tokenizer.ggml.tokens")
	types, err2 := f.Ints("tokenizer.ggml.token_type")
	merges, err3 := f.Strings("tokenizer.ggml.merges")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	tok := &Tokenizer{rank: map[[2]string]int{}}
	tok.def.Model.Vocab = map[string]int{}
	tok.def.Model.IgnoreMerges = name == "llama-bpe"
	for id, token := range tokens {
		if types[id] == tokenNormal {
			tok.def.Model.Vocab[token] = id
		}
	}
	for i, m := range merges {
		a, b, _ := strings.Cut(m, " ")
		tok.rank[[2]string{a, b}] = i
	}
	for _, s := range splitters {
		if s.name == name {
			tok.split = s
		}
	}
	return tok
}
