package rollout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/internal/count"
)

// A Config says what is opened.
type Config struct {
	Model   string // path of a GGUF model
	Threads int    // 1 to 512
	// Ctx is the most tokens of a prompt and its answer together, 2 or more.
	Ctx int
	// Parallel is how many answers are written at a time, 1 to llama.MaxSequences(). Each takes memory for the keys and
	// values of Ctx tokens (PlanMemory).
	Parallel int
	// Lean leaves the weights as they lie in the mapped file, without llama.cpp's copies of them (its kernels for many
	// rows at a time of K types want them in another order).
	Lean bool
	// Own, unless nil, writes in the place of llama.cpp; of the above it needs Ctx and Parallel alone.
	Own *Own
}

func (c *Config) generate() generate.Config {
	return generate.Config{Model: c.Model, Threads: c.Threads, Ctx: c.Ctx, Lean: c.Lean, Sequences: c.Parallel}
}

// Validate reports every fault.
func (c *Config) Validate() error {
	var errs []error
	if c.Ctx < 2 {
		errs = append(errs, fmt.Errorf("room for a prompt and its answer is %s; expected at least 2",
			count.Of(c.Ctx, "token")))
	}
	if most := llama.MaxSequences(); c.Parallel < 1 || c.Parallel > most {
		errs = append(errs, fmt.Errorf("%d answers at a time; expected 1 to %d", c.Parallel, most))
	}
	return errors.Join(errs...)
}

// PlanMemory says what llama.cpp would take beside the mapped model, without taking it. An adapter that is held takes
// its numbers in float32 besides. What Own takes is its session's (Config.Cache).
func PlanMemory(c Config) (llama.Memory, error) {
	if err := c.Validate(); err != nil || c.Own != nil {
		return llama.Memory{}, err
	}
	return generate.PlanMemory(c.generate())
}

// A Prompt is what an answer follows, as tokens.
type Prompt struct {
	Tokens []int32
	// Most is the most tokens that an answer to it may have; 0: Sampling.MaxTokens, which bounds it in any case.
	Most int
	// Root is how many of the tokens are a tree's segment of their own in training, the others the beginning of the
	// answer's: what an exchange has come to; 0: all. Only Own tells them apart.
	Root int
	// Place is what the random numbers of its only answer belong to; nil: where it stands among the prompts.
	Place *Place
}

// A Place is that of an answer in a call of Write: which prompt it is to, and which of the samples it is.
type Place struct{ Prompt, Sample int }

// most is the most tokens of an answer to p.
func (s *Sampling) most(p Prompt) int {
	if p.Most > 0 {
		return min(p.Most, s.MaxTokens)
	}
	return s.MaxTokens
}

// Sampling says how tokens are drawn: from the whole distribution, always.
type Sampling struct {
	// Temp divides the logits; 0 takes the most likely token. 0 to 1e6.
	Temp float64
	// MaxTokens is the most that an answer may have, its end included, 1 or more.
	MaxTokens int
	// Seed and Step start the random numbers of each answer, together with its places among prompts and samples.
	Seed uint64
	Step int // 0 to 2³²-1
	// Endless takes a token that ends a text for one like the others, so that every answer has MaxTokens where there
	// is room: for measuring how fast they are written.
	Endless bool
}

// Validate reports every fault.
func (s *Sampling) Validate() error {
	var errs []error
	if !(s.Temp >= 0 && s.Temp <= 1e6) {
		errs = append(errs, fmt.Errorf("temperature %v: want 0 to 1e6", s.Temp))
	}
	if s.MaxTokens < 1 || s.MaxTokens > math.MaxInt32 {
		errs = append(errs, fmt.Errorf("answers of at most %d tokens: want 1 or more", s.MaxTokens))
	}
	if s.Step < 0 || s.Step > math.MaxUint32 {
		errs = append(errs, fmt.Errorf("step %d: want 0 to %d", s.Step, uint32(math.MaxUint32)))
	}
	return errors.Join(errs...)
}

// An Answer is what was written to a prompt.
type Answer struct {
	// Tokens are those drawn. Where the answer ended itself the last is the token that ends it.
	Tokens []int32
	// LogP is, for each of them, the log-probability in nats of the distribution that it was drawn from, as the writer
	// computes it.
	LogP []float32
	// Entropy is, where a session of the engine writes, the sum over them of the entropy of these distributions, nats.
	Entropy float64
	// Ended says that the model ended the answer; else it had as many tokens as it may, or the context was full.
	Ended bool
}

// A LongError is the error of a prompt that leaves no room for an answer; nothing was read.
type LongError struct{ Prompt, Tokens, Ctx int }

func (e *LongError) Error() string {
	return fmt.Sprintf("prompt %d has %s, and there is room for %d with the answer; leave it out, or give more room "+
		"(--seq-len)", e.Prompt, count.Of(e.Tokens, "token"), e.Ctx)
}

