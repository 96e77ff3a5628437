package llama

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
)

// VocabType is the kind of a tokenizer, with llama.cpp's numbers.
type VocabType int

// The kinds.
const (
	VocabNone   VocabType = 0
	VocabSPM    VocabType = 1 // SentencePiece as in Llama 2, with byte fallback where the vocabulary has byte tokens
	VocabBPE    VocabType = 2 // byte-level BPE as in GPT-2
	VocabWPM    VocabType = 3 // WordPiece as in BERT
	VocabUGM    VocabType = 4 // Unigram as in T5
	VocabRWKV   VocabType = 5
	VocabPLaMo2 VocabType = 6
)

// String returns the kind's usual name.
func (t VocabType) String() string {
	names := [...]string{"none", "SPM", "BPE", "WPM", "UGM", "RWKV", "PLaMo2"}
	if t < 0 || int(t) >= len(names) {
		return fmt.Sprintf("kind %d", int(t))
	}
	return names[t]
}

// maxText is the longest text of one Encode in bytes. llama.cpp counts in 32 bits, and a character may become several
// tokens.
const maxText = 1 << 27

// A Vocab is a model's tokenizer. It is safe for concurrent use, one call at a time.
type Vocab struct {
	model    *Model
	owned    bool // the Vocab was loaded by itself: closing it closes model
	typ      VocabType
	n        int
	bos, eos int32
	eot, sep int32
	pad, unk int32
	addBOS   bool
	addEOS   bool
	lossy    bool      // some bytes have no token
	missing  [256]bool // which
	flags    []uint8   // by token: GT_TOKEN_*

	mu     sync.Mutex
	ptr    *C.gt_model // model's own; nil when closed
	status C.gt_status
	tokens []int32 // room, kept between calls
	text   []byte  // room, kept between calls
}

// LoadVocab opens only the vocabulary of a GGUF file, which need not hold tensors. Close it.
func LoadVocab(path string) (*Vocab, error) {
	m, err := openModel("read the vocabulary", path, &C.gt_model_options{vocab_only: true, use_mmap: true})
	if err != nil {
		return nil, err
	}
	if m.vocab.typ == VocabNone || m.vocab.n == 0 {
		m.free()
		return nil, fmt.Errorf("%s: the file holds no tokenizer (tokenizer.ggml.model, tokenizer.ggml.tokens)", path)
	}
	m.vocab.owned = true
	return m.vocab, nil
}

func newVocab(m *Model, info *C.gt_model_info) (*Vocab, error) {
	// where a file names no special token llama.cpp takes a usual number, which a small vocabulary need not have
	special := func(id C.int32_t) int32 {
		if id < 0 || id >= info.n_vocab {
			return -1
		}
		return int32(id)
	}
	v := &Vocab{
		model: m, ptr: m.ptr, typ: VocabType(info.vocab_type), n: int(info.n_vocab),
		bos: special(info.bos), eos: special(info.eos), eot: special(info.eot), sep: special(info.sep),
		pad: special(info.pad), unk: special(info.unk), addBOS: bool(info.add_bos), addEOS: bool(info.add_eos),
	}
	for i := range v.missing {
		v.missing[i] = bool(info.missing_byte[i])
		v.lossy = v.lossy || v.missing[i]
	}
	if v.typ == VocabNone || v.n == 0 {
		return v, nil
	}
	v.flags = make([]uint8, v.n)
	if C.gt_model_flags(v.ptr, (*C.uint8_t)(&v.flags[0]), &v.status) != C.GT_OK {
		return nil, statusError(m.path+": read the vocabulary", &v.status)
	}
	return v, nil
}

// Close frees a vocabulary that LoadVocab opened; a model's is closed with the model. It may be called again and on
// nil.
func (v *Vocab) Close() error {
	if v == nil || !v.owned {
		return nil
	}
	return v.model.Close()
}

func (v *Vocab) shut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ptr = nil
}

// Warnings returns what llama.cpp warned of while it opened the file.
func (v *Vocab) Warnings() []string { return v.model.warnings }

// SplitsByDefault says that llama.cpp did not know how the file splits text, or was not told, and took its default.
func (v *Vocab) SplitsByDefault() bool {
	return slices.ContainsFunc(v.model.warnings,
		func(w string) bool { return strings.Contains(w, "unrecognized pre-tokenizer") })
}

// Type returns the kind of tokenizer.
func (v *Vocab) Type() VocabType { return v.typ }

// N returns the number of tokens.
func (v *Vocab) N() int { return v.n }

// BOS returns the token that begins a text, or -1 where the vocabulary has none; so do the five below.
func (v *Vocab) BOS() int32 { return v.bos }

// EOS returns the token that ends a text, or -1.
func (v *Vocab) EOS() int32 { return v.eos }

// EOT returns the token that ends a turn, or -1.
func (v *Vocab) EOT() int32 { return v.eot }

