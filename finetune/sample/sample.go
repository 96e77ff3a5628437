// Package sample lets the base and the model in training answer a few prompts while it trains: through llama.cpp, which
// maps the same file and takes the adapter from memory. It decides what is asked and what it may cost; it does not know
// when, nor what becomes of the answers.
package sample

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

// A Sampler answers prompts. It is used by one goroutine at a time, and not while a session of the adapter computes:
// the two share the machine's cores in turns.
type Sampler struct {
	// Progress is told of each piece of an answer: how many tokens there are of all that a round may have; nil: nobody
	// asks.
	Progress func(done, total int)

	g       *generate.Generator
	prompts []corpus.Prompt
	how     llama.Sampling
	temp    float64
	tokens  int                        // most of an answer
	base    map[string]generate.Result // the base's answers, by what it read
	lengths map[int]int                // tokens of the last answer to a prompt
	threads int                        // at most
	speed   speed                      // of the round
	least   float64                    // seconds that measuring takes

	tuned *adapter.Adapter // of the round
	holds *adapter.Adapter // what the model writes with, nil where that may have changed
}

// speed is in seconds a token.
type speed struct{ read, write float64 }

// Prompts are what cfg has the model asked: the user's, or those of the held-out rows. None is no error.
func Prompts(ctx context.Context, cfg *config.Config, text *corpus.Reader, rows *corpus.Rows) ([]corpus.Prompt, error) {
	if !cfg.Samples() || cfg.Full {
		return nil, nil
	}
	if len(cfg.SamplePrompts) > 0 {
		return text.Asked(ctx, cfg.SamplePrompts)
	}
	return rows.Prompts, nil
}

// A Plan is what is asked, and what it takes.
type Plan struct {
	prompts []corpus.Prompt
	open    generate.Config
	memory  int64 // bytes
}

// NewPlan works it out. cfg's Threads must be set. nil without an error: there is nothing to ask. An error says why
// llama.cpp will not answer, which is no fault of the training.
func NewPlan(cfg *config.Config, m *engine.Model, prompts []corpus.Prompt) (*Plan, error) {
	if len(prompts) == 0 {
		return nil, nil
	}
	p := &Plan{}
	room, longest := m.HParams().NCtxTrain, 0
	for _, x := range prompts {
		if len(x.Tokens) < room {
			p.prompts = append(p.prompts, x)
			longest = max(longest, len(x.Tokens))
		}
	}
	if len(p.prompts) == 0 {
		return nil, fmt.Errorf("each prompt is longer than the %s that the model was trained for",
			count.Of(room, "token"))
	}
	p.open = generate.Config{Model: cfg.Model, Ctx: min(longest+cfg.SampleTokens, room), Threads: cfg.Threads,
		Lean: true}
	memory, err := generate.PlanMemory(p.open)
	p.memory = memory.Total()
	return p, err
}

// Bytes is the memory taken beside the mapped model for an adapter of that many numbers; 0 on nil.
func (p *Plan) Bytes(trained int64) int64 {
	if p == nil {
		return 0
	}
	// llama.cpp's copy of the adapter, and either the file that it is loaded from or the adapter of zeros that stands
	// for the base.
	const copies, float = 2, 4
	return p.memory + copies*float*trained
}

