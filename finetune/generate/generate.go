// Package generate lets a model write: raw continuations and answers in a conversation, through llama.cpp, with and
// without an adapter. It knows no flag and no terminal.
package generate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/internal/count"
)

// Config says what is opened.
type Config struct {
	Model    string    // path of a GGUF model
	Adapters []Adapter // at most one is on at a time; the first, after Open
	Ctx      int       // most tokens of prompt and text together; 0: what the model was trained for, at most defaultCtx
	Threads  int       // 1 to 512
	Hash     bool      // begin the model's hash at once, for ModelSHA256
	// Lean takes as little memory as can be: weights stay as they lie in the mapped file, without the copies that are
	// faster to compute with, and prompts are read a few tokens at a time.
	Lean bool
	// Sequences is how many texts are held apart, each of Ctx tokens, for whoever reads into them (Context); 0: the
	// one that Continue writes.
	Sequences int
}

// An Adapter names an adapter to load.
type Adapter struct {
	Path  string  // a file, a run's directory, or that of a checkpoint
	Scale float32 // beside the scale in the adapter's file; 1 as trained
}

// Base stands for no adapter where Use wants one.
const Base = -1

// defaultCtx bounds the memory for keys and values of models that were trained for very long texts.
const defaultCtx = 4096

// leanBatch is how many tokens of a prompt are read together with Lean, or beside other sequences: llama.cpp reserves
// room for the logits of all of them, 67 MB with a vocabulary of 262,144.
const leanBatch = 64

// A Generator is an open model. It is used by one goroutine at a time.
type Generator struct {
	file     *gguf.File // the model's, to notice that it is changed meanwhile
	model    *llama.Model
	context  *llama.Context
	adapters []loaded
	held     *llama.Adapter // beyond adapters, once Hold has loaded it
	// heldInvocation is what the held adapter waits for.
	heldInvocation []int32
	inUse          int // index into adapters, or Base
	notes          []string
	read           []int32 // tokens that the context has read
	since          int     // the first of them that an adapter was applied to which waits for an invocation
	nCtx           int
	// ownTemplate is the chat template in the model's file, or "".
	ownTemplate string
	sum         *sum // of the model; nil while nobody wants it
}

// A loaded adapter is one that can be switched on.
type loaded struct {
	*llama.Adapter
	scale  float32
	origin *origin.Origin
	// invocation is what it waits for; nil: it acts on every token.
	invocation []int32
}

// UsualCtx is Config.Ctx where it is 0, for a model that was trained for so many tokens.
func UsualCtx(trained int) int { return min(trained, defaultCtx) }

