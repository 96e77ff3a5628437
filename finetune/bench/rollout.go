package bench

import (
	"context"
	"errors"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// What a rollout is measured on: a group as reinforcement learning writes it.
const (
	rolloutPrompt  = 200 // tokens
	rolloutAnswers = 8
	rolloutTokens  = 100 // of an answer
)

// What writes.
const theirs, ours = "llama.cpp", "ggtune"

// A Rollout is one way of writing answers with an adapter of the given rank. Speeds, in tokens written a second, are
// medians over rounds, with the least and greatest in Spread. The time includes the prompt's, which is read once.
type Rollout struct {
	Model   string `json:"model"`
	Type    string `json:"type"`
	Prompt  int    `json:"prompt_tokens"`
	Answers int    `json:"answers"`
	Tokens  int    `json:"answer_tokens"` // of each
	Rank    int    `json:"rank"`
	// Engine is what writes: llama.cpp, or ggtune, on the kernels that train.
	Engine string `json:"engine"`
	// Repacked says that llama.cpp has its own copies of weights, in RepackedBytes, beside the mapped file.
	Repacked      bool  `json:"repacked"`
	RepackedBytes int64 `json:"repacked_bytes"`
	KVBytes       int64 `json:"kv_bytes"` // keys and values of all answers
	FileBytes     int64 `json:"model_bytes"`

	PP      float64    `json:"pp512_tok_per_s"` // llama.cpp's prompt speed, with copies where the writing has them
	PPRange [2]float64 `json:"pp512_spread"`
	// One writes one answer after the other, All all of them at a time.
	One      float64    `json:"one_tok_per_s"`
	OneRange [2]float64 `json:"one_spread"`
	All      float64    `json:"all_tok_per_s"`
	AllRange [2]float64 `json:"all_spread"`
	// Ratio is All ÷ One, and OfPrompt All ÷ PP, the medians of the rounds' own ratios.
	Ratio         float64    `json:"ratio"`
	RatioRange    [2]float64 `json:"ratio_spread"`
	OfPrompt      float64    `json:"of_pp512"`
	OfPromptRange [2]float64 `json:"of_pp512_spread"`
}

// rollouts measures the ways of one model: with llama.cpp's copies of weights, without, and on our own kernels.
func (c *Config) rollouts(ctx context.Context, t Target) (out []Rollout, err error) {
	if t.Path == "" {
		c.say("%s: writing generated weights", t)
	}
	path, remove, err := t.file(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	m, err := engine.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	a, err := adapter.New(m.Net(),
		adapter.Config{Rank: c.Rank, Alpha: 2 * float64(c.Rank), Init: adapter.Inits()[0], Seed: 1})
	if err != nil {
		return nil, err
	}
	for _, way := range []Rollout{{Engine: theirs, Repacked: true}, {Engine: theirs}, {Engine: ours}} {
		r := Rollout{Answers: rolloutAnswers, Rank: c.Rank, Engine: way.Engine, Repacked: way.Repacked,
			FileBytes: m.File().Bytes()}
		r.Model, r.Type = t.label(m)
		r.Prompt, r.Tokens = rolloutPrompt, rolloutTokens
		if n := m.HParams().Positions; n > 0 && n < r.Prompt+r.Tokens { // learned, and too few: in the same proportion
			r.Tokens = n / 3
			r.Prompt = n - r.Tokens
		}
		w := writing{cfg: c, target: t, path: path, model: m, adapter: a, ppLen: promptLen(m),
			vocab: m.HParams().NVocab}
		if err := w.measure(ctx, &r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// promptLen is ppTokens, or the model's whole context where that is shorter and learned.
func promptLen(m *engine.Model) int {
	if n := m.HParams().Positions; n > 0 {
		return min(ppTokens, n)
	}
	return ppTokens
}

// writing measures rollouts of one model.
type writing struct {
	cfg     *Config
	target  Target
	path    string
	model   *engine.Model
	adapter *adapter.Adapter
	ppLen   int
	vocab   int
}

// open opens a Writer of so many answers at a time with the adapter; close closes it.
func (w *writing) open(ctx context.Context, r *Rollout, parallel int) (out *rollout.Writer, close func() error,
	err error) {
	if r.Engine == ours {
		return w.openOwn(r, parallel)
	}
	if out, err = rollout.Open(w.config(r, parallel)); err != nil {
		return nil, nil, err
	}
	if err := out.Hold(ctx, w.adapter); err != nil {
		return nil, nil, errors.Join(err, out.Close())
	}
	return out, out.Close, nil
}

// openOwn opens one by a session of its own.
func (w *writing) openOwn(r *Rollout, parallel int) (out *rollout.Writer, close func() error, err error) {
	sess, err := engine.NewSession(w.model, engine.SessionConfig{Threads: w.cfg.Threads,
		Sets: []engine.Set{{Adapter: w.adapter, Frozen: true}}})
	if err != nil {
		return nil, nil, err
	}
	c := w.config(r, parallel)
	c.Own = &rollout.Own{Session: sess, Samples: r.Answers}
	if out, err = rollout.Open(c); err != nil {
		return nil, nil, errors.Join(err, sess.Close())
	}
	return out, func() error { return errors.Join(out.Close(), sess.Close()) }, nil
}

// A prompter reads a prompt of n tokens and says how long that took: a *llama.Context, or ours.
type prompter interface {
	PromptTime(ctx context.Context, n int) (time.Duration, error)
}

// A forward reads by a forward pass of the last token alone.
type forward struct {
	*engine.Session
	vocab int
}

// PromptTime implements prompter.
func (f forward) PromptTime(ctx context.Context, n int) (time.Duration, error) {
	row := engine.PlainRow(randomTokens(newRand(), n, f.vocab))
	row.Counted = row.Counted[len(row.Counted)-1:]
	began := time.Now()
	_, err := f.Forward(ctx, &engine.Batch{Rows: []engine.Row{row}}, engine.Options{Apply: engine.Only()})
	return time.Since(began), err
}

// openPrompt opens what a prompt is read with, by the kernels that answers are written with.
func (w *writing) openPrompt(r *Rollout) (prompter, func() error, error) {
	if r.Engine == ours {
		s, err := engine.NewSession(w.model, engine.SessionConfig{Threads: w.cfg.Threads})
		if err != nil {
			return nil, nil, err
		}
		return forward{s, w.vocab}, s.Close, nil
	}
	o := llama.UserModelOptions()
	o.UseExtraBufts = r.Repacked
	m, err := verify.OpenModel(w.path, o)
	if err != nil {
		return nil, nil, err
	}
	c, err := m.NewContext(llama.UserContextOptions(w.ppLen, w.cfg.Threads))
	if err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	return c, func() error { return errors.Join(c.Close(), m.Close()) }, nil
}

func (w *writing) config(r *Rollout, parallel int) rollout.Config {
	return rollout.Config{Model: w.path, Threads: w.cfg.Threads, Ctx: r.Prompt + r.Tokens, Parallel: parallel,
		Lean: !r.Repacked}
}

// takes fills in the memory of a way beside the file.
func (w *writing) takes(r *Rollout) error {
	c := w.config(r, r.Answers)
	if r.Engine != ours {
		memory, err := rollout.PlanMemory(c)
		r.RepackedBytes, r.KVBytes = memory.Repacked, memory.KV
		return err
	}
	c.Own = &rollout.Own{Samples: r.Answers}
	sc := engine.SessionConfig{Threads: w.cfg.Threads, Sets: []engine.Set{{Adapter: w.adapter}}}
	f, err := engine.Plan(w.model, sc,
		engine.Extent{Tokens: 1, Row: 1, Counted: 1, Cache: c.Cache()})
	r.KVBytes = f.Cache
	return err
}

// measure fills r in, in rounds that time all it is made of.
func (w *writing) measure(ctx context.Context, r *Rollout) (err error) {
	if err := w.takes(r); err != nil {
		return err
	}
	prompt, closePrompt, err := w.openPrompt(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePrompt()) }()
	one, closeOne, err := w.open(ctx, r, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOne()) }()
	all, closeAll, err := w.open(ctx, r, r.Answers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	prompts := []rollout.Prompt{{Tokens: randomTokens(newRand(), r.Prompt, w.vocab)}}
	how := rollout.Sampling{Temp: 1, MaxTokens: r.Tokens, Seed: 1, Endless: true}
	var pp, ones, alls, ratio, of []float64
	for round := range w.cfg.Rounds + 1 {
		w.cfg.say("%s: round %d of %d (rollout by %s, repacked: %v)", w.target, round, w.cfg.Rounds, r.Engine,
			r.Repacked)
		read, err := prompt.PromptTime(ctx, w.ppLen)
		if err != nil {
			return err
		}
		how.Step = round
		var rates [2]float64
		for i, writer := range []*rollout.Writer{one, all} {
			began := time.Now()
			answers, err := writer.Write(ctx, prompts, r.Answers, how)
			if err != nil {
				return err
			}
			tokens := 0
			for _, a := range answers {
				tokens += len(a.Tokens)
			}
			rates[i] = float64(tokens) / time.Since(began).Seconds()
		}
		if round == 0 { // it wakes threads, touches memory and reads pages
			continue
		}
		pp, ones, alls = append(pp, float64(w.ppLen)/read.Seconds()), append(ones, rates[0]), append(alls, rates[1])
		ratio, of = append(ratio, rates[1]/rates[0]), append(of, rates[1]/pp[len(pp)-1])
	}
	r.PP, r.PPRange = median(pp), spread(pp)
	r.One, r.OneRange, r.All, r.AllRange = median(ones), spread(ones), median(alls), spread(alls)
	r.Ratio, r.RatioRange, r.OfPrompt, r.OfPromptRange = median(ratio), spread(ratio), median(of), spread(of)
	return nil
}
