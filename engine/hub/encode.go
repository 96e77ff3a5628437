package hub

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"github.com/ggtune/ggtune/internal/regular"
)

// A splitter parts a text into what is encoded each for itself.
type splitter struct {
	model  string // tokenizer.ggml.model
	name   string // tokenizer.ggml.pre
	prefix bool   // SentencePiece: a blank is put before the text,
	every  bool   // and behind each added token
	// Byte-level BPE: what is cut, one after the other, and whether characters stand for bytes. Published definitions,
	// as tokenizer.json has them.
	cuts    []string
	normal  string // the normalizer of the published definition, which llama.cpp leaves out
	words   *words // of WordPiece
	unigram *unigram
}

const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	wordsOf      = `|[^\r\n\p{L}\p{N}]?\p{L}+|`
	restOf       = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt2Cut      = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	digitCut     = `\p{N}`
)

// splitters are those of byte-level BPE that are recognised, with llama.cpp's names (src/llama-vocab.cpp).
var splitters = []splitter{
	{name: "gpt-2", cuts: []string{gpt2Cut}},
	{name: "qwen2", cuts: []string{contractions + wordsOf + `\p{N}` + restOf}, normal: "NFC"},
	{name: "llama-bpe", cuts: []string{contractions + wordsOf + `\p{N}{1,3}` + restOf}},
	{name: "smollm", cuts: []string{digitCut, gpt2Cut}},
}

// A part is one of a normalizer or a pre-tokenizer.
type part struct {
	Type        string          `json:"type"`
	Normalizers []part          `json:"normalizers"`
	Pre         []part          `json:"pretokenizers"`
	Prepend     string          `json:"prepend"`
	Content     string          `json:"content"`
	Pattern     json.RawMessage `json:"pattern"`
	Behavior    string          `json:"behavior"`
	Invert      bool            `json:"invert"`
	UseRegex    *bool           `json:"use_regex"`
	AddPrefix   bool            `json:"add_prefix_space"`
	Individual  bool            `json:"individual_digits"`
	Replacement string          `json:"replacement"`
	Scheme      string          `json:"prepend_scheme"`
	Charsmap    string          `json:"precompiled_charsmap"`
	Left        bool            `json:"strip_left"`
	Right       bool            `json:"strip_right"`
}

// parts reads a list, which may be one, or none.
func parts(raw json.RawMessage) ([]part, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var p part
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	if p.Type == "Sequence" {
		return append(p.Normalizers, p.Pre...), nil
	}
	return []part{p}, nil
}

func (t *Tokenizer) sentencePiece() bool { return t.split.model == "llama" }

// recognise finds what llama.cpp calls the way in which the definition parts texts.
func (t *Tokenizer) recognise() error {
	normal, err := parts(t.def.Normalizer)
	if err != nil {
		return fmt.Errorf("normalizer: %w", err)
	}
	pre, err := parts(t.def.Pre)
	if err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	switch {
	case t.def.Model.Type == "WordPiece":
		t.split, err = t.wordPieceOf(pre)
		return err
	case t.def.Model.Type == unigramType:
		t.split, err = t.unigramOf(normal, pre)
		return err
	case t.def.Model.ByteFallback:
		t.split, err = sentencePieceOf(normal, pre)
		return err
	}
	for _, p := range normal {
		if p.Type != "NFC" { // which only changes text that is not normal
			return fmt.Errorf("the normalizer %q is not known for byte-level BPE; known: NFC", p.Type)
		}
	}
	cuts, err := cutsOf(pre)
	if err != nil {
		return err
	}
	var known []string
	for _, s := range splitters {
		if slices.Equal(s.cuts, cuts) {
			t.split = s
			t.split.model = "gpt2"
			return nil
		}
		known = append(known, s.name)
	}
	return fmt.Errorf("the pre-tokenizer is not recognised by its definition: it cuts by %q; known: %s; llama.cpp's "+
		"own converter may know it by the published vocabulary", cuts, strings.Join(known, ", "))
}

// sentencePieceOf recognises blanks written as ▁, with one put before the text or not.
func sentencePieceOf(normal, pre []part) (splitter, error) {
	s := splitter{model: "llama", name: "default"}
	blanks := false
	for _, p := range append(normal, pre...) {
		switch {
		case p.Type == "Prepend" && p.Prepend == "▁":
			s.prefix, s.every = true, true
		case p.Type == "Replace" && string(p.Pattern) != "" && patternText(p.Pattern) == " " && p.Content == "▁":
			blanks = true
		case p.Type == "Metaspace" && p.Replacement == "▁":
			blanks, s.prefix, s.every = true, p.Scheme != "never", p.Scheme == "always"
		default:
			return s, fmt.Errorf("the normalizer or pre-tokenizer %q is not known beside byte_fallback; known: "+
				"Prepend and Replace of blanks by ▁, Metaspace", p.Type)
		}
	}
	if !blanks {
		return s, fmt.Errorf("the tokenizer has byte_fallback and does not write blanks as ▁; it is not known")
	}
	return s, nil
}

func patternText(raw json.RawMessage) string {
	var p struct{ String, Regex string }
	if json.Unmarshal(raw, &p) != nil {
		return ""
	}
	return p.String + p.Regex
}

