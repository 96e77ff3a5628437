package synth

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/registry"
)

// Tokenizer names a small but real vocabulary, padded with unused tokens to the model's size.
type Tokenizer string

// The tokenizers. SPM and byte-level BPE encode any text: they have all 256 bytes.
const (
	// SPM is Llama 2's kind: <unk>, <s>, </s>, byte tokens, and pieces with scores. BOS is added.
	SPM Tokenizer = "spm"
	// GPT2, Qwen2, SmolLM, Llama3, LFM2 and GPT4o (of gpt-oss) are byte-level BPE with the pre-tokenizer and special
	// tokens of the models they are named after.
	GPT2   Tokenizer = "gpt-2"
	Qwen2  Tokenizer = "qwen2"
	SmolLM Tokenizer = "smollm"
	Llama3 Tokenizer = "llama-bpe"
	LFM2   Tokenizer = "lfm2"
	GPT4o  Tokenizer = "gpt-4o"
	// WordPiece is BERT's kind: [CLS] before a text and [SEP] behind it, lower-case letters, and pieces of words. Two
	// types of tokens.
	WordPiece Tokenizer = "bert"
	// Unigram is XLM-RoBERTa's kind: <s> before a text and </s> behind it, letters and pieces of words with a
	// log-probability each. One type of tokens.
	Unigram Tokenizer = "t5"
	// NoTokenizer leaves the vocabulary out (tokenizer.ggml.model "none"), which allows any size.
	NoTokenizer Tokenizer = "none"
)