// A Writer writes answers. It is used by one goroutine at a time, and not while a session of the adapter that it holds
// computes.
type Writer struct {
	// Progress is told, as answers are written, how many have been and how many tokens there are of all; nil: nobody
	// asks.
	Progress func(answers, tokens int)

	g       *generate.Generator // llama.cpp's; nil: own writes
	own     *own
	threads int
	pace    *pacer // knows from one call to the next how fast one thread reads
}

// Open opens the model. Close it.
func Open(c Config) (*Writer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Own != nil {
		o, err := openOwn(c)
		if err != nil {
			return nil, err
		}
		return &Writer{own: o}, nil
	}
	g, err := generate.Open(c.generate())
	if err != nil {
		return nil, err
	}
	return &Writer{g: g, threads: c.Threads, pace: &pacer{reader: g.Context(), threads: c.Threads}}, nil
}

// Close frees all. It may be called again and on nil.
func (w *Writer) Close() error {
	if w == nil {
		return nil
	}
	if w.own != nil {
		return w.own.close()
	}
	return w.g.Close()
}

// Vocab is the model's tokenizer.
func (w *Writer) Vocab() *llama.Vocab {
	if w.own != nil {
		return w.own.vocab
	}
	return w.g.Vocab()
}

// Ends says whether the model has a token that ends a text. Of one that has none, no answer ends where it should.
func (w *Writer) Ends() (bool, error) {
	if w.own != nil {
		named, err := w.own.Session.Model().File().IntOr("tokenizer.ggml.eos_token_id", -1)
		return w.own.vocab.Ends(named), err
	}
	return w.g.Ends()
}

// Beginning is what begins every text: a prompt for text from nothing. Some models have none.
func (w *Writer) Beginning() ([]int32, error) { return encode.Raw(w.Vocab(), "") }

// room is how many tokens a prompt and its answer have together at most.
func (w *Writer) room() int {
	if w.own != nil {
		return w.own.most
	}
	return w.g.NCtx()
}

// Text is what an answer says, without its end. What is no character becomes U+FFFD.
func (w *Writer) Text(a Answer) (string, error) {
	tokens := a.Tokens
	if a.Ended {
		tokens = tokens[:len(tokens)-1]
	}
	text, err := w.Vocab().Decode(tokens, false)
	return strings.ToValidUTF8(text, "\uFFFD"), err
}

// Hold makes the policy an adapter as it is now, from memory; before, it is the base. When ctx is done it returns its
// cause.
func (w *Writer) Hold(ctx context.Context, a *adapter.Adapter) error {
	if len(a.Invocation) > 0 {
		return errors.New("answers are written by an adapter that acts on every token; this one waits for an " +
			"invocation (--invocation)")
	}
	if w.own != nil {
		return errors.New("answers are written by a session of the engine, which has its adapters itself")
	}
	return w.g.Hold(ctx, a)
}

// Write writes samples answers to each prompt, in the order of prompts and samples: answer k to prompt p is at
// p*samples+k. The error may be a *LongError; nothing was read then. When ctx is done it returns its cause, and no
// answers.
func (w *Writer) Write(ctx context.Context, prompts []Prompt, samples int, s Sampling) ([]Answer, error) {
	if err := w.check(prompts, samples, s); err != nil {
		return nil, err
	}
	if w.own != nil {
		r := &roll{room: w.room(), eog: w.Vocab().IsEOG, prompts: prompts, samples: samples, how: s,
			answers: make([]Answer, len(prompts)*samples), progress: w.Progress}
		if err := w.own.write(ctx, r); err != nil {
			return nil, err
		}
		return r.answers, nil
	}
	c := w.g.Context()
	r := &roll{memory: w.pace, sequences: c.Sequences(), batch: c.NBatch(),
		room: c.NCtx(), eog: w.g.Vocab().IsEOG, threads: w.threads, prompts: prompts, samples: samples, how: s,
		progress: w.Progress}
	answers, err := r.write(ctx)
	if err := w.g.Explain(ctx, err); err != nil {
		return nil, err
	}
	return answers, nil
}

func (w *Writer) check(prompts []Prompt, samples int, s Sampling) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if samples < 1 || samples > math.MaxInt32 || len(prompts) > math.MaxInt32/samples {
		return fmt.Errorf("%d answers to each of %d prompts: want 1 or more, and fewer than 2³¹ in all", samples,
			len(prompts))
	}
	for i, p := range prompts {
		if len(p.Tokens) == 0 {
			return fmt.Errorf("prompt %d has no tokens", i)
		}
		if p.Root < 0 || p.Root > len(p.Tokens) {
			return fmt.Errorf("prompt %d has %s, of which %d are the root", i, count.Of(len(p.Tokens), "token"), p.Root)
		}
		if room := w.room(); len(p.Tokens) >= room {
			return &LongError{i, len(p.Tokens), room}
		}
		if slices.ContainsFunc(p.Tokens, func(id int32) bool { return id < 0 || int(id) >= w.Vocab().N() }) {
			return fmt.Errorf("prompt %d has a token that is not among the vocabulary's %d", i, w.Vocab().N())
		}
	}
	if w.own != nil && samples > w.own.Samples {
		return fmt.Errorf("%d answers to a prompt, and there is room for %d", samples, w.own.Samples)
	}
	return nil
}
