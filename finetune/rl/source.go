package rl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rollout"
	"github.com/ggtune/ggtune/internal/count"
)

// A Writer writes answers; rollout.Writer is one.
type Writer interface {
	// Hold makes it write with an adapter as it is now.
	Hold(ctx context.Context, a *adapter.Adapter) error
	// Write answers each prompt g times: answers to a prompt are neighbours. What it gives follows from its arguments
	// and the adapter. On cancel it returns context.Cause(ctx).
	Write(ctx context.Context, prompts []rollout.Prompt, g int, how rollout.Sampling) ([]rollout.Answer, error)
	// Text is what an answer says, without the token that ends it.
	Text(a rollout.Answer) (string, error)
}

// An Engine computes log-probabilities and values; engine.Session is one.
type Engine interface {
	Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error)
}

// Rewards say what answers are worth; reward.Rewards are some.
type Rewards interface {
	Score(ctx context.Context, samples []reward.Sample) (reward.Scores, error)
	Names() []string
}

// A Judge has answers written, and rewards say what they are worth.
type Judge struct {
	Writer Writer
	Policy func() (*adapter.Adapter, error) // that the model writes with, as it is now; nil: with none
	// Exact says that the Writer finds a token as likely as the Engine does, to the bit, and tells entropies.
	Exact     bool
	Rewards   Rewards // nil: answers are not rewarded
	MaxTokens int     // of an answer
	Temp      float64 // at which answers are drawn and log-probabilities taken
	Seed      uint64
	// GroupTokens is how many tokens the answers in a row have at most, unless these are two; 0: all answers to a
	// prompt share one.
	GroupTokens int
	// Exchanges make an answer several turns, between which an environment answers; nil: it is one.
	Exchanges *Exchanges
	// Told is told how far a part of a rollout is; nil: nobody asks.
	Told func(what string, done, total int)
}

func (j *Judge) tell(what string, done, total int) {
	if j.Told != nil {
		j.Told(what, done, total)
	}
}

// Prompts are what answers are written to.
type Prompts struct {
	// Rows gives them, a row each; a micro-batch of it is answered together.
	Rows *encode.Loader
	// Asked is what rewards are told of each item of the loader's dataset, without an answer; nil without rewards.
	Asked []reward.Sample
	// Given has the data's answer to each item of the dataset, nil where there is none; nil: the model answers all
	// prompts. Otherwise Own is the share of them that it answers itself, beside those that have no answer.
	Given [][]int32
	Own   float64
}

// Config says where a Source's rollouts come from and what becomes of them.
type Config struct {
	Judge
	Prompts
	Engine Engine
	Method *method.Method
	// Reference are the sets of the engine that make the reference.
	Reference   engine.Choice
	Generations int // answers to a prompt
	Iterations  int // how often the answers of a rollout are gone through
	MiniBatches int // updates each time
	Batch       int // rows in a micro-batch: prompts with their answers
	// Cap is the largest importance weight of a token by which the writer's distribution is corrected; 0: none is.
	Cap float64
	Dir string // keeps rollouts
}

// A Source is a finetune.Source. It is not safe for concurrent use.
type Source struct {
	Config
	at  place
	cur *rolled // that of at, once it is there
	// last is the rollout whose micro-batch was given out last, and cost what was spent on rollouts for that update.
	last *rolled
	cost Cost
}

// A place says which micro-batch comes next, and what its rollout is made from.
type place struct {
	Rollout int           `json:"rollout"` // its number, from 0
	Prompts encode.Cursor `json:"prompts"` // where its prompts begin
	Step    int           `json:"step"`    // updates before its first
	Update  int           `json:"update"`  // of its own updates, those done
	Micro   int           `json:"micro"`   // micro-batches given out of the next
	// Carry is what the method carries on from rollout to rollout.
	Carry []float64 `json:"carry,omitempty"`
	// Barren counts the rollouts just before it of which nothing could be learned.
	Barren int `json:"barren"`
}

// New gives a Source that stands at the beginning.
func New(c Config) *Source { return &Source{Config: c} }

// Place implements finetune.Source.
func (s *Source) Place() json.RawMessage {
	text, err := json.Marshal(s.at)
	if err != nil {
		panic(fmt.Sprintf("rl: a place as JSON: %v", err)) // numbers
	}
	return text
}

// Return implements finetune.Source.
func (s *Source) Return(p json.RawMessage) error {
	at := place{}
	if p != nil {
		if err := json.Unmarshal(p, &at); err != nil {
			return fmt.Errorf("%s is no place among rollouts: %w", p, err)
		}
	}
	if s.cur != nil && s.cur.Number != at.Rollout {
		s.cur = nil
	}
	s.at = at
	return nil
}

// Epoch is how often the prompts have been gone through, those of the rollout under way included.
func (s *Source) Epoch() float64 {
	at := s.at.Prompts
	if s.cur != nil {
		at = s.cur.next
	}
	return float64(at.Epoch) + float64(at.Row)/float64(s.Rows.Rows())
}

