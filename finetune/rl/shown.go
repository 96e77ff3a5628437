package rl

import (
	"math/rand/v2"
)

// A Shown answer is one of a rollout, for people.
type Shown struct {
	Why     string // best, worst, or random
	Prompt  []int32
	Example int // of the prompt in the dataset
	Answer  string
	Tokens  int
	Ended   bool
	Reward  float64
	Rewards map[string]float64 // by the rewards' names, unweighed
}

// Show gives of the rollout of the last micro-batch the best answer, the worst, and one drawn by its number. nil: no
// micro-batch was given out yet.
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
		a, p := &r.Answers[x.at], &r.prompts[x.at/s.Generations]
		show := Shown{Why: x.why, Prompt: p.tokens, Example: p.example, Tokens: len(a.Tokens), Ended: a.Ended,
			Reward: a.Reward, Rewards: map[string]float64{}}
		for k, name := range s.Rewards.Names() {
			show.Rewards[name] = a.Rewards[k]
		}
		if show.Answer, err = s.Writer.Text(a.written()); err != nil {
			return nil, err
		}
		out = append(out, show)
	}
	return out, nil
}
