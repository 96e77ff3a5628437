// Package answer lets models write the answers that a person compares, through llama.cpp, and says of each what made
// it. It knows no choice and no file of choices.
package answer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/finetune/template"
)

// Config says who writes, and how.
type Config struct {
	Model string  // path of a GGUF model
	Sides [2]Side // the same twice: two samplings of one model
	// a chat template's file or name; "": the adapter's, if it is built in, else the model's own
	Template string
	Raw      bool           // prompts are literal text, and no template is used
	Sampling llama.Sampling // without its seed
	Seed     uint64         // of all seeds
	OneSeed  bool           // both sides draw with the same random numbers
	Max      int            // tokens of an answer at most; 0: until the model ends it
	Ctx      int            // tokens of prompt and answer together; 0: what the model was trained for, at most 4096
	Threads  int            // 1 to 512
}

// A Side is a model with an adapter, or without.
type Side struct {
	Adapter string  // a file, a run's directory or a checkpoint's; "": the base
	Scale   float32 // of the adapter; 1 as trained
}

// Authors write both sides with one model in memory. They are used by one goroutine at a time.
type Authors struct {
	cfg   Config
	g     *generate.Generator
	sides [2]side
	// Notes say which templates stand in, and the like.
	Notes []string
}

type side struct {
	use  int // for Generator.Use
	name string
	file string  // of the adapter, "" for the base
	hash *string // of it
	chat *generate.Chat
}

// Open opens the model and the adapters. Close it.
func Open(ctx context.Context, cfg Config) (*Authors, error) {
	if err := cfg.Sampling.Validate(); err != nil {
		return nil, err
	}
	if cfg.Max < 0 {
		return nil, fmt.Errorf("at most %d tokens an answer: want 0 (until the model ends it) or more", cfg.Max)
	}
	if cfg.Max == 0 {
		cfg.Max = math.MaxInt32 // the end of the turn or of the context comes first
	}
	a := &Authors{cfg: cfg}
	gen := generate.Config{Model: cfg.Model, Ctx: cfg.Ctx, Threads: cfg.Threads, Hash: true}
	for i, s := range cfg.Sides {
		a.sides[i] = side{use: generate.Base, name: "base"}
		if s.Adapter == "" {
			continue
		}
		if i == 1 && s == cfg.Sides[0] {
			a.sides[1] = a.sides[0]
			continue
		}
		file, err := checkpoint.FindAdapter(s.Adapter)
		if err != nil {
			return nil, err
		}
		a.sides[i] = side{use: len(gen.Adapters), name: filepath.Base(s.Adapter), file: file}
		if filepath.Base(cfg.Sides[1-i].Adapter) == a.sides[i].name {
			a.sides[i].name = filepath.ToSlash(s.Adapter) // every run's adapter is called adapter.gguf
		}
		gen.Adapters = append(gen.Adapters, generate.Adapter{Path: file, Scale: s.Scale})
	}
	var err error
	if a.g, err = generate.Open(gen); err != nil {
		return nil, err
	}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Authors) open(ctx context.Context) error {
	a.Notes = append(a.Notes, a.g.Notes()...)
	for i := range a.sides {
		s := &a.sides[i]
		if s.file != "" {
			sum, err := hash(ctx, s.file)
			if err != nil {
				return err
			}
			s.hash = &sum
		}
		if a.cfg.Raw {
			continue
		}
		// The base gets the other side's template: the adapter is compared with what it was trained from, asked in the
		// same way.
		use := s.use
		if use == generate.Base {
			use = a.sides[1-i].use
		}
		if err := a.g.Use(use); err != nil {
			return err
		}
		var err error
		if s.chat, err = a.g.Chat(a.cfg.Template); err != nil {
			return err
		}
		for _, n := range s.chat.Notes {
			if !slices.Contains(a.Notes, n) {
				a.Notes = append(a.Notes, n)
			}
		}
	}
	return nil
}

func hash(ctx context.Context, path string) (string, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.SHA256(ctx)
}

// Close frees all. It may be called again and on nil.
func (a *Authors) Close() error {
	if a == nil {
		return nil
	}
	return a.g.Close()
}

