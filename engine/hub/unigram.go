package hub

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ggtune/ggtune/engine/gguf"
)

// unigramType is tokenizers' name of the model.
const unigramType = "Unigram"

// blank is what SentencePiece writes for a space.
const blank = "▁"

// A unigram says how texts come apart where each token has a log-probability: characters are replaced, words begin with
// a blank, and of all ways to write a word in tokens the likeliest is taken (Kudo 2018, SentencePiece).
type unigram struct {
	chars   *charsmap // nil: none is replaced
	space   func(rune) bool
	endless bool // by the definition blanks at the end of a text are a token
	least   float64
	longest int // bytes of a token
}

// readUnigram reads the tokens of a Unigram, [text, score] each.
func (m *tokenModel) readUnigram(b []byte) error {
	var list [][]any
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	m.Vocab = make(map[string]int, len(list))
	for id, one := range list {
		if len(one) != 2 {
			return fmt.Errorf("token %d has %d parts, expected a text and its score", id, len(one))
		}
		text, ok := one[0].(string)
		score, number := one[1].(float64)
		if !ok || !number || math.IsInf(float64(float32(score)), 0) {
			return fmt.Errorf("token %d is %v, expected a text and its score", id, one)
		}
		if first, ok := m.Vocab[text]; ok {
			return fmt.Errorf("tokens %d and %d are both %q", first, id, text)
		}
		m.Vocab[text], m.Scores = id, append(m.Scores, score)
	}
	return nil
}

// unigramOf recognises the way of XLM-RoBERTa's tokenizers, of several versions; what llama.cpp does otherwise is
// refused: with squeezed blanks it puts one before every word.
func (t *Tokenizer) unigramOf(normal, pre []part) (splitter, error) {
	u := &unigram{space: func(r rune) bool { return r == ' ' || string(r) == blank }, least: math.Inf(1)}
	s := splitter{model: "t5", name: "default", unigram: u}
	squeezes, strips, begins := false, false, false
	for i, p := range append(normal, pre...) {
		switch {
		case p.Type == "Precompiled" && i == 0:
			b, err := base64.StdEncoding.DecodeString(p.Charsmap)
			if err == nil && len(b) > 0 {
				u.chars, err = parseCharsmap(b)
			}
			if err != nil {
				return s, fmt.Errorf("precompiled_charsmap: %w", err)
			}
		case p.Type == "Strip" && !p.Left && p.Right:
			strips = true
		case p.Type == "Replace" && patternText(p.Pattern) == " {2,}" && (p.Content == " " || p.Content == blank):
			squeezes = true
		case p.Type == "WhitespaceSplit":
			squeezes, strips, u.space = true, true, unicode.IsSpace
		case p.Type == "Metaspace" && p.Replacement == blank:
			begins = p.Scheme == "always" || p.Scheme == "" && p.AddPrefix
		default:
			return s, fmt.Errorf("the normalizer or pre-tokenizer %q is not known in this form beside Unigram; known: "+
				"Precompiled, Strip on the right, Replace of runs of blanks, WhitespaceSplit, Metaspace", p.Type)
		}
	}
	u.endless = !strips
	if !squeezes || !begins {
		return s, errors.New("runs of blanks are kept, or words begin without one (Metaspace); llama.cpp reads texts " +
			"so only where blanks are squeezed and every word begins with one")
	}
	return s, t.unigramTokens(u)
}

// unigramTokens looks over the vocabulary.
func (t *Tokenizer) unigramTokens(u *unigram) error {
	m := &t.def.Model
	if m.UnkID == nil || *m.UnkID < 0 || *m.UnkID >= len(m.Scores) {
		return errors.New("unk_id names none of its tokens; llama.cpp needs one")
	}
	if m.ByteFallback {
		return errors.New("the Unigram has byte_fallback, which llama.cpp has not for it")
	}
	for text, id := range m.Vocab {
		u.least, u.longest = min(u.least, m.Scores[id]), max(u.longest, len(text))
		if inner := strings.LastIndex(text, blank); inner > 0 && strings.Trim(text, blank) != "" {
			return fmt.Errorf("token %d, %q, goes on behind a word, and tokenizer.json parts words", id, text)
		}
	}
	if u.longest > maxPiece {
		return fmt.Errorf("a token has %d bytes; SentencePiece's have at most %d", u.longest, maxPiece)
	}
	return nil
}