// cutsOf lists the expressions that a byte-level pre-tokenizer cuts by.
func cutsOf(pre []part) (cuts []string, err error) {
	for i, p := range pre {
		last := i == len(pre)-1
		switch {
		case p.Type == "Split" && p.Behavior == "Isolated" && !p.Invert && !last:
			cuts = append(cuts, patternText(p.Pattern))
		case p.Type == "Digits" && p.Individual && !last:
			cuts = append(cuts, digitCut)
		case p.Type == "ByteLevel" && last && !p.AddPrefix:
			if p.UseRegex == nil || *p.UseRegex {
				cuts = append(cuts, gpt2Cut)
			}
			return cuts, nil
		default:
			return nil, fmt.Errorf("the pre-tokenizer has a part %q that is not known here", p.Type)
		}
	}
	return nil, fmt.Errorf("the tokenizer has no byte-level pre-tokenizer and no byte_fallback; it is not known")
}

// byteChars are the characters that stand for bytes in byte-level BPE (GPT-2's bytes_to_unicode).
var byteChars = func() (out [256]rune) {
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			out[b] = r
			continue
		}
		out[b] = next
		next++
	}
	return out
}()

// Encode gives the ids that the definition gives a text, without tokens before and behind it; the texts of added tokens
// are these tokens. -1 stands for what has no token.
func (t *Tokenizer) Encode(text string) ([]int32, error) {
	cuts := make([]*regexp2.Regexp, len(t.split.cuts))
	for i, c := range t.split.cuts {
		var err error
		if cuts[i], err = regexp2.Compile(c, regexp2.None); err != nil {
			return nil, err
		}
	}
	var out []int32
	first := true
	for len(text) > 0 {
		plain, token := t.nextAdded(text)
		if plain != "" {
			ids, err := t.plain(plain, cuts, first)
			if err != nil {
				return nil, err
			}
			out = append(out, ids...)
		}
		text = text[len(plain):]
		if token != nil {
			out = append(out, int32(token.ID))
			text = text[len(token.Content):]
		}
		first = false
	}
	return out, nil
}

// nextAdded gives what stands before the first added token in a text, and that token.
func (t *Tokenizer) nextAdded(text string) (string, *addedToken) {
	at, found := len(text), (*addedToken)(nil)
	for _, a := range t.added() {
		if i := strings.Index(text, a.Content); i >= 0 && i < at {
			at, found = i, &a
		}
	}
	return text[:at], found
}

func (t *Tokenizer) plain(text string, cuts []*regexp2.Regexp, first bool) (out []int32, err error) {
	if t.sentencePiece() {
		text = strings.ReplaceAll(text, " ", "▁")
		if t.split.prefix && (first || t.split.every) {
			text = "▁" + text
		}
		var chars []string
		for _, r := range text {
			chars = append(chars, string(r))
		}
		return t.ids(t.merge(chars)), nil
	}
	if t.split.unigram != nil {
		return t.unigramIDs(text), nil
	}
	if t.ByWords() {
		for _, word := range t.split.words.of(text) {
			out = append(out, t.wordPieces(word)...)
		}
		return out, nil
	}
	pieces := []string{text}
	for _, re := range cuts {
		var next []string
		for _, p := range pieces {
			cut, err := isolate(re, p)
			if err != nil {
				return nil, err
			}
			next = append(next, cut...)
		}
		pieces = next
	}
	for _, p := range pieces {
		var chars []string
		for _, b := range []byte(p) {
			chars = append(chars, string(byteChars[b]))
		}
		if _, ok := t.def.Model.Vocab[strings.Join(chars, "")]; ok && t.def.Model.IgnoreMerges {
			chars = []string{strings.Join(chars, "")}
		}
		out = append(out, t.ids(t.merge(chars))...)
	}
	return out, nil
}

// isolate cuts a text before and behind each match.
func isolate(re *regexp2.Regexp, text string) (out []string, err error) {
	runes := []rune(text)
	at := 0
	m, err := re.FindRunesMatch(runes)
	for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
		if m.Length == 0 {
			continue
		}
		if m.Index > at {
			out = append(out, string(runes[at:m.Index]))
		}
		out = append(out, string(runes[m.Index:m.Index+m.Length]))
		at = m.Index + m.Length
	}
	if at < len(runes) {
		out = append(out, string(runes[at:]))
	}
	return out, err
}

// merge joins the two neighbours whose merge comes first, as long as there are any.
func (t *Tokenizer) merge(symbols []string) []string {
	for {
		best, at := math.MaxInt, -1
		for i := range len(symbols) - 1 {
			if r, ok := t.rank[[2]string{symbols[i], symbols[i+1]}]; ok && r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			return symbols
		}
		symbols = slices.Replace(symbols, at, at+2, symbols[at]+symbols[at+1])
	}
}

// ids gives the symbols' numbers; one without a token is written in bytes, if the vocabulary has them.
func (t *Tokenizer) ids(symbols []string) (out []int32) {
	for _, s := range symbols {
		if id, ok := t.def.Model.Vocab[s]; ok {
			out = append(out, int32(id))
			continue
		}
		var bytes []int32
		for _, b := range []byte(s) {
			id, ok := t.def.Model.Vocab[fmt.Sprintf("<0x%02X>", b)]
			if !ok || !t.sentencePiece() {
				bytes = []int32{-1}
				break
			}
			bytes = append(bytes, int32(id))
		}
		out = append(out, bytes...)
	}
	return out
}

// readText reads a file of text.
func readText(path string) (string, error) {
	b, err := regular.Read(path, maxConfig)
	if err == nil && !utf8.Valid(b) {
		err = fmt.Errorf("%s is not UTF-8", path)
	}
	return string(b), err
}
