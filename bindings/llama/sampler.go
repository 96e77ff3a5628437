package llama

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/ggtune/ggtune/bindings"
)

// Sampling says how the next token is drawn.
type Sampling struct {
	// Temp divides the logits; 0 takes the most likely token, and then only RepeatPenalty matters. 0 or more.
	Temp float32
	// TopK keeps the k most likely tokens; 0 keeps all.
	TopK int
	// TopP keeps the most likely tokens that together have this probability; 1 keeps all. 0 to 1.
	TopP float32
	// MinP drops tokens less likely than this fraction of the most likely one's probability; 0 drops none. 0 to 1.
	MinP float32
	// RepeatPenalty divides the logits of recent tokens; 1 changes nothing. Above 0.
	RepeatPenalty float32
	// RepeatLastN is how many tokens are recent. 0 or more.
	RepeatLastN int
	// Seed starts the random numbers.
	Seed uint32
}

// DefaultSampling returns llama.cpp's defaults, with the given seed.
func DefaultSampling(seed uint32) Sampling {
	return Sampling{Temp: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1, RepeatLastN: 64, Seed: seed}
}

// Greedy returns the choice of the most likely token.
func Greedy() Sampling { return Sampling{TopP: 1, RepeatPenalty: 1} }

// Validate reports every fault. The negated comparisons catch NaN as well.
func (s Sampling) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.Temp >= 0 && s.Temp <= 1e6, "temperature %v: want 0 or more", s.Temp)
	check(s.TopK >= 0 && s.TopK <= 1<<30, "top-k %d: want 0 (all) or more", s.TopK)
	check(s.TopP > 0 && s.TopP <= 1, "top-p %v: want above 0, at most 1", s.TopP)
	check(s.MinP >= 0 && s.MinP <= 1, "min-p %v: want 0 to 1", s.MinP)
	check(s.RepeatPenalty > 0 && s.RepeatPenalty <= 1e6, "repeat penalty %v: want above 0; 1 changes nothing",
		s.RepeatPenalty)
	check(s.RepeatLastN >= 0 && s.RepeatLastN <= maxCtx, "repeat penalty over %d tokens: want 0 to %d", s.RepeatLastN,
		maxCtx)
	return errors.Join(errs...)
}

// A Sampler draws tokens from a Context's logits. It remembers recent tokens and the state of its random numbers.
type Sampler struct {
	mu      sync.Mutex
	ptr     *C.gt_sampler
	status  C.gt_status
	cleanup runtime.Cleanup
}

// NewSampler makes a sampler. Close it.
func NewSampler(s Sampling) (*Sampler, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	o := C.gt_sampler_options{
		temp: C.float(s.Temp), top_k: C.int32_t(s.TopK), top_p: C.float(s.TopP), min_p: C.float(s.MinP),
		seed:           C.uint32_t(s.Seed),
		repeat_penalty: C.float(s.RepeatPenalty), repeat_last_n: C.int32_t(s.RepeatLastN),
	}
	sm := &Sampler{}
	if C.gt_sampler_new(&o, &sm.ptr, &sm.status) != C.GT_OK {
		return nil, statusError("make a sampler", &sm.status)
	}
	sm.cleanup = runtime.AddCleanup(sm, func(p *C.gt_sampler) { C.gt_sampler_release(p) }, sm.ptr)
	return sm, nil
}

// Accept tells the sampler of tokens that it did not draw, so that the repeat penalty counts them.
func (s *Sampler) Accept(tokens []int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ptr == nil {
		return fmt.Errorf("tell the sampler of tokens: sampler %w", bindings.ErrClosed)
	}
	if len(tokens) == 0 {
		return nil
	}
	if C.gt_sampler_accept(s.ptr, (*C.int32_t)(&tokens[0]), C.int32_t(len(tokens)), &s.status) != C.GT_OK {
		return statusError("tell the sampler of tokens", &s.status)
	}
	return nil
}

// Reset forgets the recent tokens and starts the random numbers anew.
func (s *Sampler) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ptr == nil {
		return fmt.Errorf("reset the sampler: sampler %w", bindings.ErrClosed)
	}
	if C.gt_sampler_reset(s.ptr, &s.status) != C.GT_OK {
		return statusError("reset the sampler", &s.status)
	}
	return nil
}

// Sample draws the token after the last one that c has read by Decode, and remembers it.
func (s *Sampler) Sample(c *Context) (int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("sample a token"); err != nil {
		return 0, err
	}
	if !c.logits {
		return 0, errors.New("sample a token: the context has no logits; read tokens with Decode first")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ptr == nil {
		return 0, fmt.Errorf("sample a token: sampler %w", bindings.ErrClosed)
	}
	var token C.int32_t
	code := C.gt_sampler_sample(s.ptr, c.ptr, &token, &s.status)
	runtime.KeepAlive(c)
	if code != C.GT_OK {
		return 0, statusError("sample a token", &s.status)
	}
	return int32(token), nil
}

// Close frees the sampler. It may be called again and on nil.
func (s *Sampler) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ptr == nil {
		return nil
	}
	s.cleanup.Stop()
	C.gt_sampler_release(s.ptr)
	s.ptr = nil
	return nil
}

// Generate reads prompt after what the context holds, then draws up to n tokens, handing each to yield, until yield
// returns false, a token ends generation (it is not handed on), or the context is full. It returns the tokens it handed
// on; those but the last are in the context, the last is not.
func (c *Context) Generate(ctx context.Context, prompt []int32, n int, s Sampling,
	yield func(token int32) bool) ([]int32, error) {
	sampler, err := NewSampler(s)
	if err != nil {
		return nil, err
	}
	defer sampler.Close()
	if err := c.Decode(ctx, prompt); err != nil {
		return nil, err
	}
	if err := sampler.Accept(prompt); err != nil {
		return nil, err
	}
	var out []int32
	for len(out) < n {
		token, err := sampler.Sample(c)
		if err != nil {
			return out, err
		}
		if c.model.vocab.IsEOG(token) {
			return out, nil
		}
		out = append(out, token)
		if yield != nil && !yield(token) || len(out) == n || c.Len() == c.nCtx {
			return out, nil
		}
		if err := c.Decode(ctx, []int32{token}); err != nil {
			return out, err
		}
	}
	return out, nil
}