// UNK returns the first token marked as standing for what is not in the vocabulary, or -1.
func (v *Vocab) UNK() int32 { return v.unk }

// PAD returns the token that fills up a batch, or -1.
func (v *Vocab) PAD() int32 { return v.pad }

// AddBOS reports whether the model asks for BOS before every text.
func (v *Vocab) AddBOS() bool { return v.addBOS }

// AddEOS reports whether the model asks for EOS after every text.
func (v *Vocab) AddEOS() bool { return v.addEOS }

// IsEOG reports whether generation ends at this token. Of a number that is no token it returns false, as do the others.
func (v *Vocab) IsEOG(id int32) bool { return v.flag(id, C.GT_TOKEN_EOG) }

// Ends reports whether the vocabulary has a token that ends a text. named is the one that the model's file names
// (tokenizer.ggml.eos_token_id), -1 where it names none: llama.cpp then takes one by its number, which may be a word.
func (v *Vocab) Ends(named int64) bool {
	for id := range int32(v.N()) {
		if v.IsEOG(id) && v.IsControl(id) {
			return true
		}
	}
	return v.EOS() >= 0 && named == int64(v.EOS())
}

// IsControl reports whether the token is a marker rather than text.
func (v *Vocab) IsControl(id int32) bool { return v.flag(id, C.GT_TOKEN_CONTROL) }

// IsByte reports whether the token stands for one byte of a character that has no token.
func (v *Vocab) IsByte(id int32) bool { return v.flag(id, C.GT_TOKEN_BYTE) }

func (v *Vocab) flag(id int32, f uint8) bool {
	return id >= 0 && int(id) < len(v.flags) && v.flags[id]&f != 0
}

// An UnencodableError says that a text holds a character for which the vocabulary has neither a token nor tokens for
// its bytes, or holds something that is not UTF-8.
type UnencodableError struct {
	Offset int    // bytes from the beginning of the text
	Char   string // the character, or the byte that is not UTF-8
}

// Error says what and where.
func (e *UnencodableError) Error() string {
	if !utf8.ValidString(e.Char) {
		return fmt.Sprintf("byte %#02x at byte offset %d is not UTF-8; convert the text to UTF-8", e.Char[0], e.Offset)
	}
	r, _ := utf8.DecodeRuneInString(e.Char)
	return fmt.Sprintf(
		"the character %q (%U) at byte offset %d has no token, and the vocabulary has no byte tokens to spell it; "+
			"replace or remove the character, or use a model whose vocabulary has byte tokens", r, r, e.Offset)
}

// Encode turns text, which must be UTF-8, into tokens. addSpecial puts BOS before and EOS after where the model asks
// for them; parseSpecial recognises the names of control tokens in the text, which otherwise are text like any other.
// The result is the caller's.
//
// A text that cannot be encoded gives an error that matches *UnencodableError.
func (v *Vocab) Encode(text string, addSpecial, parseSpecial bool) ([]int32, error) {
	if err := v.encodable(text, addSpecial); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ptr == nil {
		return nil, fmt.Errorf("encode text: vocabulary %w", bindings.ErrClosed)
	}
	out, err := v.encode(text, addSpecial, parseSpecial)
	var e *bindings.Error
	if errors.As(err, &e) && e.Code == bindings.Missing || err == nil && v.drops(text) {
		if bad := v.locate(text); bad != nil {
			return nil, fmt.Errorf("encode text: %w", bad)
		}
	}
	return out, err
}

// encodable checks what llama.cpp would assert or repair silently.
func (v *Vocab) encodable(text string, addSpecial bool) error {
	if len(text) > maxText {
		return fmt.Errorf("encode text of %d bytes: at most %d bytes at once; split it", len(text), maxText)
	}
	for i, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return fmt.Errorf("encode text: %w", &UnencodableError{Offset: i, Char: text[i : i+1]})
			}
		}
	}
	if v.typ == VocabNone {
		return errors.New("encode text: the model has no tokenizer")
	}
	if !addSpecial {
		return nil
	}
	switch {
	case v.bos < 0 && (v.addBOS || v.typ == VocabWPM):
		return errors.New(
			"encode text: the model asks for a token before every text but names none (tokenizer.ggml.bos_token_id)")
	case v.eos < 0 && v.addEOS && v.typ != VocabWPM:
		return errors.New(
			"encode text: the model asks for a token after every text but names none (tokenizer.ggml.eos_token_id)")
	case v.sep < 0 && v.typ == VocabWPM:
		return errors.New("encode text: the model asks for a token after every text but names none " +
			"(tokenizer.ggml.seperator_token_id)")
	}
	return nil
}