// Ref gives the reference's log-probabilities of a micro-batch that the Source gave.
func (s *Source) Ref(_ context.Context, m *encode.Micro) ([]float64, error) { return m.Ref, nil }

// Figures are those of the rollout that the last micro-batch was of.
func (s *Source) Figures() []method.Metric {
	if s.last == nil {
		return nil
	}
	return s.last.figures
}

// ErrBarren is wrapped by the error of a Source whose rollouts teach nothing any more: before the first update the
// rewards are at fault, or the prompts; after some, all may be learned.
var ErrBarren = errors.New("no answer is better than another")

// mostBarren is how many rollouts in a row may teach nothing: of the 8 · 8 answers of each, none was ever better than
// another to its prompt. A reward that is given once in 500 answers is seen in two of three such rows.
const mostBarren = 10

// Next implements finetune.Source.
func (s *Source) Next(ctx context.Context) (*encode.Micro, error) {
	if s.at.Micro == 0 {
		s.cost = Cost{}
	}
	for {
		if s.cur == nil {
			r, err := s.roll(ctx)
			if err != nil {
				return nil, err
			}
			s.cur = r
		}
		if len(s.cur.updates) > 0 {
			break
		}
		if s.at.Barren+1 >= mostBarren {
			return nil, s.barren()
		}
		s.at = place{Rollout: s.at.Rollout + 1, Prompts: s.cur.next, Step: s.at.Step, Carry: s.cur.adv.Carry,
			Barren: s.at.Barren + 1}
		s.cur = nil
	}
	r := s.cur
	if s.at.Update >= len(r.updates) || s.at.Micro >= len(r.updates[s.at.Update]) {
		return nil, fmt.Errorf("rollout %d has no micro-batch %d of update %d: the place is another run's", r.Number,
			s.at.Micro, s.at.Update)
	}
	m := r.micro(s.at.Update, s.at.Micro, s.MaxTokens, s.Method.Rewarded())
	s.last = r
	s.at.Micro++
	if m.EndsStep {
		s.at.Micro, s.at.Update = 0, s.at.Update+1
	}
	if s.at.Update == len(r.updates) {
		s.at = place{Rollout: r.Number + 1, Prompts: r.next, Step: s.at.Step + len(r.updates), Carry: r.adv.Carry}
		s.cur = nil
	}
	return m, nil
}

// Leave goes on to the next rollout, whatever updates are left of the present one: the model has moved too far from the
// one that wrote it.
func (s *Source) Leave() {
	if r := s.cur; r != nil {
		s.at = place{Rollout: r.Number + 1, Prompts: r.next, Step: s.at.Step + s.at.Update, Carry: r.adv.Carry}
		s.cur = nil
	}
}

// barren is the error of a run that learns nothing.
func (s *Source) barren() error {
	lo, hi := s.cur.Answers[0].Reward, s.cur.Answers[0].Reward
	for _, a := range s.cur.Answers {
		lo, hi = min(lo, a.Reward), max(hi, a.Reward)
	}
	said := fmt.Sprintf("the last ones lie from %g to %g", lo, hi)
	if lo == hi {
		said = fmt.Sprintf("all of the last rollout are %g", lo)
	}
	rollouts, prompts := count.Of(mostBarren, "rollout"), count.Of(len(s.cur.prompts), "prompt")
	cut := ""
	if !slices.ContainsFunc(s.cur.Answers, func(a answer) bool { return a.Ended }) {
		// Answers that differ and are not learned from were left out because they were cut off.
		if s.Generations == 1 || s.differ() {
			return &cutOffError{fmt.Sprintf("in %s in a row, of %s each, all answers were left out: none of the last "+
				"ones ended within %s (--max-completion-length), and such are not learned from "+
				"(--mask-truncated-completions); raise the one, or leave the other out", rollouts, prompts,
				count.Of(s.MaxTokens, "token"))}
		}
		cut = fmt.Sprintf("; none of them ended within %s (--max-completion-length), which may be too few",
			count.Of(s.MaxTokens, "token"))
	}
	return fmt.Errorf("in %s in a row, of %s each, all answers to a prompt had the same reward (%s%s): %w, and there "+
		"is nothing to learn; see what the rewards say of some answers, take prompts of which the model gets some "+
		"right, or raise --num-generations or --temperature", rollouts, prompts, said, cut, ErrBarren)
}

// cutOffError says that nothing is learned because answers are cut off: an ErrBarren.
type cutOffError struct{ said string }

func (e *cutOffError) Error() string { return e.said }

func (e *cutOffError) Unwrap() error { return ErrBarren }

// differ says whether answers to one prompt of the present rollout had different rewards.
func (s *Source) differ() bool {
	for i, a := range s.cur.Answers {
		if a.Reward != s.cur.Answers[i-i%s.Generations].Reward {
			return true
		}
	}
	return false
}
