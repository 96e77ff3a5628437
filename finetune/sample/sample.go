// Package sample lets the base and the model in training answer a few prompts while it trains: through llama.cpp, which
// maps the same file and takes the adapter from memory. It decides what is asked and what it may cost; it does not know
// when, nor what becomes of the answers.
package sample

import (
	"context"
	"encoding/json"
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

// A Sampler answers prompts, in rounds: Begin, Shorten, then Answer for one prompt after the other. It is used by one
// goroutine at a time, and not while a session of the adapter computes: the two share the machine's cores in turns.
type Sampler struct {
	// Progress is told of each piece of an answer: how many tokens there are of all that a round may have; nil: nobody
	// asks.
	Progress func(done, total int)

	g       *generate.Generator
	prompts []corpus.Prompt
	how     llama.Sampling
	temp    float64
	most    int              // tokens of an answer that is not shortened
	base    map[string][]cut // the base's answers, by what it read
	lengths map[int]int      // tokens of the last answer to a prompt
	threads int              // at most
	speed   speed            // as it was last measured; 0: not known
	least   float64          // seconds that measuring takes

	tokens   int              // most of an answer in the round
	total    int              // tokens that the answers of the round may have
	answered int              // tokens that those which are written could have had
	tuned    *adapter.Adapter // of the round
	holds    *adapter.Adapter // what the model writes with, nil where that may have changed
}

// A cut is an answer that could have so many tokens.
type cut struct {
	generate.Result
	most int
}

// speed is in seconds a token.
type speed struct{ read, write float64 }

// Prompts are what cfg has the model asked: the user's, or those of the held-out rows. None is no error.
func Prompts(ctx context.Context, cfg *config.Config, text *corpus.Reader, rows *corpus.Rows) ([]corpus.Prompt, error) {
	if !cfg.Samples() || cfg.LeavesModel() {
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
	tokens  int // most of an answer
	open    generate.Config
	memory  int64 // bytes
}

// NewPlan works it out. cfg's Threads must be set. nil without an error: there is nothing to ask. An error says why
// llama.cpp will not answer, which is no fault of the training.
func NewPlan(cfg *config.Config, m *engine.Model, prompts []corpus.Prompt) (*Plan, error) {
	if len(prompts) == 0 {
		return nil, nil
	}
	p := &Plan{tokens: cfg.SampleTokens}
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

// tokenBytes is more than a token's text takes in a file on average, its escapes included.
const tokenBytes = 8

// Disk is how many bytes the answers take in samples.jsonl, of as many rounds; 0 on nil.
func (p *Plan) Disk(rounds int) (bytes int64) {
	if p == nil {
		return 0
	}
	for i := range p.prompts {
		line, err := json.Marshal(asked(&p.prompts[i], i))
		if err != nil {
			panic(err) // it holds strings and numbers
		}
		bytes += int64(len(line)) + 2*tokenBytes*int64(p.tokens)
	}
	return int64(rounds) * bytes
}

// Open opens the model a second time. Close it.
func (p *Plan) Open(cfg *config.Config) (*Sampler, error) {
	s := &Sampler{prompts: p.prompts, most: cfg.SampleTokens, tokens: cfg.SampleTokens, how: llama.Greedy(),
		temp: cfg.SampleTemp, base: map[string][]cut{}, lengths: map[int]int{}, threads: p.open.Threads}
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
		if l.Temp == s.temp {
			s.keep(l.Input, l.MaxTokens,
				generate.Result{Text: l.Base, Tokens: l.BaseTokens, Stop: generate.Stop(l.BaseEnd)})
		}
	}
}

// keep keeps the base's answer to an input, of at most so many tokens.
func (s *Sampler) keep(input string, most int, r generate.Result) {
	if _, known := s.known(input, most); !known {
		s.base[input] = append(s.base[input], cut{r, most})
	}
}

// known is the base's answer to an input where it may have so many tokens: one that it ended itself does not depend on
// how many more it could have had.
func (s *Sampler) known(input string, most int) (generate.Result, bool) {
	for _, c := range s.base[input] {
		if c.most == most || c.Stop == generate.StopEnd && c.Tokens < most {
			return c.Result, true
		}
	}
	return generate.Result{}, false
}

// Begin begins a round of answers, with an adapter as it is now. Where it is not known how fast they are written, it is
// measured, which takes at most room seconds: ok is false where that is not enough. It finds out how many threads to
// write with: where other programs have the cores, llama.cpp's threads wait for each other, and two of them can be
// fifty times slower than one.
func (s *Sampler) Begin(ctx context.Context, a *adapter.Adapter, room float64) (ok bool, err error) {
	s.tuned, s.holds = a, nil
	if s.speed.write > 0 {
		return true, nil
	}
	if room < s.least {
		return false, nil // what there is would be spent on measuring
	}
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

// shortest is how many tokens an answer has room for however short the time is: about a line, enough to see whether it
// goes the right way.
const shortest = 16

// Shorten settles how long the answers of a round to the given prompts may be: as long as was asked for, or halved
// until all of them fit into room seconds, but not below shortest.
func (s *Sampler) Shorten(prompts []int, room float64) (tokens int) {
	s.tokens = s.most
	for s.tokens > shortest && s.costs(prompts) > room {
		s.tokens = max(s.tokens/2, shortest)
	}
	s.total, s.answered = 2*s.tokens*len(prompts), 0
	return s.tokens
}

func (s *Sampler) costs(prompts []int) (seconds float64) {
	for _, i := range prompts {
		seconds += s.Cost(i)
	}
	return seconds
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
	if !known || n > s.tokens {
		n = s.tokens
	}
	one := s.speed.read*float64(len(p.Tokens)) + s.speed.write*float64(n)
	if _, known := s.known(p.Input, s.tokens); !known {
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

// slow is how many times as long as foretold an answer may take before the speed is measured again.
const slow = 2

// Answer has the model answer prompt i with the adapter of the round and, unless that is known, without. ok is false
// where that would have taken more than room seconds: it is given up then. When ctx is done it returns its cause at
// once.
func (s *Sampler) Answer(ctx context.Context, i int, room float64) (_ report.Sample, ok bool, err error) {
	foretold, began := s.Cost(i), time.Now()
	within, cancel := limited(ctx, room)
	defer cancel()
	base, tuned, err := s.both(within, i)
	took := time.Since(began).Seconds()
	if took > slow*foretold {
		s.speed = speed{}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return report.Sample{}, false, errors.Join(err, context.Cause(ctx))
	case err != nil && within.Err() != nil:
		s.speed = speed{}
		return report.Sample{}, false, nil
	case err != nil:
		return report.Sample{}, false, err
	}
	s.answered += 2 * s.tokens
	s.lengths[i] = tuned.Tokens + 1 // with the end
	x := asked(&s.prompts[i], i)
	x.Base, x.BaseTokens, x.BaseEnd = base.Text, base.Tokens, string(base.Stop)
	x.Tuned, x.TunedTokens, x.TunedEnd = tuned.Text, tuned.Tokens, string(tuned.Stop)
	x.MaxTokens, x.Temp, x.Seconds = s.tokens, s.temp, took
	return x, true, nil
}

// asked is a sample without its answers.
func asked(p *corpus.Prompt, i int) report.Sample {
	return report.Sample{Index: i, Prompt: p.Text, Input: p.Input, Expected: orNull(p.Expected),
		Source: orNull(p.Source)}
}

// both gives the base's answer, which is written if it is not known, and the adapter's.
func (s *Sampler) both(ctx context.Context, i int) (base, tuned generate.Result, err error) {
	input := s.prompts[i].Input
	base, known := s.known(input, s.tokens)
	if !known {
		if err = s.hold(ctx, s.tuned.Nothing()); err != nil {
			return base, tuned, err
		}
		if base, err = s.write(ctx, i, 0); err != nil {
			return base, tuned, err
		}
		s.keep(input, s.tokens, base)
	}
	if err = s.hold(ctx, s.tuned); err != nil {
		return base, tuned, err
	}
	tuned, err = s.write(ctx, i, 1)
	return base, tuned, err
}

// write writes one answer to prompt i, the first or second of the pair.
func (s *Sampler) write(ctx context.Context, i, which int) (generate.Result, error) {
	done := s.answered + which*s.tokens
	r, err := s.g.Continue(ctx, s.prompts[i].Tokens, s.tokens, s.how, func(string) {
		done++
		if s.Progress != nil {
			s.Progress(done, s.total)
		}
	})
	if err == nil {
		err = context.Cause(ctx) // an answer that was cut off is none
	}
	return r, err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