// unigramKeys writes what GGUF has of a Unigram alone, in the converter's order.
func (t *Tokenizer) unigramKeys(w *gguf.Writer) error {
	if t.split.unigram == nil {
		return nil
	}
	w.SetBool("tokenizer.ggml.add_space_prefix", true)
	if err := t.model.tokenTypes(w); err != nil {
		return err
	}
	w.SetBool("tokenizer.ggml.remove_extra_whitespaces", true)
	if c := t.split.unigram.chars; c != nil {
		w.Set("tokenizer.ggml.precompiled_charsmap", gguf.NumbersValue(c.bytes))
	}
	return nil
}

// unigramIDs gives a text's tokens. Hugging Face's tokenizers replaces a character and its marks together where these
// have at most five bytes, by the shortest beginning that it finds, and else one by one; here as in SentencePiece, by
// which such models were trained, and in llama.cpp it is the longest.
func (t *Tokenizer) unigramIDs(text string) (out []int32) {
	u := t.split.unigram
	for _, word := range strings.FieldsFunc(u.chars.replace(text), u.space) {
		out = append(out, t.likeliest(blank+word)...)
	}
	return out
}

// unknownPenalty is how much less likely than the least likely token an unknown character is (SentencePiece's
// kUnkPenalty).
const unknownPenalty = 10

// likeliest is Viterbi's path through a word: of all ways to write it that of the largest sum of scores. Unknown
// characters beside each other are one token.
func (t *Tokenizer) likeliest(word string) (out []int32) {
	type step struct {
		from int
		id   int32
		sum  float64
	}
	m, u := &t.def.Model, t.split.unigram
	unk := int32(*m.UnkID)
	best := make([]step, len(word)+1)
	for i := range best[1:] {
		best[i+1].sum = math.Inf(-1)
	}
	take := func(from, to int, id int32, score float64) {
		if sum := best[from].sum + score; sum > best[to].sum {
			best[to] = step{from, id, sum}
		}
	}
	for at, r := range word {
		_, size := utf8.DecodeRuneInString(word[at:])
		if r == utf8.RuneError && size == 1 {
			return []int32{-1}
		}
		alone := false
		for end := at + 1; end <= min(len(word), at+u.longest); end++ {
			if id, ok := m.Vocab[word[at:end]]; ok {
				take(at, end, int32(id), m.Scores[id])
				alone = alone || end == at+size
			}
		}
		if !alone {
			take(at, at+size, unk, u.least-unknownPenalty)
		}
	}
	for at := len(word); at > 0; at = best[at].from {
		if id := best[at].id; id != unk || len(out) == 0 || out[len(out)-1] != unk {
			out = append(out, id)
		}
	}
	slices.Reverse(out)
	return out
}

// A charsmap is SentencePiece's precompiled_charsmap: a double array of beginnings of texts (darts-clone), whose values
// are places in what replaces them.
type charsmap struct {
	bytes []byte // as a whole
	units []uint32
	texts []byte // each ends with 0
}

// parseCharsmap reads one: the bytes of its units, the units, the texts.
func parseCharsmap(b []byte) (*charsmap, error) {
	n, err := gguf.CharsmapUnits(b)
	if err != nil {
		return nil, err
	}
	c := &charsmap{bytes: b, texts: b[4+4*n:]}
	for i := range n {
		c.units = append(c.units, binary.LittleEndian.Uint32(b[4+4*i:]))
	}
	return c, nil
}

// replace replaces at each place the longest beginning that has a text in its place.
func (c *charsmap) replace(text string) string {
	if c == nil {
		return text
	}
	var out strings.Builder
	for text != "" {
		to, n := c.longest(text)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text)
			to = text[:n]
		}
		out.WriteString(to)
		text = text[n:]
	}
	return out.String()
}

// longest finds what stands for a text's longest beginning that has such, and its bytes; 0: none has.
func (c *charsmap) longest(text string) (to string, n int) {
	unit := func(at uint32) uint32 {
		if int64(at) >= int64(len(c.units)) {
			return 0 // of a broken one, at which llama.cpp fails
		}
		return c.units[at]
	}
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	at := offset(unit(0))
	for i := range len(text) {
		at ^= uint32(text[i])
		u := unit(at)
		if text[i] == 0 || u&(1<<31|0xff) != uint32(text[i]) {
			break
		}
		at ^= offset(u)
		if value := unit(at) &^ (1 << 31); u>>8&1 == 1 && int64(value) < int64(len(c.texts)) {
			rest := c.texts[value:]
			to, n = string(rest[:bytes.IndexByte(rest, 0)]), i+1
		}
	}
	return to, n
}
