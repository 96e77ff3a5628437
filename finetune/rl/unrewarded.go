package rl

import (
	"context"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// Answer has prompts answered, each g times, as those of a rollout are, and gives each with its answers as a tree.
// Every call draws by the same seeds, so that two differ by the model alone. On cancel it returns context.Cause(ctx).
func (j *Judge) Answer(ctx context.Context, p Prompts, g int) (trees []encode.Item, figures []method.Metric,
	err error) {
	var all []answer
	n := 0
	for c := (encode.Cursor{}); c.Epoch == 0; n++ {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		m, next, err := p.Rows.Next(c)
		if err != nil {
			return nil, nil, err
		}
		r := &rolled{prompts: promptsOf(m)}
		how := rollout.Sampling{Temp: j.Temp, MaxTokens: j.MaxTokens, Seed: j.Seed ^ heldSeed, Step: n}
		if r.Answers, err = j.write(ctx, &p, r.prompts, g, how, held); err != nil {
			return nil, nil, err
		}
		some, _, err := r.grow(j.GroupTokens, func(int) bool { return true })
		if err != nil {
			return nil, nil, err
		}
		trees, all = append(trees, some...), append(all, r.Answers...)
		j.tell("evaluate", len(all), g*p.Rows.Rows())
		c = next
	}
	return trees, wroteFigures(all, p.Given != nil), nil
}

// wroteFigures are the figures of answers that are not rewarded: the mean length of those that the model wrote, and the
// share of them that it ended; with shared, how many of all it wrote.
func wroteFigures(answers []answer, shared bool) (out []method.Metric) {
	all := float64(len(answers))
	length, ended := method.Metric{Name: "answer_len"}, method.Metric{Name: "ended"}
	for i := range answers {
		a := &answers[i]
		if a.Given {
			continue
		}
		length.Sum, length.Weight = length.Sum+float64(len(a.Tokens)), length.Weight+1
		if ended.Weight++; a.Ended {
			ended.Sum++
		}
	}
	if length.Weight > 0 {
		out = append(out, length, ended)
	}
	if shared {
		out = append(out, method.Metric{Name: "on_policy", Sum: length.Weight, Weight: all})
	}
	return out
}
