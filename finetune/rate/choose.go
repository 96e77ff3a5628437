package rate

import (
	"context"
	"math"
	"slices"
)

// A Scorer says what answers are worth, as a reward model does: one that is ahead by d is the better one with
// probability σ(d). A fake serves the tests. It is used by one goroutine at a time.
type Scorer interface {
	// Score gives each answer's score, in their order. An error of this prompt alone is a *PromptError.
	Score(ctx context.Context, p Prompt, answers []Answer) ([]float64, error)
}

// pool is among how many pairs the one is chosen that a Scorer is least sure of.
const pool = 16

// doubtOf is how unsure scores leave it which answers are better: the mean over all two of them of how far σ(lead) is
// from both 0 and 1, from 0 (certain) to ½ (not known).
func doubtOf(scores []float64) float64 {
	sum, n := 0.0, 0.0
	for i := range scores {
		for _, x := range scores[:i] {
			sum += 1 / (1 + math.Exp(math.Abs(scores[i]-x)))
			n++
		}
	}
	return sum / n
}

// reach is how many of the pending pairs the next one is chosen from: without a Scorer it is the first. Of prepared
// pairs it is the whole pool. Where answers are still to be written nobody should wait for a pool of them: it grows by
// a pair with each decision of this start. The caller holds mu.
func (s *Session) reach() int {
	if s.cfg.Scorer == nil {
		return min(1, len(s.pending))
	}
	n := min(pool, len(s.pending))
	if !slices.ContainsFunc(s.pending[:n], func(p *pair) bool { return !p.given }) {
		return n
	}
	return min(n, 1+s.decided)
}

// settle puts a pair on show, the first of the pending ones, where none is: without a Scorer the next one, with it the
// one within reach that it is least sure of, once all of these are written and scored. So which one it is follows from
// seeds and decisions, and never from how fast somebody writes or rates. Of equals the first is taken. What was typed,
// or taken back, comes before all others. The caller holds mu.
func (s *Session) settle() {
	if s.settled || len(s.pending) == 0 {
		return
	}
	within := s.pending[:s.reach()]
	if s.pending[0].first || len(within) == 1 {
		s.settled = true
		return
	}
	best := 0
	for i, p := range within {
		if !p.scored {
			return
		}
		if p.doubt > within[best].doubt {
			best = i
		}
	}
	p := s.pending[best]
	s.pending = slices.Insert(slices.Delete(slices.Clone(s.pending), best, best+1), 0, p)
	s.settled = true
}

// score has the Scorer say how sure it is of a pair that is written. Of two copies of one text in a pair it would be
// unsure for nothing: there are none.
func (s *Session) score(ctx context.Context, p *pair) error {
	scores, err := s.cfg.Scorer.Score(ctx, p.prompt, p.answers)
	if err != nil {
		return err
	}
	s.update(func() { p.doubt, p.scored = doubtOf(scores), true })
	return nil
}