// Open opens the model a second time. Close it.
func (p *Plan) Open(cfg *config.Config) (*Sampler, error) {
	s := &Sampler{prompts: p.prompts, tokens: cfg.SampleTokens, how: llama.Greedy(), temp: cfg.SampleTemp,
		base: map[string]generate.Result{}, lengths: map[int]int{}, threads: p.open.Threads}
	if cfg.SampleTemp > 0 {
		s.how = llama.DefaultSampling(uint32(cfg.Seed))
		s.how.Temp = float32(cfg.SampleTemp)
	}
	var err error
	if s.g, err = generate.Open(p.open); err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives llama.cpp's memory back. It may be called again and on nil.
func (s *Sampler) Close() error {
	if s == nil {
		return nil
	}
	return s.g.Close()
}

// Len is the number of prompts.
func (s *Sampler) Len() int { return len(s.prompts) }

// Input is what the model reads for prompt i.
func (s *Sampler) Input(i int) string { return s.prompts[i].Input }

// Remember takes the base's answers from samples of earlier.
func (s *Sampler) Remember(lines []report.Sample) {
	for _, l := range lines {
		if l.MaxTokens == s.tokens && l.Temp == s.temp {
			s.base[l.Input] = generate.Result{Text: l.Base, Tokens: l.BaseTokens, Stop: generate.Stop(l.BaseEnd)}
		}
	}
}

// Begin begins a round of answers, with an adapter as it is now, and measures how fast they are written, which takes at
// most room seconds: ok is false where that is not enough. It finds out how many threads to write with: where other
// programs have the cores, llama.cpp's threads wait for each other, and two of them can be fifty times slower than one.
func (s *Sampler) Begin(ctx context.Context, a *adapter.Adapter, room float64) (ok bool, err error) {
	least := s.least
	if s.speed.write > 0 {
		least += s.Cost(0)
	}
	if room < least {
		return false, nil // what there is would be spent on measuring
	}
	s.tuned, s.holds = a, nil
	began := time.Now()
	within, cancel := limited(ctx, room)
	defer cancel()
	v, err := s.measure(within, 1)
	if err == nil && s.threads > 1 {
		v, err = s.compare(within, v, time.Since(began).Seconds())
	}
	s.least = time.Since(began).Seconds()
	if err != nil {
		if ctx.Err() == nil && within.Err() != nil {
			s.least *= 2 // so that all attempts together take no more than twice the last
			return false, nil
		}
		return false, err
	}
	s.speed = v
	return true, nil
}

// limited is ctx that ends after so many seconds, which may be without end.
func limited(ctx context.Context, seconds float64) (context.Context, context.CancelFunc) {
	if seconds >= math.MaxInt64/float64(time.Second) {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
}

// compare measures all threads against one, which had the given speed after so many seconds, and leaves the faster way
// set.
func (s *Sampler) compare(ctx context.Context, one speed, took float64) (speed, error) {
	within, cancel := limited(ctx, took)
	defer cancel()
	all, err := s.measure(within, s.threads)
	switch {
	case err == nil && all.write < one.write:
		return all, nil
	case err == nil, ctx.Err() == nil && within.Err() != nil:
		return one, s.g.SetThreads(1)
	}
	return one, err
}

// measure times the reading of the beginning of a prompt, and the writing of a few tokens behind it.
func (s *Sampler) measure(ctx context.Context, threads int) (v speed, err error) {
	const read, written = 16, 4 // tokens: the first of a process is slow, as threads start and pages are mapped
	if err := s.g.SetThreads(threads); err != nil {
		return v, err
	}
	s.holds = nil // what was read is forgotten with it
	if err := s.hold(ctx, s.tuned); err != nil {
		return v, err
	}
	some := s.prompts[0].Tokens
	some = some[:min(len(some), read)]
	began := time.Now()
	if _, err := s.g.Continue(ctx, some, 1, s.how, nil); err != nil {
		return v, err
	}
	v.read = time.Since(began).Seconds() / float64(len(some))
	began = time.Now() // all but the last of them are not read again
	r, err := s.g.Continue(ctx, some, written, s.how, nil)
	if err != nil {
		return v, err
	}
	v.write = time.Since(began).Seconds() / float64(max(r.Tokens, 1))
	return v, nil
}

// Cost is how many seconds the answers to prompt i will take, as far as is known: the last one's length is.
func (s *Sampler) Cost(i int) float64 {
	p := &s.prompts[i]
	n, known := s.lengths[i]
	if !known {
		n = s.tokens
	}
	one := s.speed.read*float64(len(p.Tokens)) + s.speed.write*float64(n)
	if _, known := s.base[p.Input]; !known {
		return 2 * one
	}
	return one
}

// hold makes the model write with a. The adapter of the base is another one each time.
func (s *Sampler) hold(ctx context.Context, a *adapter.Adapter) error {
	if s.holds == a {
		return nil
	}
	s.holds = nil
	if err := s.g.Hold(ctx, a); err != nil {
		return err
	}
	s.holds = a
	return nil
}

// Answer has the model answer prompt i with the adapter of the round and, the first time, without. When ctx is done it
// returns its cause at once.
func (s *Sampler) Answer(ctx context.Context, i int) (report.Sample, error) {
	p := &s.prompts[i]
	began := time.Now()
	base, known := s.base[p.Input]
	if !known {
		var err error
		if err = s.hold(ctx, s.tuned.Nothing()); err != nil {
			return report.Sample{}, err
		}
		if base, err = s.write(ctx, i, 0); err != nil {
			return report.Sample{}, err
		}
		s.base[p.Input] = base
	}
	if err := s.hold(ctx, s.tuned); err != nil {
		return report.Sample{}, err
	}
	tuned, err := s.write(ctx, i, 1)
	if err != nil {
		return report.Sample{}, err
	}
	s.lengths[i] = tuned.Tokens + 1 // with the end
	return report.Sample{Index: i, Prompt: p.Text, Input: p.Input, Expected: orNull(p.Expected),
		Source: orNull(p.Source),
		Base:   base.Text, Tuned: tuned.Text, BaseEnd: string(base.Stop), TunedEnd: string(tuned.Stop),
		BaseTokens: base.Tokens, TunedTokens: tuned.Tokens, MaxTokens: s.tokens, Temp: s.temp,
		Seconds: time.Since(began).Seconds()}, nil
}

// write writes one answer to prompt i, the first or second of the pair.
func (s *Sampler) write(ctx context.Context, i, which int) (generate.Result, error) {
	done := (2*i + which) * s.tokens
	r, err := s.g.Continue(ctx, s.prompts[i].Tokens, s.tokens, s.how, func(string) {
		done++
		if s.Progress != nil {
			s.Progress(done, 2*len(s.prompts)*s.tokens)
		}
	})
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = errors.Join(err, context.Cause(ctx)) // an answer that was cut off is none
	}
	return r, err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
