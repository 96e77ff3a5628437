// Package reward says what answers are worth: checks that are computed, one file each, and a program of the user's. It
// knows no model and no training; rewards that need one are added by who has it (Options.Kinds).
//
//	r, err := reward.Open([]string{"number", "length=200"}, []float64{1, 0.5}, reward.Options{})
//	err = r.Check(samples)                  // before hours are spent: does each row hold what is needed?
//	scores, err := r.Score(ctx, samples)    // Total, and each reward apart
//	err = r.Close()
package reward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/visible"
)

// A Sample is one answer to one prompt.
type Sample struct {
	Source   string         // file:line of the prompt, for messages
	Prompt   string         // as the model reads it
	Messages []data.Message // the prompt where it is a conversation, else nil
	Answer   string
	// Given and Written are the tokens of the prompt and of the answer, its end among them, where the model has just
	// written it; else nil.
	Given, Written []int32
	Tokens         int  // of the answer, its end among them
	Ended          bool // the model ended it; otherwise it was cut off
	// Earned is what an environment has given over an exchange, of which Answer is the last turn, and Messages all
	// before it; nil where there is no environment.
	Earned *float64
	// Tools are the definitions of those that the conversation has; nil: none.
	Tools json.RawMessage
	// Row is the prompt's row of the data, all of its columns.
	Row map[string]json.RawMessage
}

// A Reward says what answers are worth. It belongs to one goroutine. One that holds something is an io.Closer too.
type Reward interface {
	// Score gives each sample's reward, in their order: numbers, of any size, more is better.
	Score(ctx context.Context, samples []Sample) ([]float64, error)
}

// A checker is a Reward that needs something of a row. Check is called before there is an answer.
type checker interface {
	Check(s *Sample) error
}

// A Kind is one way to reward, under a name: --reward NAME or NAME=ARG.
type Kind struct {
	Name  string
	Arg   string // what ARG is, for help: "MARKER"; "" where there is none
	Needs bool   // it cannot do without ARG
	Usage string // one line: what is worth how much
	// Check says that an answer is right where it is worth 1, and else not.
	Check bool
	Open  func(arg string, o *Options) (Reward, error)
}

// Spec is how the kind is asked for.
func (k *Kind) Spec() string {
	switch {
	case k.Arg == "":
		return k.Name
	case k.Needs:
		return k.Name + "=" + k.Arg
	}
	return k.Name + "[=" + k.Arg + "]"
}

var kinds = registry.New[*Kind]("reward")

func register(k *Kind) *Kind { return kinds.Register(k.Name, k) }

// Kinds lists the kinds by name.
func Kinds() []*Kind { return kinds.All() }

// Names lists their names.
func Names() []string { return kinds.Names() }

// The names of the rewards that programs of the user's give.
const (
	Command     = "cmd" // Options.Command
	Environment = "env" // Options.Environment
)

// Options say what rewards work with.
type Options struct {
	// Column is the row's column that holds the right answer, or a list of right ones. Default: the first of Columns
	// that the row has.
	Column string
	// Command is a program of the user's (see Command), which comes behind the other rewards. Default: none.
	Command string
	// Timeout is how long Command may take over the answers of one call. Default program.DefaultTimeout.
	Timeout time.Duration
	// Environment adds what an environment gives (Sample.Earned) behind all others. Default false.
	Environment bool
	// Note is told what a person should know while rewards work. Default: nobody is.
	Note func(string)
	// Kinds are further kinds, of rewards that the caller makes.
	Kinds []*Kind
}

// Rewards are several, with weights, as one.
type Rewards struct {
	parts []part
}

type part struct {
	name   string // as it was asked for
	weight float64
	reward Reward
	check  bool // its kind's Check
	// program says that what it gives is a program's.
	program bool
	seen    spread
}

