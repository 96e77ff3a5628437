// Package generate lets a model write: raw continuations and answers in a conversation, through llama.cpp, with and without
// an adapter. It knows no flag and no terminal.
package generate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
)

// Config says what is opened.
type Config struct {
	Model        string  // path of a GGUF model
	Adapter      string  // path of an adapter; "" for none
	AdapterScale float32 // beside the scale in the adapter's file; 1 as trained
	Ctx          int     // most tokens of prompt and text together; 0: what the model was trained for, at most defaultCtx
	Threads      int     // 1 to 512
}

// defaultCtx bounds the memory for keys and values of models that were trained for very long texts.
const defaultCtx = 4096

// A Generator is an open model. It is used by one goroutine at a time.
type Generator struct {
	model    *llama.Model
	context  *llama.Context
	adapter  *llama.Adapter // nil without one
	scale    float32
	held     []int32 // tokens that the context has read
	nCtx     int
	switched bool // the adapter is on
	// ownTemplate is the chat template in the model's file, or "".
	ownTemplate string
	origin      *origin // nil without an adapter
}

// Open opens the model and the adapter, which is switched on. Close it.
func Open(cfg Config) (*Generator, error) {
	own, err := check(cfg.Model)
	if err != nil {
		return nil, err
	}
	m, err := llama.OpenModel(cfg.Model, llama.UserModelOptions())
	if err != nil {
		return nil, err
	}
	g := &Generator{model: m, scale: cfg.AdapterScale, ownTemplate: own}
	if err := g.open(cfg); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// check reads the file with our own reader first, which trusts no length and says better what is wrong, and gives its chat
// template.
func check(path string) (template string, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.CheckModel(); err != nil {
		return "", err
	}
	if err := f.CheckTokenizer(); err != nil {
		return "", err
	}
	return f.StringOr("tokenizer.chat_template", "")
}

func (g *Generator) open(cfg Config) error {
	trained := g.model.Info().NCtxTrain
	g.nCtx = cfg.Ctx
	if g.nCtx == 0 {
		g.nCtx = min(trained, defaultCtx)
	}
	var err error
	if cfg.Adapter != "" {
		if g.adapter, err = g.model.LoadAdapter(cfg.Adapter); err != nil {
			return err
		}
		if g.origin, err = readOrigin(cfg.Adapter, cfg.Model); err != nil {
			return err
		}
	}
	if g.context, err = g.model.NewContext(llama.UserContextOptions(g.nCtx, cfg.Threads)); err != nil {
		return err
	}
	return g.UseAdapter(true)
}

// Close frees all. It may be called again and on nil.
func (g *Generator) Close() error {
	if g == nil {
		return nil
	}
	g.origin.stop()
	return errors.Join(g.context.Close(), g.adapter.Close(), g.model.Close())
}

// UseAdapter switches the adapter on or off; without one it does nothing. What was read before is forgotten.
func (g *Generator) UseAdapter(on bool) error {
	if g.adapter == nil || on == g.switched {
		return nil
	}
	g.held, g.switched = nil, on
	if !on {
		return g.context.SetAdapters(nil, nil)
	}
	return g.context.SetAdapters([]*llama.Adapter{g.adapter}, []float32{g.scale})
}

// AdapterOn says whether an adapter is in use.
func (g *Generator) AdapterOn() bool { return g.switched }

// Vocab is the model's tokenizer.
func (g *Generator) Vocab() *llama.Vocab { return g.model.Vocab() }

// NCtx is the most tokens of prompt and text together.
func (g *Generator) NCtx() int { return g.nCtx }

// A Stop says why a text ended.
type Stop string

// The reasons.
const (
	StopEnd     Stop = "end"     // the model ended it
	StopLength  Stop = "length"  // as many tokens as were asked for
	StopContext Stop = "context" // no room for more
)

// A Result is a text that the model wrote.
type Result struct {
	Text         string `json:"text"`
	Tokens       int    `json:"tokens"` // written
	PromptTokens int    `json:"prompt_tokens"`
	Stop         Stop   `json:"stop"`
}

// Raw tokenizes a prompt as llama.cpp's own programs do: BOS in front as the model asks, the names of control tokens read
// as those tokens.
func (g *Generator) Raw(prompt string) ([]int32, error) {
	v := g.model.Vocab()
	tokens, err := v.Encode(prompt, true, true)
	if err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	// A model that asks for EOS after every text would end it before it began.
	if n := len(tokens); n > 0 && v.AddEOS() && tokens[n-1] == v.EOS() {
		tokens = tokens[:n-1]
	}
	if len(tokens) == 0 {
		return nil, errors.New("the prompt is empty, and the model has no token that begins a text; give some text with -p")
	}
	return tokens, nil
}

// Continue writes up to n tokens after prompt. yield, if not nil, gets the text as it comes, in whole characters. What the
// context holds already of the prompt is not read again. On cancel it returns what was written and context.Cause(ctx).
func (g *Generator) Continue(ctx context.Context, prompt []int32, n int, s llama.Sampling, yield func(text string)) (Result, error) {
	r := Result{PromptTokens: len(prompt), Stop: StopEnd}
	if len(prompt) >= g.nCtx {
		return r, fmt.Errorf("the prompt has %d tokens, and the context holds %d with what is written; shorten it, or raise --ctx (the model was trained for %d)",
			len(prompt), g.nCtx, g.model.Info().NCtxTrain)
	}
	kept := 0
	for kept < len(g.held) && kept < len(prompt)-1 && g.held[kept] == prompt[kept] {
		kept++
	}
	if err := g.context.Truncate(kept); err != nil {
		return r, err
	}
	g.held = append(g.held[:kept:kept], prompt[kept:]...)
	var text strings.Builder
	put := func(b []byte) {
		// A model may write bytes that are no character. Each becomes U+FFFD, in the stream as in the result.
		whole := string([]rune(string(b)))
		text.WriteString(whole)
		if yield != nil && whole != "" {
			yield(whole)
		}
	}
	var pending []byte // the beginning of a character whose end is in the next token
	var failed error
	tokens, err := g.context.Generate(ctx, prompt[kept:], n, s, func(token int32) bool {
		piece, err := g.model.Vocab().Piece(token, false)
		if err != nil {
			failed = err
			return false
		}
		pending = append(pending, piece...)
		whole := wholeCharacters(pending)
		put(pending[:whole])
		pending = append(pending[:0], pending[whole:]...)
		return true
	})
	put(pending)
	r.Text, r.Tokens = text.String(), len(tokens)
	if err := errors.Join(err, failed); err != nil {
		g.held = g.held[:min(len(g.held), g.context.Len())]
		return r, err
	}
	// The last token was drawn but not read.
	if len(tokens) > 0 {
		g.held = append(g.held, tokens[:len(tokens)-1]...)
	}
	switch read := g.context.Len(); {
	case len(tokens) == n:
		r.Stop = StopLength
	case read == g.nCtx:
		r.Stop = StopContext
	}
	g.held = g.held[:min(len(g.held), g.context.Len())]
	return r, nil
}

// wholeCharacters is the length of the longest prefix of b that does not end within a character.
func wholeCharacters(b []byte) int {
	for back := 1; back <= min(utf8.UTFMax-1, len(b)); back++ {
		c := b[len(b)-back]
		if utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-back:]) {
				return len(b) - back
			}
			break
		}
	}
	return len(b)
}
