package encode

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// A Tokenizer is the model's own vocabulary (bindings/llama has it from llama.cpp).
type Tokenizer interface {
	// Encode gives the tokens of text. addSpecial adds BOS and EOS as the model asks; parseSpecial turns the texts of
	// control tokens into their tokens. An error names what cannot be encoded.
	Encode(text string, addSpecial, parseSpecial bool) ([]int32, error)
	// Piece gives a token's text; that of control tokens only if special is set.
	Piece(id int32, special bool) (string, error)
	// BOS, EOS and EOT are -1 where the vocabulary has none.
	BOS() int32
	EOS() int32
	EOT() int32
	// IsEOG says that the token ends a text or a turn.
	IsEOG(id int32) bool
	// AddBOS says that the model expects BOS before every text.
	AddBOS() bool
	// AddEOS says that addSpecial adds EOS.
	AddEOS() bool
	// N is the number of tokens.
	N() int
}

// An Encoder encodes with one tokenizer. It is not safe for concurrent use.
//
// llama.cpp cuts a text at the texts of control tokens and tokenizes what lies between, each piece on its own
// (llama_vocab::impl::tokenizer_st_partition in llama-vocab.cpp). The Encoder makes the same cuts, in the same order,
// but only where the template wrote the control token's text; then it hands each piece to llama.cpp with parseSpecial
// off. For a conversation in which nobody typed a control token's text, the result is what llama.cpp gives for the
// whole text: pieces keep the merges across the borders of spans, and the space that SPM vocabularies put in front of a
// text is put in front of each piece, as llama.cpp does.
type Encoder struct {
	// Plain reads the texts of control tokens in literal text as plain text. In messages they always are.
	Plain bool

	tok     Tokenizer
	pieces  []string        // by id; "" for control tokens
	control []controlToken  // longest text first, then by id
	marks   map[string]bool // that NoTokens has looked at
}

type controlToken struct {
	id   int32
	text string
	// llama.cpp drops white space beside some control tokens (Phi-3's); found out on first use.
	known          bool
	lstrip, rstrip bool
}

// New makes an Encoder. It looks at every token of the vocabulary once.
func New(tok Tokenizer) (*Encoder, error) {
	n := tok.N()
	if n <= 0 {
		return nil, fmt.Errorf("encode: the vocabulary has %d tokens; use a model file with a tokenizer", n)
	}
	e := &Encoder{tok: tok, pieces: make([]string, n)}
	for i := range e.pieces {
		id := int32(i)
		var err error
		if e.pieces[i], err = tok.Piece(id, false); err != nil {
			return nil, err
		}
		if e.pieces[i] != "" {
			continue
		}
		// A control or unknown token has a text, but none when special tokens are left out.
		text, err := tok.Piece(id, true)
		if err != nil {
			return nil, err
		}
		if text != "" {
			e.control = append(e.control, controlToken{id: id, text: text})
		}
	}
	sort.SliceStable(e.control, func(i, j int) bool { return len(e.control[i].text) > len(e.control[j].text) })
	return e, nil
}

// Raw gives the tokens of a literal prompt as llama.cpp's own programs do: BOS in front as the model asks, the texts of
// control tokens read as those tokens.
func Raw(tok Tokenizer, prompt string) ([]int32, error) {
	tokens, err := tok.Encode(prompt, true, true)
	if err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	// A model that asks for EOS after every text would end it before it began.
	if n := len(tokens); n > 0 && tok.AddEOS() && tokens[n-1] == tok.EOS() {
		tokens = tokens[:n-1]
	}
	if len(tokens) == 0 {
		return nil, errors.New("the prompt is empty, and the model has no token that begins a text; give some text")
	}
	return tokens, nil
}

// Tokenizer gives the tokenizer the Encoder was made with.
func (e *Encoder) Tokenizer() Tokenizer { return e.tok }

// Bytes is the length of the text that a token stands for, 0 of a control token.
func (e *Encoder) Bytes(id int32) int { return len(e.pieces[id]) }

// Piece gives the text of a token for people to read, control tokens' included.
func (e *Encoder) Piece(id int32) string {
	if id < 0 || int(id) >= len(e.pieces) {
		return fmt.Sprintf("[%d]", id)
	}
	if e.pieces[id] != "" {
		return e.pieces[id]
	}
	for i := range e.control {
		if e.control[i].id == id {
			return e.control[i].text
		}
	}
	return ""
}

// resolve finds out whether llama.cpp drops white space beside the token, by asking it.
func (e *Encoder) resolve(c *controlToken) error {
	if c.known {
		return nil
	}
	right, err := e.tok.Encode(c.text+" ", false, true)
	if err != nil {
		return err
	}
	left, err := e.tok.Encode(" "+c.text, false, true)
	if err != nil {
		return err
	}
	c.rstrip = len(right) == 1 && right[0] == c.id
	c.lstrip = len(left) == 1 && left[0] == c.id
	c.known = true
	return nil
}

