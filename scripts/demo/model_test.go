package main

import (
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
)

// llama.cpp reads the vocabulary as it was meant: text comes back from its tokens, words that the corpus repeats are
// single tokens, and the marks of turns are known.
func TestVocabularyInLlamaCpp(t *testing.T) {
	tables, facts := testFacts(t)
	g := newGenerator(tables, facts, 1)
	var texts []string
	for range 2000 {
		for _, m := range g.conversation().Messages {
			texts = append(texts, m.Content)
		}
	}
	vocab, merges, err := trainBPE(texts, shape.vocab-len(specials))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	params, err := writeModel(path, vocab, merges, 1)
	if err != nil {
		t.Fatal(err)
	}
	if params < 1_000_000 || params > 3_000_000 {
		t.Errorf("got %d parameters, want one to three millions", params)
	}
	v, err := llama.LoadVocab(path)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.N() != shape.vocab {
		t.Errorf("got %d tokens, want %d", v.N(), shape.vocab)
	}
	for name, id := range map[string]int32{"<|endoftext|>": v.BOS(), "<|im_end|>": v.EOS()} {
		if got, err := v.Piece(id, true); err != nil || got != name {
			t.Errorf("special token %d is %q, %v, want %q", id, got, err, name)
		}
	}
	tokens, chars := 0, 0
	for _, text := range append(texts, "Arr! Th' sky be blue, matey!", "Zürich → 東京 \n\n 😀") {
		ids, err := v.Encode(text, false, false)
		if err != nil {
			t.Fatal(err)
		}
		back, err := v.Decode(ids, false)
		if err != nil {
			t.Fatal(err)
		}
		if back != text {
			t.Fatalf("got %q back, want %q", back, text)
		}
		tokens, chars = tokens+len(ids), chars+len(text)
	}
	// Measured: 3.4. Bytes alone would give 1; a merge list that llama.cpp does not follow, not much more.
	if perToken := float64(chars) / float64(tokens); perToken < 3 {
		t.Errorf("got %.2f characters a token, want at least 3", perToken)
	} else {
		t.Logf("%.2f characters a token", perToken)
	}
	const turn = "<|im_start|>user\nHello<|im_end|>"
	ids, err := v.Encode(turn, false, true)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := v.Encode(turn, false, false)
	if err != nil {
		t.Fatal(err)
	}
	start, end := int32(shape.vocab-2), int32(shape.vocab-1)
	if ids[0] != start || ids[len(ids)-1] != end || len(plain) <= len(ids) {
		t.Errorf("got %v, want the marks of a turn as single tokens", ids)
	}
}
