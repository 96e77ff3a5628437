package rate

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// An Author writes answers. A fake serves the tests.
type Author interface {
	// Answer writes a side of the pair with that id; sides count from 0. yield gets the text as it comes. try counts
	// from 0: another try asks for another answer. An error of this prompt alone is a *PromptError; any other ends the
	// writing.
	Answer(ctx context.Context, p Prompt, id string, side, try int, yield func(text string)) (Answer, error)
	// Varies says that another try can give another answer.
	Varies() bool
}

const (
	// ahead is how many pairs are written before they are asked for, the one on show among them: more would cost power
	// for answers that may never be read.
	ahead = 4
	// retries is how often an answer that is equal to the other is written again. Where the model is that certain, a
	// pair that differs at last would differ in little.
	retries = 3
)

// A PromptError is why one prompt cannot be answered, where others can.
type PromptError struct{ Err error }

func (e *PromptError) Error() string { return e.Err.Error() }
func (e *PromptError) Unwrap() error { return e.Err }

// Write writes answers ahead of the person until ctx ends, and then returns context.Cause(ctx), or until the author
// fails.
func (s *Session) Write(ctx context.Context, a Author) error {
	for {
		p, own, changed := s.next(ctx)
		if p == nil {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-changed:
			}
			continue
		}
		err := s.prepare(own, a, p)
		p.stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// next marks the next pair to write, or to score, as being written, and gives the context of that; nil if enough are
// ready.
func (s *Session) next(ctx context.Context) (p *pair, own context.Context, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.pending[:min(s.reach()+ahead-1, len(s.pending))] {
		switch {
		case p.state == waiting:
			p.state = writing
			p.answers, p.written = make([]Answer, s.cfg.Answers), make([]bool, s.cfg.Answers)
		case s.cfg.Scorer == nil || p.scored || i == 0 && s.settled:
			continue
		}
		own, p.stop = context.WithCancel(ctx)
		return p, own, nil
	}
	return nil, nil, s.changed
}

// prepare has the answers of p written, as far as they are not there, and scored where there is a Scorer.
func (s *Session) prepare(ctx context.Context, a Author, p *pair) error {
	if p.state != ready {
		if left, err := s.write(ctx, a, p); err != nil || !left {
			return err
		}
	}
	if s.cfg.Scorer == nil || ctx.Err() != nil {
		return nil
	}
	err := s.score(ctx, p)
	var prompt *PromptError
	switch {
	case ctx.Err() != nil:
		return nil // skipped, or all ends
	case errors.As(err, &prompt):
		s.leaveOut(p, fmt.Sprintf("%s: %v", p.source, prompt.Err))
		return nil
	}
	return err
}

// write fills in the answers of p in the order in which they are shown: the order in which they come says nothing. One
// that comes out equal to another is left out; a single one is no pair. whole is whether p is ready.
func (s *Session) write(ctx context.Context, a Author, p *pair) (whole bool, err error) {
	equal := map[int]bool{}
	for shown, side := range order(s.cfg.Seed, p.id, s.cfg.Answers) {
		for try := 0; ; try++ {
			err := s.writeOne(ctx, a, p, shown, side, try)
			var prompt *PromptError
			switch {
			case ctx.Err() != nil:
				return false, nil // skipped, or all ends
			case errors.As(err, &prompt):
				s.leaveOut(p, fmt.Sprintf("%s: %v", p.source, prompt.Err))
				return false, nil
			case err != nil:
				return false, err
			}
			equal[shown] = p.same(shown)
			if !equal[shown] || !a.Varies() || try == retries {
				break
			}
		}
	}
	var left []Answer
	for i, x := range p.answers {
		if !equal[i] {
			left = append(left, x)
		}
	}
	if len(left) < 2 {
		s.leaveOut(p, "")
		return false, nil
	}
	s.update(func() { p.shown(left) })
	return true, nil
}

// same says whether the answer shown at i equals one before it. It may be called by the writer of p only.
func (p *pair) same(i int) bool {
	return slices.ContainsFunc(p.answers[:i], func(a Answer) bool { return a.Text == p.answers[i].Text })
}

func (s *Session) writeOne(ctx context.Context, a Author, p *pair, shown, side, try int) error {
	s.update(func() { p.answers[shown], p.written[shown] = Answer{}, false })
	x, err := a.Answer(ctx, p.prompt, p.id, side, try, func(text string) {
		s.update(func() { p.answers[shown].Text += text })
	})
	if err != nil {
		return err
	}
	s.update(func() { p.answers[shown], p.written[shown] = x, true })
	return nil
}

func (s *Session) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.settle()
	s.notify()
}

// leaveOut takes a pair away that cannot be rated: because of why, or because its answers are equal.
func (s *Session) leaveOut(p *pair, why string) {
	s.update(func() {
		if s.settled && s.pending[0] == p {
			s.settled = false
		}
		s.pending = slices.DeleteFunc(slices.Clone(s.pending), func(q *pair) bool { return q == p })
		s.leave(p, why)
	})
}

// leave counts a pair that is not among the pending ones any more. The caller holds mu.
func (s *Session) leave(p *pair, why string) {
	if why != "" {
		s.failed = append(s.failed, why)
	} else {
		s.equal = append(s.equal, p.source)
	}
}