// encode is one call of llama.cpp's tokenizer. The caller holds mu.
func (v *Vocab) encode(text string, addSpecial, parseSpecial bool) ([]int32, error) {
	// most texts have fewer tokens than bytes; where there are more, llama.cpp says how many and is asked again
	v.tokens = grown(v.tokens, len(text)+16)
	p := (*C.char)(unsafe.Pointer(&emptyText))
	if len(text) > 0 {
		p = (*C.char)(unsafe.Pointer(unsafe.StringData(text)))
	}
	for {
		var n C.int32_t
		code := C.gt_encode(v.ptr, p, C.int32_t(len(text)), C.bool(addSpecial), C.bool(parseSpecial),
			(*C.int32_t)(&v.tokens[0]), C.int32_t(len(v.tokens)), &n, &v.status)
		runtime.KeepAlive(v.model)
		if code != C.GT_OK {
			return nil, statusError("encode text", &v.status)
		}
		if int(n) <= len(v.tokens) {
			return append(make([]int32, 0, n), v.tokens[:n]...), nil
		}
		v.tokens = grown(v.tokens, int(n))
	}
}

// emptyText is what an empty string's pointer points to.
var emptyText byte

// drops reports whether text holds a byte that llama.cpp may drop without a word.
func (v *Vocab) drops(text string) bool {
	if !v.lossy {
		return false
	}
	for i := range len(text) {
		if v.missing[text[i]] {
			return true
		}
	}
	return false
}

// locate finds the first character of text that cannot be encoded by itself, or nil. The caller holds mu.
func (v *Vocab) locate(text string) *UnencodableError {
	known := map[rune]bool{}
	for i, r := range text {
		ok, tried := known[r]
		if !tried {
			s := string(r)
			ids, err := v.encode(s, false, false)
			ok = err == nil
			if ok && v.drops(s) {
				back, err := v.decode(ids, true)
				ok = err == nil && string(back) == s
			}
			known[r] = ok
		}
		if !ok {
			return &UnencodableError{Offset: i, Char: string(r)}
		}
	}
	return nil
}

// Piece returns the text of one token, which may be part of a character. special gives control tokens' names; without
// it they are empty.
func (v *Vocab) Piece(id int32, special bool) (string, error) {
	if err := v.inRange([]int32{id}); err != nil {
		return "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ptr == nil {
		return "", fmt.Errorf("text of token %d: vocabulary %w", id, bindings.ErrClosed)
	}
	v.text = grown(v.text, 64)
	for {
		var n C.int32_t
		code := C.gt_piece(v.ptr, C.int32_t(id), C.bool(special), (*C.char)(unsafe.Pointer(&v.text[0])),
			C.int32_t(len(v.text)), &n, &v.status)
		runtime.KeepAlive(v.model)
		if code != C.GT_OK {
			return "", statusError(fmt.Sprintf("text of token %d", id), &v.status)
		}
		if int(n) <= len(v.text) {
			return string(v.text[:n]), nil
		}
		v.text = grown(v.text, int(n))
	}
}

// Decode returns the text of tokens, which is their pieces joined: nothing is tidied, and where Encode puts a space
// before a text, the space stays. special gives control tokens' names; without it they are left out.
func (v *Vocab) Decode(ids []int32, special bool) (string, error) {
	if err := v.inRange(ids); err != nil {
		return "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ptr == nil {
		return "", fmt.Errorf("decode %d tokens: vocabulary %w", len(ids), bindings.ErrClosed)
	}
	b, err := v.decode(ids, special)
	return string(b), err
}

// decode returns bytes that are valid until the next call. The caller holds mu and has checked the range.
func (v *Vocab) decode(ids []int32, special bool) ([]byte, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > maxText {
		return nil, fmt.Errorf("decode %d tokens: at most %d at once", len(ids), maxText)
	}
	v.text = grown(v.text, 8*len(ids)+16)
	for {
		var n C.int64_t
		code := C.gt_decode(v.ptr, (*C.int32_t)(&ids[0]), C.int32_t(len(ids)), C.bool(special),
			(*C.char)(unsafe.Pointer(&v.text[0])), C.int32_t(len(v.text)), &n, &v.status)
		runtime.KeepAlive(v.model)
		if code != C.GT_OK {
			return nil, statusError(fmt.Sprintf("decode %d tokens", len(ids)), &v.status)
		}
		if int(n) <= len(v.text) {
			return v.text[:n], nil
		}
		if n > math.MaxInt32 {
			return nil, fmt.Errorf("decode %d tokens: their text of %d bytes is too long; decode them in parts",
				len(ids), n)
		}
		v.text = make([]byte, n)
	}
}

func (v *Vocab) inRange(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= v.n {
			return fmt.Errorf("token %d at index %d: the vocabulary has tokens 0 to %d", id, i, v.n-1)
		}
	}
	return nil
}

// grown returns a slice of at least n elements, b if it is long enough. The contents are not kept.
func grown[T any](b []T, n int) []T {
	if len(b) >= n {
		return b
	}
	return make([]T, n+n/4)
}
