package hub

import (
	"bytes"
	"encoding/json"
)

// A definition is tokenizer.json, as Hugging Face's tokenizers write it.
type definition struct {
	Added      []addedToken    `json:"added_tokens"`
	Normalizer json.RawMessage `json:"normalizer"`
	Pre        json.RawMessage `json:"pre_tokenizer"`
	Post       json.RawMessage `json:"post_processor"`
	Model      tokenModel      `json:"model"`
}

// A tokenModel makes tokens of the parts of a text.
type tokenModel struct {
	Type         string            `json:"type"`
	Vocab        map[string]int    `json:"-"`
	Scores       []float64         `json:"-"` // of Unigram, by id
	Merges       []json.RawMessage `json:"merges"`
	ByteFallback bool              `json:"byte_fallback"`
	Dropout      *float64          `json:"dropout"`
	Prefix       *string           `json:"continuing_subword_prefix"`
	Suffix       *string           `json:"end_of_word_suffix"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Unk          *string           `json:"unk_token"`
	UnkID        *int              `json:"unk_id"`
	Longest      *int              `json:"max_input_chars_per_word"`
}

// UnmarshalJSON reads the vocabulary in its two forms: ids by token, and the tokens of a Unigram with their scores.
func (m *tokenModel) UnmarshalJSON(b []byte) error {
	type plain tokenModel
	all := struct {
		*plain
		Vocab json.RawMessage `json:"vocab"`
	}{plain: (*plain)(m)}
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	if m.Type == unigramType || m.Type == "" && bytes.HasPrefix(all.Vocab, []byte("[")) { // older files name no type
		m.Type = unigramType
		return m.readUnigram(all.Vocab)
	}
	if len(all.Vocab) == 0 {
		return nil
	}
	return json.Unmarshal(all.Vocab, &m.Vocab)
}

type addedToken struct {
	ID      int    `json:"id"`
	Content string `json:"content"`
	Special bool   `json:"special"`
	LStrip  bool   `json:"lstrip"`
	RStrip  bool   `json:"rstrip"`
	Single  bool   `json:"single_word"`
}
