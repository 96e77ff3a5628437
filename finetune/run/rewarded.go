package run

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/internal/count"
)

// A Rewarded is what rewards say of an answer.
type Rewarded struct {
	Scored
	Rewards map[string]float64 `json:"rewards"` // each apart, without its weight
}

// A RewardFigure is one reward over all answers.
type RewardFigure struct {
	Name            string
	Mean, Low, High float64

	n int
}

// RewardFigures are what rewards say of data.
type RewardFigures struct {
	Answers int
	Rewards []RewardFigure
	Score   RewardFigure // the weighted sum
	// Notes say what of the data, or of the rewards, a person should know.
	Notes []string
}

// RewardAnswers asks rewards about the answers in cfg.Data, which no model is needed for, and gives them to each in the
// order of the data.
func RewardAnswers(ctx context.Context, cfg *config.Config, r *reward.Rewards,
	each func(Rewarded) error) (*RewardFigures, error) {
	const batch = 256 // a program of the user's is asked about many at once
	f := &RewardFigures{Score: newFigure("score")}
	for _, name := range r.Names() {
		f.Rewards = append(f.Rewards, newFigure(name))
	}
	var samples []reward.Sample
	var which []string
	own := 0 // answers that are the right ones of their rows
	ask := func() error {
		s, err := r.Score(ctx, samples)
		if err != nil {
			return err
		}
		for i := range samples {
			a := Rewarded{Scored{samples[i].Source, which[i], s.Total[i]}, map[string]float64{}}
			f.Score.add(a.Score)
			if right, err := reward.Reference(samples[i].Row, cfg.RewardColumn); err == nil && len(right) == 1 &&
				strings.TrimSpace(right[0]) == strings.TrimSpace(samples[i].Answer) {
				own++
			}
			for k := range f.Rewards {
				a.Rewards[f.Rewards[k].Name] = s.Parts[k][i]
				f.Rewards[k].add(s.Parts[k][i])
			}
			if err := each(a); err != nil {
				return err
			}
		}
		f.Answers += len(samples)
		samples, which = samples[:0], which[:0]
		return nil
	}
	without, err := corpus.Given(ctx, cfg, func(some []reward.Sample) error {
		names := []string{""}
		if len(some) == 2 {
			names = []string{"chosen", "rejected"}
		}
		if samples, which = append(samples, some...), append(which, names...); len(samples) < batch {
			return nil
		}
		return ask()
	})
	if err == nil && len(samples) > 0 {
		err = ask()
	}
	if err != nil {
		return nil, err
	}
	if f.Answers == 0 {
		return nil, errors.New("the data holds no answers to reward: plain text is all prompt")
	}
	if without > 0 {
		f.Notes = append(f.Notes, count.Of(without, "example")+" without an answer: left out")
	}
	if r.Compares() && own == f.Answers {
		f.Notes = append(f.Notes, "each answer is compared with itself: the data holds no other right one, or its "+
			"column is to be named (--reward-column)")
	}
	f.Notes = append(f.Notes, r.Constant()...)
	return f, nil
}

func newFigure(name string) RewardFigure {
	return RewardFigure{Name: name, Low: math.Inf(1), High: math.Inf(-1)}
}

func (f *RewardFigure) add(x float64) {
	f.n++
	f.Mean += (x - f.Mean) / float64(f.n)
	f.Low, f.High = min(f.Low, x), max(f.High, x)
}

// String is a line for people.
func (f RewardFigure) String() string {
	return fmt.Sprintf("%-24s  mean %8.4f   from %.4g to %.4g", f.Name, f.Mean, f.Low, f.High)
}