// A piece is a stretch of the text: one control token, or plain text (id -1).
type piece struct {
	start, end int // bytes
	id         int32
}

// partition cuts text at the control tokens that allowed admits, as llama.cpp does.
func (e *Encoder) partition(text string, allowed func(start, end int) bool) ([]piece, error) {
	pieces := []piece{{0, len(text), -1}}
	for i := range e.control {
		c := &e.control[i]
		if !strings.Contains(text, c.text) {
			continue
		}
		if err := e.resolve(c); err != nil {
			return nil, err
		}
		var next []piece
		for _, p := range pieces {
			if p.id >= 0 {
				next = append(next, p)
				continue
			}
			next = c.cut(next, text, p, allowed)
		}
		pieces = next
	}
	return pieces, nil
}

// cut appends to out the pieces that plain piece p falls into at the token's text.
func (c *controlToken) cut(out []piece, text string, p piece, allowed func(start, end int) bool) []piece {
	from, search := p.start, p.start
	for {
		i := strings.Index(text[search:p.end], c.text)
		if i < 0 {
			break
		}
		start := search + i
		end := start + len(c.text)
		if !allowed(start, end) {
			search = start + 1
			continue
		}
		left := start
		if c.lstrip {
			for left > from && isSpace(text[left-1]) {
				left--
			}
		}
		if left > from {
			out = append(out, piece{from, left, -1})
		}
		out = append(out, piece{start, end, c.id})
		from = end
		if c.rstrip {
			for from < p.end && isSpace(text[from]) {
				from++
			}
		}
		search = from
	}
	if from < p.end {
		out = append(out, piece{from, p.end, -1})
	}
	return out
}

// isSpace is C's isspace in the C locale.
func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// A spelled token knows the bytes of the text it stands for.
type spelled struct {
	id         int32
	start, end int
}

// spell appends the tokens of pieces with their places in text.
func (e *Encoder) spell(text string, pieces []piece) ([]spelled, error) {
	var out []spelled
	for _, p := range pieces {
		if p.id >= 0 {
			out = append(out, spelled{p.id, p.start, p.end})
			continue
		}
		ids, err := e.tok.Encode(text[p.start:p.end], false, false)
		if err != nil {
			return nil, err
		}
		if out, err = e.align(out, text, p, ids); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// spmSpace is what SPM vocabularies write for a space; a text's own U+2581 comes back from them as a space.
const spmSpace = "\u2581"

// align appends ids with the bytes of text[p.start:p.end] each stands for, by the lengths of their own texts.
func (e *Encoder) align(out []spelled, text string, p piece, ids []int32) ([]spelled, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		if id < 0 || int(id) >= len(e.pieces) {
			return nil, fmt.Errorf("the tokenizer gave token %d of a vocabulary of %d", id, len(e.pieces))
		}
		texts[i] = e.pieces[id]
	}
	plain := text[p.start:p.end]
	normal := strings.ReplaceAll(plain, spmSpace, " ")
	joined := strings.Join(texts, "")
	extra := 0 // bytes before the text: the space SPM puts there
	switch joined {
	case plain:
		normal = plain
	case normal:
	case " " + plain:
		normal, extra = plain, 1
	case " " + normal:
		extra = 1
	default:
		return nil, fmt.Errorf("the tokenizer does not give the text back: %s became %s; such a vocabulary cannot be "+
			"trained on, because no token's place in the text is known", excerpt(plain), excerpt(joined))
	}
	place := identity
	if len(normal) != len(plain) {
		place = spmPlaces(plain)
	}
	at := -extra
	for i, id := range ids {
		start := max(at, 0)
		at += len(texts[i])
		// A token that is nothing but the added space belongs to what follows it: the model must write it first.
		end := min(max(at, start+1), len(normal))
		out = append(out, spelled{id, p.start + place(start), p.start + place(end)})
	}
	return out, nil
}

func identity(i int) int { return i }

// spmPlaces maps a byte of the text with U+2581 as a space to its byte in the text itself.
func spmPlaces(plain string) func(int) int {
	places := make([]int, 0, len(plain)+1)
	for i := 0; i < len(plain); {
		places = append(places, i)
		if strings.HasPrefix(plain[i:], spmSpace) {
			i += len(spmSpace)
		} else {
			i++
		}
	}
	places = append(places, len(plain))
	return func(i int) int { return places[i] }
}

// excerpt quotes the beginning of a text for a message.
func excerpt(s string) string {
	const most = 40
	r := []rune(s)
	if len(r) > most {
		return fmt.Sprintf("%q…", string(r[:most]))
	}
	return fmt.Sprintf("%q", s)
}