// Open opens rewards by their specs, NAME or NAME=ARG, and o.Command and o.Environment behind them. weights go with
// them in that order; none are 1 each, and what weighs 0 is measured and counts for nothing. The caller closes the
// Rewards.
func Open(specs []string, weights []float64, o Options) (_ *Rewards, err error) {
	n := len(specs)
	if o.Command != "" {
		n++
	}
	if o.Environment {
		n++
	}
	if n == 0 {
		return nil, errors.New("no reward is given")
	}
	if len(weights) > 0 && len(weights) != n {
		return nil, fmt.Errorf("there are %d weights for %d rewards; give one for each, in their order", len(weights),
			n)
	}
	r := &Rewards{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	weigh := func(i int) float64 {
		if len(weights) == 0 {
			return 1
		}
		return weights[i]
	}
	var errs []error
	for i, w := range weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			errs = append(errs, fmt.Errorf("weight %d is %g; expected a finite number", i+1, w))
		}
	}
	if len(weights) > 0 && !slices.ContainsFunc(weights, func(w float64) bool { return w != 0 }) {
		errs = append(errs, fmt.Errorf("every weight is 0, so that no answer is worth more than another; give one "+
			"reward another weight"))
	}
	for i, spec := range specs {
		one, err := open(spec, &o)
		if err != nil {
			errs = append(errs, fmt.Errorf("reward %q: %w", spec, err))
			continue
		}
		if err := r.add(part{name: spec, weight: weigh(i), reward: one, check: checks(spec)}); err != nil {
			errs = append(errs, err)
		}
	}
	if o.Command != "" {
		one, err := newCommand(o.Command, &o)
		if err != nil {
			errs = append(errs, err)
		} else {
			cmd := part{name: Command, weight: weigh(len(specs)), reward: one, program: true}
			errs = append(errs, r.add(cmd))
		}
	}
	if o.Environment {
		env := part{name: Environment, weight: weigh(n - 1), reward: each(earned), program: true}
		errs = append(errs, r.add(env))
	}
	return r, errors.Join(errs...)
}

func earned(s *Sample) (float64, error) {
	if s.Earned == nil {
		return 0, errors.New("no environment has seen this answer")
	}
	return *s.Earned, nil
}

func open(spec string, o *Options) (Reward, error) {
	name, arg, given := strings.Cut(spec, "=")
	k, err := kinds.Get(name)
	if err != nil {
		i := slices.IndexFunc(o.Kinds, func(k *Kind) bool { return k.Name == name })
		if i < 0 {
			known := Names()
			for _, k := range o.Kinds {
				known = append(known, k.Name)
			}
			slices.Sort(known)
			return nil, &registry.UnknownError{Kind: "reward", Name: name, Known: known}
		}
		k = o.Kinds[i]
	}
	switch {
	case k.Arg == "" && given:
		return nil, fmt.Errorf("it takes nothing behind its name; write %s", k.Name)
	case k.Needs && arg == "":
		return nil, fmt.Errorf("%s is missing; write %s", k.Arg, k.Spec())
	case given && arg == "":
		return nil, fmt.Errorf("nothing stands behind =; write %s or %s=%s", k.Name, k.Name, k.Arg)
	}
	return k.Open(arg, o)
}

// checks says whether the reward of a spec is a check.
func checks(spec string) bool {
	name, _, _ := strings.Cut(spec, "=")
	k, err := kinds.Get(name)
	return err == nil && k.Check
}

func (r *Rewards) add(one part) error {
	r.parts = append(r.parts, one)
	for _, p := range r.parts[:len(r.parts)-1] {
		if p.name == one.name {
			return fmt.Errorf("reward %q is given twice; give it once, with a weight (--reward-weights)", p.name)
		}
	}
	return nil
}

// Checks lists the rewards, by their numbers, that say of an answer whether it is right: by 1, and else not. A program
// is one as long as it has said nothing but 0 and 1.
func (r *Rewards) Checks() (list []int) {
	for k := range r.parts {
		p := &r.parts[k]
		if p.check || p.program && p.seen.n > 0 && !p.seen.other {
			list = append(list, k)
		}
	}
	return list
}

// Names lists the rewards as they were asked for, in their order.
func (r *Rewards) Names() []string {
	names := make([]string, len(r.parts))
	for i, p := range r.parts {
		names[i] = p.name
	}
	return names
}