// ChatML is a chat template in the format of Qwen and SmolLM.
const ChatML = `{% for message in messages %}` +
	`{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// Token types of llama.h (enum llama_token_type).
const (
	tokenNormal  int32 = 1
	tokenUnknown int32 = 2
	tokenControl int32 = 3
	tokenUnused  int32 = 5
	tokenByte    int32 = 6
)

type bpeKind struct {
	special            []string // appended after bytes and merges
	bos, eos, pad, eot string   // among special; empty: none
	addBOS             bool
}

var bpeKinds = map[Tokenizer]bpeKind{
	GPT2: {special: []string{"<|endoftext|>"}, bos: "<|endoftext|>", eos: "<|endoftext|>"},
	Qwen2: {special: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, bos: "<|endoftext|>", eos: "<|im_end|>",
		pad: "<|endoftext|>"},
	SmolLM: {special: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, bos: "<|im_start|>", eos: "<|im_end|>",
		pad: "<|im_end|>"},
	Llama3: {
		special: []string{"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
			"<|eot_id|>"},
		bos: "<|begin_of_text|>", eos: "<|end_of_text|>", eot: "<|eot_id|>", addBOS: true,
	},
	LFM2: {
		special: []string{"<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"},
		bos:     "<|startoftext|>", eos: "<|im_end|>", pad: "<|pad|>", addBOS: true,
	},
	GPT4o: {
		special: []string{"<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>",
			"<|end|>", "<|message|>", "<|call|>"},
		bos: "<|startoftext|>", eos: "<|return|>", pad: "<|endoftext|>",
	},
}

// A vocabulary is what the tokenizer keys hold.
type vocabulary struct {
	kind   Tokenizer
	model  string // tokenizer.ggml.model
	tokens []string
	scores []float32
	types  []int32
	merges []string
	ids    map[string]uint32 // "bos_token_id" and so on
	addBOS bool
	addEOS bool
}

func (s Spec) tokenizerKind() Tokenizer {
	if s.Tokenizer != "" {
		return s.Tokenizer
	}
	if a, err := arch.Get(s.Arch); err == nil && a.Example.Tokenizer != "" {
		return Tokenizer(a.Example.Tokenizer)
	}
	return SPM
}

func (s Spec) tokenizer() (*vocabulary, error) {
	kind := s.tokenizerKind()
	var v *vocabulary
	var least int
	switch k, isBPE := bpeKinds[kind]; {
	case kind == NoTokenizer:
		return &vocabulary{kind: kind, model: "none"}, nil
	case kind == SPM:
		v, least = spmVocabulary(s.Vocab)
	case kind == WordPiece:
		v, least = wordPieces(s.Vocab)
	case kind == Unigram:
		v, least = unigramPieces(s.Vocab)
	case isBPE:
		v, least = bpeVocabulary(kind, k, s.Vocab)
	default:
		return nil, &registry.UnknownError{Kind: "tokenizer", Name: string(kind),
			Known: []string{string(GPT2), string(GPT4o), string(LFM2), string(Llama3), string(NoTokenizer),
				string(Qwen2), string(SmolLM), string(SPM), string(Unigram), string(WordPiece)}}
	}
	if s.Vocab < least {
		return nil, fmt.Errorf(
			"vocabulary is %d; tokenizer %q has %d tokens of its own; use at least that, or tokenizer %q",
			s.Vocab, kind, least, NoTokenizer)
	}
	for i := len(v.tokens); i < s.Vocab; i++ {
		v.add(fmt.Sprintf("<unused%d>", i), 0, tokenUnused)
	}
	return v, nil
}

func (v *vocabulary) add(text string, score float32, typ int32) uint32 {
	v.tokens = append(v.tokens, text)
	v.scores = append(v.scores, score)
	v.types = append(v.types, typ)
	return uint32(len(v.tokens) - 1)
}

func (v *vocabulary) write(w *gguf.Writer) {
	w.SetString("tokenizer.ggml.model", v.model)
	if v.kind == NoTokenizer {
		return
	}
	switch v.kind {
	case SPM:
		w.Set("tokenizer.ggml.scores", gguf.NumbersValue(v.scores))
	case WordPiece:
		w.SetUint32(tokenTypesKey, tokenTypes[WordPiece])
	case Unigram:
		w.Set("tokenizer.ggml.scores", gguf.NumbersValue(v.scores))
		w.SetUint32(tokenTypesKey, tokenTypes[Unigram])
		w.SetBool("tokenizer.ggml.add_space_prefix", true)
		w.SetBool("tokenizer.ggml.remove_extra_whitespaces", true)
	default:
		w.SetString("tokenizer.ggml.pre", string(v.kind))
		w.SetStrings("tokenizer.ggml.merges", v.merges)
	}
	w.SetStrings("tokenizer.ggml.tokens", v.tokens)
	w.Set("tokenizer.ggml.token_type", gguf.NumbersValue(v.types))
	for _, key := range []string{"bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id",
		"eot_token_id", "seperator_token_id", "mask_token_id"} { // as llama.cpp spells it
		if id, ok := v.ids[key]; ok {
			w.SetUint32("tokenizer.ggml."+key, id)
		}
	}
	w.SetBool("tokenizer.ggml.add_bos_token", v.addBOS)
	if v.addEOS {
		w.SetBool("tokenizer.ggml.add_eos_token", true)
	}
}

// Letters by frequency, and the merges of the commonest pairs of them; each merge's parts stand before it.
var (
	letters = []string{"e", "t", "a", "o", "i", "n", "s", "r", "h", "l", "d", "u", "c", "m", "f", "y", "w", "g", "p",
		"b", "v", "k", "x", "q", "j", "z", ".", ","}
	pairings = [][2]string{
		{" ", "t"}, {"h", "e"}, {" ", "a"}, {"i", "n"}, {" t", "he"}, {"r", "e"}, {"o", "n"}, {" ", "s"}, {" ", "w"},
		{"e",
			"r"},
		{"a", "t"}, {"n", "d"}, {"o", "u"}, {" a", "nd"}, {"e", "d"}, {"in", "g"}, {" ", "o"}, {" t", "o"}, {"i", "s"},
		{"e",
			"n"},
	}
)

// spmVocabulary makes as much of the SPM vocabulary as size allows, and says what it needs at least.
func spmVocabulary(size int) (v *vocabulary, least int) {
	v = &vocabulary{kind: SPM, model: "llama", addBOS: true, ids: map[string]uint32{"unknown_token_id": 0,
		"bos_token_id": 1, "eos_token_id": 2}}
	v.add("<unk>", 0, tokenUnknown)
	v.add("<s>", 0, tokenControl)
	v.add("</s>", 0, tokenControl)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), 0, tokenByte)
	}
	least = len(v.tokens)
	var pieces []string
	pieces = append(pieces, "▁")
	pieces = append(pieces, letters...)
	for _, p := range pairings {
		pieces = append(pieces, spmText(p[0])+spmText(p[1]))
	}
	for i, p := range pieces {
		if len(v.tokens) >= size {
			break
		}
		// Scores are log-probabilities: whole pieces before single characters, in order of frequency.
		score := -float32(1 + i - len(letters) - 1)
		if i <= len(letters) {
			score = -float32(1000 + i)
		}
		v.add(p, score, tokenNormal)
	}
	return v, least
}

// tokenTypesKey is what files say of types of tokens, and tokenTypes how many generated ones have.
const tokenTypesKey = "tokenizer.ggml.token_type_count"

var tokenTypes = map[Tokenizer]uint32{WordPiece: 2, Unigram: 1}

// wordPieces makes as much of the WordPiece vocabulary as size allows, and says what it needs at least. In files a word
// begins with "▁", and what goes on has nothing before it.
func wordPieces(size int) (v *vocabulary, least int) {
	v = &vocabulary{kind: WordPiece, model: "bert", addBOS: true, ids: map[string]uint32{}}
	for _, s := range []struct{ text, key string }{{"[PAD]", "padding_token_id"}, {"[UNK]", "unknown_token_id"},
		{"[CLS]", "bos_token_id"}, {"[SEP]", "seperator_token_id"}, {"[MASK]", "mask_token_id"}} {
		v.ids[s.key] = v.add(s.text, 0, tokenControl)
	}
	for _, l := range letters {
		v.add("▁"+l, 0, tokenNormal)
		v.add(l, 0, tokenNormal)
	}
	least = len(v.tokens)
	for _, p := range pairings {
		if text := spmText(p[0]) + p[1]; len(v.tokens) < size && !slices.Contains(v.tokens, text) {
			v.add(text, 0, tokenNormal)
		}
	}
	return v, least
}

// unigramPieces makes as much of the Unigram vocabulary as size allows, and says what it needs at least.
func unigramPieces(size int) (v *vocabulary, least int) {
	v = &vocabulary{kind: Unigram, model: "t5", addBOS: true, addEOS: true, ids: map[string]uint32{"bos_token_id": 0,
		"padding_token_id": 1, "eos_token_id": 2, "seperator_token_id": 2, "unknown_token_id": 3, "mask_token_id": 4}}
	for _, s := range []string{"<s>", "<pad>", "</s>"} {
		v.add(s, 0, tokenControl)
	}
	v.add("<unk>", 0, tokenUnknown)
	v.add("<mask>", 0, tokenControl)
	v.add("▁", -4, tokenNormal)
	for i, l := range letters {
		v.add(l, -6-float32(i)/8, tokenNormal)
	}
	least = len(v.tokens)
	for i, p := range pairings {
		if text := spmText(p[0]) + p[1]; len(v.tokens) < size && !slices.Contains(v.tokens, text) {
			v.add(text, -5-float32(i)/8, tokenNormal)
		}
	}
	return v, least
}

func spmText(s string) string {
	if s[0] == ' ' {
		return "▁" + s[1:]
	}
	return s
}

// bpeVocabulary makes bytes, as many merges as fit, and the special tokens.
func bpeVocabulary(kind Tokenizer, k bpeKind, size int) (v *vocabulary, least int) {
	v = &vocabulary{kind: kind, model: "gpt2", addBOS: k.addBOS, ids: map[string]uint32{}}
	text := byteRunes()
	for _, b := range byteOrder() {
		v.add(string(text[b]), 0, tokenNormal)
	}
	least = len(v.tokens) + len(k.special)
	for _, p := range pairings {
		if len(v.tokens)+len(k.special) >= size {
			break
		}
		a, b := bpeText(text, p[0]), bpeText(text, p[1])
		v.merges = append(v.merges, a+" "+b)
		v.add(a+b, 0, tokenNormal)
	}
	for _, s := range k.special {
		id := v.add(s, 0, tokenControl)
		for key, name := range map[string]string{"bos_token_id": k.bos, "eos_token_id": k.eos,
			"padding_token_id": k.pad,
			"eot_token_id":     k.eot} {
			if name == s {
				v.ids[key] = id
			}
		}
	}
	return v, least
}

func bpeText(text [256]rune, s string) string {
	out := make([]rune, 0, len(s))
	for _, b := range []byte(s) {
		out = append(out, text[b])
	}
	return string(out)
}

// printable says whether GPT-2 writes a byte as the character of that number (bytes_to_unicode in openai/gpt-2's
// encoder.py).
func printable(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae }

// byteRunes is GPT-2's printable stand-in for each byte: the character itself, or one from U+0100 on.
func byteRunes() [256]rune {
	var out [256]rune
	next := rune(0x100)
	for b := range 256 {
		if printable(b) {
			out[b] = rune(b)
		} else {
			out[b] = next
			next++
		}
	}
	return out
}

// byteOrder is GPT-2's order of the byte tokens: printable ones first.
func byteOrder() []int {
	var first, rest []int
	for b := range 256 {
		if printable(b) {
			first = append(first, b)
		} else {
			rest = append(rest, b)
		}
	}
	return append(first, rest...)
}