// Names tell the sides apart for people: an adapter's file, with its scale unless that is 1, or "base".
func (a *Authors) Names() [2]string {
	var names [2]string
	for i, s := range a.sides {
		names[i] = s.name
		if scale := a.cfg.Sides[i].Scale; s.hash != nil && scale != 1 {
			names[i] += fmt.Sprintf(" × %g", scale)
		}
	}
	return names
}

// BaseNotes warns of adapters that were trained on another base, once the model's hash is known.
func (a *Authors) BaseNotes(ctx context.Context) ([]string, error) { return a.g.BaseNotes(ctx) }

// Varies implements rate.Author.
func (a *Authors) Varies() bool { return a.cfg.Sampling.Temp > 0 }

// Answer implements rate.Author.
func (a *Authors) Answer(ctx context.Context, p rate.Prompt, id string, i, try int,
	yield func(text string)) (rate.Answer, error) {
	s := &a.sides[i%len(a.sides)] // they take turns where there are more answers than sides
	if err := a.g.Use(s.use); err != nil {
		return rate.Answer{}, err
	}
	tokens, err := a.tokens(s, p)
	if err != nil {
		return rate.Answer{}, &rate.PromptError{Err: err}
	}
	sampling := a.cfg.Sampling
	sampling.Seed = rate.Seed(a.cfg.Seed, id, i, try)
	if a.cfg.OneSeed {
		sampling.Seed = rate.Seed(a.cfg.Seed, id, 0, try)
	}
	r, err := a.g.Continue(ctx, tokens, a.cfg.Max, sampling, yield)
	if err != nil && len(tokens) >= a.g.NCtx() {
		return rate.Answer{}, &rate.PromptError{Err: err}
	}
	if err != nil {
		return rate.Answer{}, err
	}
	model, err := a.g.ModelSHA256(ctx)
	if err != nil {
		return rate.Answer{}, err
	}
	x := rate.Answer{Text: r.Text, Name: s.name, ModelSHA256: model, AdapterSHA256: s.hash, Seed: sampling.Seed,
		Temp: sampling.Temp,
		TopK: sampling.TopK, TopP: sampling.TopP, MinP: sampling.MinP, RepeatPenalty: sampling.RepeatPenalty,
		RepeatLastN: sampling.RepeatLastN,
		MaxTokens:   a.cfg.Max, Tokens: r.Tokens, Stop: string(r.Stop)}
	if x.MaxTokens == math.MaxInt32 {
		x.MaxTokens = 0
	}
	if s.hash != nil {
		scale := a.cfg.Sides[i%len(a.sides)].Scale
		x.AdapterScale = &scale
	}
	if s.chat != nil {
		x.Template, x.TemplateHash = s.chat.Template().Name(), s.chat.Template().SHA256()
	}
	return x, nil
}

func (a *Authors) tokens(s *side, p rate.Prompt) ([]int32, error) {
	if a.cfg.Raw {
		return a.g.Raw(p.Text)
	}
	m := make([]template.Message, len(p.Messages))
	for i := range m {
		m[i] = template.Message{Role: p.Messages[i].Role, Content: p.Messages[i].Content}
	}
	return s.chat.Prompt(m)
}

// Compare lets both sides answer every item, in order, and yields the pairs: records without a choice, the first side's
// answer first. A prompt that cannot be answered is yielded with its *rate.PromptError. An error of yield's ends it.
func (a *Authors) Compare(ctx context.Context, items []rate.Item,
	yield func(i int, r rate.Record, err error) error) error {
	for i, it := range items {
		r := rate.NewRecord(it.Prompt)
		r.Answers = make([]rate.Answer, len(a.sides))
		var err error
		for k := range r.Answers {
			if r.Answers[k], err = a.Answer(ctx, it.Prompt, r.About.ID, k, 0, nil); err != nil {
				break
			}
		}
		var prompt *rate.PromptError
		if err != nil && !errors.As(err, &prompt) {
			return err
		}
		if err := yield(i, r, err); err != nil {
			return err
		}
	}
	return nil
}
