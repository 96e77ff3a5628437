package encode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Wholes encode whole texts, of each of which one vector is made. They are not safe for concurrent use.
type Wholes struct {
	tok Tokenizer
	// alone has, of each prefix that there was, the tokens that it has without a text.
	alone map[string][]int32
}

// NewWholes encodes with a tokenizer.
func NewWholes(tok Tokenizer) *Wholes { return &Wholes{tok, map[string][]int32{}} }

// Encode gives the tokens of a text with a prefix before it as llama.cpp's server has them: with what the model expects
// at both ends (BOS, EOS, CLS, SEP), and the texts of control tokens read as those tokens. Of a text of more than most
// tokens the end is left out, but for what the model expects there; long is then how many it has, and else 0. A text of
// which nothing is left is refused: its vector would be that of any such text.
func (w *Wholes) Encode(prefix, text string, most int) (tokens []int32, long int, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, 0, errors.New("the text is empty, and has no vector that says anything")
	}
	if tokens, err = w.tok.Encode(prefix+text, true, true); err != nil {
		return nil, 0, err
	}
	alone, ok := w.alone[prefix]
	if !ok {
		if alone, err = w.tok.Encode(prefix, true, true); err != nil {
			return nil, 0, err
		}
		w.alone[prefix] = alone
	}
	if slices.Equal(tokens, alone) {
		return nil, 0, fmt.Errorf("the model's vocabulary makes no token of the text %q, and its vector says nothing",
			text)
	}
	if len(tokens) <= most {
		return tokens, 0, nil
	}
	bare, err := w.tok.Encode(prefix+text, false, true)
	if err != nil {
		return nil, 0, err
	}
	// What the vocabulary adds stands around the text's own tokens.
	lead := 0
	for lead+len(bare) < len(tokens) && !slices.Equal(tokens[lead:lead+len(bare)], bare) {
		lead++
	}
	ends := len(tokens) - lead - len(bare)
	if most <= len(alone) {
		return nil, 0, fmt.Errorf("of the text's %d tokens %d are read, and there is no room for one of its own "+
			"beside the %d of what stands before and behind every text; give longer rows (--seq-len)", len(tokens),
			most, len(alone))
	}
	return slices.Concat(tokens[:most-ends], tokens[len(tokens)-ends:]), len(tokens), nil
}

// Texts gives the first n texts of items of which vectors are made; below 0, all of them. Of a text that is there
// twice, for dropout to make two vectors of, there is one.
func Texts(items []Item, n int) (texts [][]int32) {
	for i := range items {
		for k := range items[i].Segments {
			text := items[i].Segment(k)
			if again := k > 0 && slices.Equal(text, items[i].Segment(k-1)); !again && (n < 0 || len(texts) < n) {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

// Segment gives the tokens of a segment.
func (it *Item) Segment(k int) []int32 {
	s := it.Segments[k]
	return it.Tokens[s.Start : s.Start+s.Len]
}

// SegmentCounted says which tokens of a segment count.
func (it *Item) SegmentCounted(k int) []bool {
	s := it.Segments[k]
	return it.Counted[s.Start : s.Start+s.Len]
}