// Open opens the model and the adapters, the first of which is switched on. Close it.
func Open(cfg Config) (*Generator, error) {
	g := &Generator{inUse: Base}
	if err := g.open(cfg); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (c *Config) modelOptions() llama.ModelOptions {
	o := llama.UserModelOptions()
	o.UseExtraBufts = !c.Lean
	return o
}

func (c *Config) contextOptions(nCtx int) llama.ContextOptions {
	o := llama.UserContextOptions(nCtx, c.Threads)
	o.Sequences = c.Sequences
	if c.Lean || c.Sequences > 0 {
		o.NBatch = max(leanBatch, c.Sequences) // a token of each
		o.NUBatch = o.NBatch
	}
	return o
}

// PlanMemory says what Open would take beside the mapped model and the adapters, without taking it. cfg.Ctx must be
// set.
func PlanMemory(cfg Config) (llama.Memory, error) {
	return verify.PlanMemory(cfg.Model, cfg.modelOptions(), cfg.contextOptions(cfg.Ctx))
}

// openModel opens the model, which must hold a tokenizer, and reads its chat template.
func (g *Generator) openModel(path string, o llama.ModelOptions) error {
	var err error
	if g.file, err = gguf.Open(path); err != nil {
		return err
	}
	if err := g.file.CheckModel(); err != nil {
		return err
	}
	if err := g.file.CheckTokenizer(); err != nil {
		return err
	}
	if net, err := arch.Of(g.file); err == nil && net.Headless {
		return fmt.Errorf("%s makes vectors of texts (%s) and predicts no tokens: it cannot write; ggtune embed makes "+
			"its vectors, and ggtune search finds texts by them", path, net.Arch)
	}
	if g.ownTemplate, err = g.file.StringOr("tokenizer.chat_template", ""); err != nil {
		return err
	}
	g.model, err = verify.OpenModel(path, o)
	return err
}

func (g *Generator) open(cfg Config) error {
	if err := g.openModel(cfg.Model, cfg.modelOptions()); err != nil {
		return err
	}
	trained := g.model.Info().NCtxTrain
	g.nCtx = cfg.Ctx
	if g.nCtx == 0 {
		g.nCtx = UsualCtx(trained)
	}
	for _, c := range cfg.Adapters {
		file, err := checkpoint.FindAdapter(c.Path)
		if err != nil {
			return err
		}
		o, use, err := readAdapter(file) // first: our own reader says better what is wrong
		if err != nil {
			return err
		}
		for _, note := range []string{o.Unfinished(), o.Scores()} {
			if note != "" {
				g.notes = append(g.notes, note)
			}
		}
		a, err := verify.LoadAdapter(g.model, file)
		if err != nil {
			return err
		}
		g.adapters = append(g.adapters, loaded{Adapter: a, scale: c.Scale, origin: o, invocation: use.Invocation})
		cfg.Hash = cfg.Hash || o.Base() != ""
	}
	if cfg.Hash {
		g.sum = startSum(cfg.Model)
	}
	var err error
	if g.context, err = g.model.NewContext(cfg.contextOptions(g.nCtx)); err != nil {
		return err
	}
	if len(g.adapters) > 0 {
		return g.Use(0)
	}
	return nil
}

// readAdapter reads what an adapter says of its making and of its use.
func readAdapter(file string) (*origin.Origin, adapter.Purpose, error) {
	o, err := origin.Read(file)
	if err != nil {
		return nil, adapter.Purpose{}, err
	}
	f, err := gguf.Open(file)
	if err != nil {
		return nil, adapter.Purpose{}, err
	}
	use, err := adapter.ReadPurpose(f)
	return o, use, errors.Join(err, f.Close())
}

// Close frees all. It may be called again and on nil.
func (g *Generator) Close() error {
	if g == nil {
		return nil
	}
	g.sum.stop()
	errs := []error{g.context.Close()}
	for _, a := range g.adapters {
		errs = append(errs, a.Close())
	}
	errs = append(errs, g.held.Close())
	return errors.Join(append(errs, g.model.Close(), g.file.Close())...)
}

// Use switches to adapter i of Config.Adapters, or to none: Base. If that is a change, what was read before is
// forgotten.
func (g *Generator) Use(i int) error {
	if i < Base || i >= len(g.adapters) {
		return fmt.Errorf("adapter %d: there are %d", i, len(g.adapters))
	}
	if g.held != nil {
		return errors.New("another adapter: the one in training is held")
	}
	if i == g.inUse {
		return nil
	}
	g.read, g.inUse = nil, i
	if i == Base {
		return g.context.SetAdapters(nil, nil)
	}
	a := g.adapters[i]
	return g.context.SetAdapters([]*llama.Adapter{a.Adapter}, []float32{a.scale})
}

// InUse is the adapter in use, or Base.
func (g *Generator) InUse() int { return g.inUse }

// Notes say which adapters are of unfinished runs.
func (g *Generator) Notes() []string { return g.notes }

// Vocab is the model's tokenizer.
func (g *Generator) Vocab() *llama.Vocab { return g.model.Vocab() }

// Ends says whether the model has a token that ends a text.
func (g *Generator) Ends() (bool, error) {
	named, err := g.file.IntOr("tokenizer.ggml.eos_token_id", -1)
	return g.model.Vocab().Ends(named), err
}

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

// A LongError is the error of a prompt that leaves no room for an answer; nothing was read.
type LongError struct{ Tokens, Ctx, Trained int }

func (e *LongError) Error() string {
	return fmt.Sprintf("the prompt has %s, and the context holds %d with what is written; shorten it, or raise --ctx "+
		"(the model was trained for %d)",
		count.Of(e.Tokens, "token"), e.Ctx, e.Trained)
}

// Raw tokenizes a prompt as llama.cpp's own programs do: BOS in front as the model asks, the names of control tokens
// read as those tokens.
func (g *Generator) Raw(prompt string) ([]int32, error) {
	return encode.Raw(g.model.Vocab(), prompt)
}

// TwiceBegun gives the text of the beginning-of-text token where raw begins with two: the prompt's own and the one
// that the model asks for. "" is all other prompts.
func (g *Generator) TwiceBegun(raw []int32) (string, error) {
	v := g.model.Vocab()
	if bos := v.BOS(); len(raw) < 2 || bos < 0 || raw[0] != bos || raw[1] != bos {
		return "", nil
	}
	return v.Piece(v.BOS(), true)
}

// Continue writes up to n tokens after prompt. yield, if not nil, gets the text as it comes, in whole characters. What
// the context holds already of the prompt is not read again. The error may be a *LongError. On cancel it returns what
// was written and context.Cause(ctx).
func (g *Generator) Continue(ctx context.Context, prompt []int32, n int, s llama.Sampling,
	yield func(text string)) (Result, error) {
	r := Result{PromptTokens: len(prompt), Stop: StopEnd}
	if len(prompt) >= g.nCtx {
		return r, &LongError{Tokens: len(prompt), Ctx: g.nCtx, Trained: g.model.Info().NCtxTrain}
	}
	kept, err := g.prepare(ctx, prompt)
	if err != nil {
		return r, err
	}
	g.read = append(g.read[:kept:kept], prompt[kept:]...)
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
	if err := errors.Join(g.Explain(ctx, err), failed); err != nil {
		g.read = g.read[:min(len(g.read), g.context.Len())]
		return r, err
	}
	// The last token was drawn but not read.
	if len(tokens) > 0 {
		g.read = append(g.read, tokens[:len(tokens)-1]...)
	}
	switch read := g.context.Len(); {
	case len(tokens) == n:
		r.Stop = StopLength
	case read == g.nCtx:
		r.Stop = StopContext
	}
	g.read = g.read[:min(len(g.read), g.context.Len())]
	return r, nil
}

// Explain says what an error of reading or writing, or none, comes from: whatever happened, a model's file that was
// changed meanwhile is why, and a prediction that is no number has its reason in the weights.
func (g *Generator) Explain(ctx context.Context, err error) error {
	if changed := g.file.CheckUnchanged(); changed != nil {
		return changed
	}
	if errors.Is(err, bindings.ErrNotFinite) {
		return notFinite{g.notFinite(ctx)}
	}
	return err
}

// Context is the memory of the model, for whoever reads into its sequences. The adapter that is held is in use there.
// What Continue has read is taken to be forgotten.
func (g *Generator) Context() *llama.Context {
	g.read = nil
	return g.context
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
