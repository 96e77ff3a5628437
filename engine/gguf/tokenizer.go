package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Keys of the vocabulary.
const (
	keyTokModel  = "tokenizer.ggml.model"
	keyTokTokens = "tokenizer.ggml.tokens"
	keyTokScores = "tokenizer.ggml.scores"
	keyTokTypes  = "tokenizer.ggml.token_type"
	keyTokMerges = "tokenizer.ggml.merges"
	keyTokChars  = "tokenizer.ggml.precompiled_charsmap"
)

// ErrNoTokenizer is matched by CheckTokenizer's error for a file without a vocabulary.
var ErrNoTokenizer = errors.New("the file has no tokenizer")

// HasTokenizer says whether the file has a vocabulary (tokenizer.ggml.model and tokenizer.ggml.tokens).
func (f *File) HasTokenizer() bool { return f.Has(keyTokModel) && f.Has(keyTokTokens) }

// CheckTokenizer makes sure that llama.cpp can read the vocabulary: it asserts or reads past the end of an array where
// types, lengths or doubled tokens are not as it expects (llama_vocab::impl::load in llama-vocab.cpp). Call it before
// the file is handed to llama.cpp. The error matches ErrNoTokenizer or ErrMalformed.
func (f *File) CheckTokenizer() error {
	if !f.HasTokenizer() {
		return fmt.Errorf("%s: %w (%s, %s); get a file of the model that holds its vocabulary", f.Path(),
			ErrNoTokenizer, keyTokModel, keyTokTokens)
	}
	if err := f.checkTokenizer(); err != nil {
		return fmt.Errorf("%s: %w: %w; get the model from another source, or convert it again", f.Path(), ErrMalformed,
			err)
	}
	return nil
}

func (f *File) checkTokenizer() error {
	if v := f.must(keyTokModel); v.typ != String {
		return fmt.Errorf("%s is %s, expected string", keyTokModel, v.TypeName())
	}
	tokens := f.must(keyTokTokens)
	if tokens.typ != Array || tokens.elem != String || tokens.n == 0 {
		return fmt.Errorf("%s is %s, expected a non-empty array of string", keyTokTokens, tokens.TypeName())
	}
	seen := make(map[string]int, tokens.n)
	for i, s := range tokens.strings() {
		if s == "" {
			s = fmt.Sprintf("[EMPTY_%d]", i) // llama.cpp's stand-in, which must not be taken either
		}
		if j, ok := seen[s]; ok {
			return fmt.Errorf("tokens %d and %d are both %s", j, i, quoteShort(s))
		}
		seen[s] = i
	}
	// The arrays beside tokens are optional, but read as these types to the length of tokens.
	for _, a := range []struct {
		key  string
		elem []ValueType
		n    int // least length
	}{
		{keyTokScores, []ValueType{Float32}, tokens.n},
		{keyTokTypes, []ValueType{Int32, Uint32}, tokens.n},
		{keyTokMerges, []ValueType{String}, 0},
		{keyTokChars, []ValueType{Uint8, Int8}, 0},
	} {
		if !f.Has(a.key) {
			continue
		}
		v := f.must(a.key)
		ok := false
		for _, e := range a.elem {
			ok = ok || v.typ == Array && v.elem == e
		}
		if !ok || v.n < a.n {
			return fmt.Errorf("%s is %s, expected an array of at least %d %s", a.key, v.TypeName(), a.n, a.elem[0])
		}
	}
	if !f.Has(keyTokChars) || f.must(keyTokChars).n == 0 {
		return nil
	}
	if _, err := CharsmapUnits(f.must(keyTokChars).raw); err != nil {
		return fmt.Errorf("%s: %w", keyTokChars, err)
	}
	return nil
}

// CharsmapUnits says how many units of four bytes stand in SentencePiece's precompiled_charsmap: behind their size in
// bytes, and before texts, each of which ends with a 0. llama.cpp reads the size and the texts without looking
// (llm_tokenizer_ugm in llama-vocab.cpp).
func CharsmapUnits(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("it has %d bytes, expected at least 4", len(b))
	}
	size := int64(binary.LittleEndian.Uint32(b))
	if size%4 != 0 || 4+size >= int64(len(b)) || b[len(b)-1] != 0 {
		return 0, fmt.Errorf("of its %d bytes %d are units of 4, behind which no text ends with a 0", len(b), size)
	}
	return int(size / 4), nil
}

// must is the value of a key that is known to exist.
func (f *File) must(key string) Value { return f.kvs[f.byKey[key]].Value }