// Compares says whether one of the rewards compares with the right answer of the row.
func (r *Rewards) Compares() bool {
	return slices.ContainsFunc(r.parts, func(p part) bool { _, ok := p.reward.(*compared); return ok })
}

// Check says which sample's row lacks what a reward needs. Their answers are not looked at.
func (r *Rewards) Check(samples []Sample) error {
	for _, p := range r.parts {
		c, ok := p.reward.(checker)
		if !ok {
			continue
		}
		for i := range samples {
			if err := c.Check(&samples[i]); err != nil {
				return fmt.Errorf("%s: reward %q: %w", samples[i].Source, p.name, err)
			}
		}
	}
	return nil
}

// Scores are what samples are worth.
type Scores struct {
	Total []float64   // by sample: the weighted sum
	Parts [][]float64 // by reward, then by sample: without weights
}

// Score gives what the samples are worth. A reward that is no finite number is an error that names the sample.
func (r *Rewards) Score(ctx context.Context, samples []Sample) (Scores, error) {
	s, err := r.Try(ctx, samples)
	if err == nil {
		for k := range r.parts {
			r.parts[k].seen.add(s.Parts[k])
		}
	}
	return s, err
}

// Try is Score that Constant does not count: with right answers as samples (Reference) it finds a program that cannot
// be started, and a reward that they do not get, before an answer is written.
func (r *Rewards) Try(ctx context.Context, samples []Sample) (Scores, error) {
	s := Scores{Total: make([]float64, len(samples)), Parts: make([][]float64, len(r.parts))}
	for k := range r.parts {
		p := &r.parts[k]
		got, err := p.reward.Score(ctx, samples)
		if err != nil {
			if ctx.Err() != nil {
				return Scores{}, context.Cause(ctx)
			}
			return Scores{}, fmt.Errorf("reward %q: %w", p.name, err)
		}
		if len(got) != len(samples) {
			return Scores{}, fmt.Errorf("reward %q gave %d rewards for %d answers", p.name, len(got), len(samples))
		}
		for i, x := range got {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return Scores{}, p.fault(&samples[i], fmt.Errorf("it is %g; a reward is a finite number", x))
			}
			s.Total[i] += p.weight * x
		}
		s.Parts[k] = got
	}
	return s, nil
}

// fault says for which sample a reward could not be given.
func (p *part) fault(s *Sample, err error) error {
	return fmt.Errorf("%s: reward %q of the answer %s: %w", s.Source, p.name, visible.Excerpt(s.Answer), err)
}

// Close ends what rewards hold, and tells what went wrong with it. It may be called more than once.
func (r *Rewards) Close() error {
	var errs []error
	for _, p := range r.parts {
		if c, ok := p.reward.(io.Closer); ok {
			if err := c.Close(); err != nil {
				errs = append(errs, fmt.Errorf("reward %q: %w", p.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// A spread is what values a reward has taken.
type spread struct {
	n         int
	low, high float64
	other     bool // there were others than 0 and 1
}

func (s *spread) add(values []float64) {
	for _, x := range values {
		if s.n == 0 {
			s.low, s.high = x, x
		}
		s.n++
		s.other = s.other || x != 0 && x != 1
		s.low, s.high = min(s.low, x), max(s.high, x)
	}
}

// Constant names the rewards that gave every answer so far the same, and says what: nothing can be learned from those.
// A single answer says nothing, and what weighs 0 is not to be learned from.
func (r *Rewards) Constant() (said []string) {
	for _, p := range r.parts {
		if p.weight != 0 && p.seen.n > 1 && p.seen.low == p.seen.high {
			said = append(said, fmt.Sprintf("reward %q gave %g to all %d answers: from such nothing is learned", p.name,
				p.seen.low, p.seen.n))
		}
	}
	return said
}

// each makes a Reward of a function of one sample.
type each func(s *Sample) (float64, error)

// Score implements Reward.
func (f each) Score(ctx context.Context, samples []Sample) ([]float64, error) {
	out := make([]float64, len(samples))
	for i := range samples {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		x, err := f(&samples[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", samples[i].Source, err)
		}
		out[i] = x
	}
	return out, nil
}
