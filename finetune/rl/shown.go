package rl

import (
	"math/rand/v2"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// A Shown answer is one of a rollout, for people.
type Shown struct {
	Why     string // best, worst, or random
	Prompt  []int32
	Example int // of the prompt in the dataset
	// Answer is what the model wrote; of an exchange its last turn. Tokens are all that it wrote.
	Answer   string
	Tokens   int
	Ended    bool
	Exchange []Spoken // nil: it is none
	Reward   float64
	Rewards  map[string]float64 // by the rewards' names, unweighed
}

// Spoken is one turn of an exchange, for people.
type Spoken struct {
	Role, Content string
	Reward        *float64         // that which the environment gave for a turn of the model; nil: none
	Over          environment.Over // why the exchange ended with it, if the environment did not end it
}

// Show gives of the rollout of the last micro-batch the best answer, the worst, and one drawn by its number; of answers
// that are not rewarded the last alone. nil: no micro-batch was given out yet.
func (s *Source) Show() (out []Shown, err error) {
	r := s.last
	if r == nil {
		return nil, nil
	}
	best, worst := 0, 0
	for i := range r.Answers {
		if r.Answers[i].Reward > r.Answers[best].Reward {
			best = i
		}
		if r.Answers[i].Reward < r.Answers[worst].Reward {
			worst = i
		}
	}
	random := int(rand.NewPCG(s.Seed, uint64(r.Number)).Uint64() % uint64(len(r.Answers)))
	for _, x := range []struct {
		why string
		at  int
	}{{"best", best}, {"worst", worst}, {"random", random}} {
		if s.Rewards == nil && x.why != "random" {
			continue // none is better than another
		}
		a, p := &r.Answers[x.at], &r.prompts[x.at/s.Generations]
		show := Shown{Why: x.why, Prompt: p.tokens, Example: p.example, Tokens: a.written(), Ended: a.Ended,
			Reward: a.Reward, Rewards: map[string]float64{}}
		if s.Rewards != nil {
			for k, name := range s.Rewards.Names() {
				show.Rewards[name] = a.Rewards[k]
			}
		}
		if a.Turns == nil {
			show.Answer, err = s.Writer.Text(rollout.Answer{Tokens: a.Tokens, Ended: a.Ended})
		} else if show.Exchange, err = s.spoken(p, a); err == nil {
			for _, x := range show.Exchange {
				if x.Role == string(data.Assistant) {
					show.Answer = x.Content
				}
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, show)
	}
	return out, nil
}

// spoken is an exchange in words.
func (j *Judge) spoken(p *asked, a *answer) (out []Spoken, err error) {
	said := func(messages []environment.Message) {
		for _, m := range messages {
			out = append(out, Spoken{Role: string(m.Role), Content: m.Content})
		}
	}
	said(p.said)
	err = a.each(func(t *turn, _ int, wrote rollout.Answer) error {
		text, err := j.Writer.Text(wrote)
		out = append(out, Spoken{Role: string(data.Assistant), Content: text, Reward: t.Reward, Over: t.Over})
		said(t.Answer)
		return err
	})
	return out, err
}
