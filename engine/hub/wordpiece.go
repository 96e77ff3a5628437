package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bertSplit is what llama.cpp's converter calls the vocabulary of bert-base-uncased (that of bge has the same hash, and
// is overruled). llama.cpp cuts words by tokenizer.ggml.model and reads the name of no such vocabulary.
const bertSplit = "jina-v2-en"

// words says how BERT's tokenizer makes words of a text (Hugging Face's tokenizers, normalizers/bert.rs).
type words struct {
	Clean   bool  `json:"clean_text"`
	Chinese bool  `json:"handle_chinese_chars"`
	Accents *bool `json:"strip_accents"` // absent: as Lower
	Lower   *bool `json:"lowercase"`
	longest int   // characters of a word; beyond it is unknown
}

// wordPieceOf recognises BERT's way; another is refused.
func (t *Tokenizer) wordPieceOf(pre []part) (splitter, error) {
	s := splitter{model: "bert", name: bertSplit, words: &words{longest: 100}}
	var kind struct{ Type string }
	if err := json.Unmarshal(t.def.Normalizer, &kind); err != nil || kind.Type != "BertNormalizer" {
		return s, fmt.Errorf("the normalizer %.60s is not known for WordPiece; known: BertNormalizer", t.def.Normalizer)
	}
	if err := json.Unmarshal(t.def.Normalizer, s.words); err != nil {
		return s, fmt.Errorf("normalizer: %w", err)
	}
	if len(pre) != 1 || pre[0].Type != "BertPreTokenizer" {
		return s, fmt.Errorf("the pre-tokenizer %.60s is not known for WordPiece; known: BertPreTokenizer", t.def.Pre)
	}
	if n := t.def.Model.Longest; n != nil {
		s.words.longest = *n
	}
	if _, ok := t.def.Model.Vocab[t.unknown()]; !ok {
		return s, fmt.Errorf("unk_token is %q, which is no token; llama.cpp needs one", t.unknown())
	}
	return s, nil
}

func (t *Tokenizer) unknown() string {
	if t.def.Model.Unk == nil {
		return ""
	}
	return *t.def.Model.Unk
}

func (w *words) lower() bool { return w.Lower != nil && *w.Lower }

func (w *words) strips() bool { return w.Accents == nil && w.lower() || w.Accents != nil && *w.Accents }

// of cuts a text into words: at blanks, and before and behind each punctuation mark and Chinese character.
func (w *words) of(text string) (out []string) {
	if w.strips() {
		text = WithoutMarks(text)
	}
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	for _, r := range text {
		blank := unicode.IsSpace(r)
		switch {
		case w.Clean && !blank && (r == 0 || r == utf8.RuneError || other(r)):
		case blank:
			end()
		case punctuation(r) || w.Chinese && chinese(r):
			end()
			out = append(out, w.lowered(r))
		default:
			word.WriteString(w.lowered(r))
		}
	}
	end()
	return out
}

func (w *words) lowered(r rune) string {
	switch {
	case !w.lower():
		return string(r)
	case r == 'İ': // the one that becomes two (Unicode's SpecialCasing.txt)
		return "i\u0307"
	}
	return string(unicode.ToLower(r))
}

// WithoutMarks parts characters from their accents and leaves these out.
func WithoutMarks(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(text))
}

// other says whether a character is a control, a format, of private use, or none at all.
func other(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z)
}

func punctuation(r rune) bool {
	return r > ' ' && r < 0x7f && !unicode.In(r, unicode.L, unicode.N) || unicode.IsPunct(r)
}

// chinese are the blocks that BERT parts (tokenizers' is_chinese_char).
func chinese(r rune) bool {
	for _, block := range [][2]rune{{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
		{0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff}, {0x2f800, 0x2fa1f}} {
		if r >= block[0] && r <= block[1] {
			return true
		}
	}
	return false
}

// wordPieces gives the ids of a word: the longest piece that it begins with, and so on; one unknown token where that
// fails.
func (t *Tokenizer) wordPieces(word string) (out []int32) {
	unknown := []int32{int32(t.def.Model.Vocab[t.unknown()])}
	if utf8.RuneCountInString(word) > t.split.words.longest {
		return unknown
	}
	for prefix := ""; word != ""; prefix = piecePrefix {
		n := len(word)
		id, ok := t.def.Model.Vocab[prefix+word]
		for !ok && n > 0 {
			_, last := utf8.DecodeLastRuneInString(word[:n])
			n -= last
			id, ok = t.def.Model.Vocab[prefix+word[:n]]
			ok = ok && n > 0
		}
		if !ok {
			return unknown
		}
		out, word = append(out, int32(id)), word[n:]
	}
	return out
}

// piecePrefix stands before the pieces that go on with a word.
const piecePrefix = "##"

// phantom writes a piece as llama.cpp looks it up: with ▁ where a word begins, and nothing before the others.
func phantom(token string, kind int32) string {
	if kind == tokenControl {
		return token
	}
	if rest, ok := strings.CutPrefix(token, piecePrefix); ok {
		return rest
	}
	return "▁" + token
}
