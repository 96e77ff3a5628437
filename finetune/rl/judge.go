package rl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// write has each prompt answered g times: by the model, or, of a share, as the data has it. Exchanges are of what.
func (j *Judge) write(ctx context.Context, from *Prompts, prompts []asked, g int, how rollout.Sampling,
	what string) ([]answer, error) {
	if from.Given == nil {
		return j.answers(ctx, from.Asked, prompts, g, how, what)
	}
	own, out := from.share(prompts, g, how)
	if len(own) == 0 {
		return out, nil
	}
	which := make([]asked, len(own))
	for k, i := range own {
		which[k] = prompts[i]
	}
	written, err := j.answers(ctx, from.Asked, which, g, how, what)
	if err != nil {
		return nil, err
	}
	for k, i := range own {
		copy(out[i*g:(i+1)*g], written[k*g:(k+1)*g])
	}
	return out, nil
}

// share lists the prompts that the model is to answer, and gives the data's answers to the others, each in its place.
func (p *Prompts) share(prompts []asked, g int, how rollout.Sampling) (own []int, out []answer) {
	const stream = 0x6c6d626461 // apart from the numbers by which answers are drawn
	random := rand.New(rand.NewPCG(how.Seed^stream, uint64(how.Step)))
	out = make([]answer, g*len(prompts))
	for i := range prompts {
		tokens := p.Given[prompts[i].example]
		if random.Float64() < p.Own || tokens == nil {
			own = append(own, i)
			continue
		}
		for k := range g {
			out[i*g+k] = answer{Tokens: tokens, Given: true, sampled: make([]float32, len(tokens))}
		}
	}
	return own, out
}

// answers has the model write to each prompt g answers, or exchanges, which are then of what.
func (j *Judge) answers(ctx context.Context, about []reward.Sample, prompts []asked, g int, how rollout.Sampling,
	what string) ([]answer, error) {
	if j.Policy != nil {
		a, err := j.Policy()
		if err != nil {
			return nil, err
		}
		if err := j.Writer.Hold(ctx, a); err != nil {
			return nil, err
		}
	}
	if j.Exchanges != nil {
		return j.converse(ctx, about, prompts, g, how, what)
	}
	var list []rollout.Prompt
	for _, p := range prompts {
		list = append(list, rollout.Prompt{Tokens: p.tokens})
	}
	said, err := j.draw(ctx, list, g, how)
	if err != nil {
		return nil, err
	}
	out := make([]answer, len(said))
	for i, x := range said {
		out[i] = answer{Tokens: x.Tokens, Ended: x.Ended, Entropy: x.Entropy, sampled: x.LogP}
	}
	return out, nil
}

// draw has the writer write g answers to each prompt, and looks at what it gives.
func (j *Judge) draw(ctx context.Context, prompts []rollout.Prompt, g int, how rollout.Sampling) ([]rollout.Answer,
	error) {
	said, err := j.Writer.Write(ctx, prompts, g, how)
	if err != nil {
		return nil, err
	}
	if len(said) != g*len(prompts) {
		return nil, fmt.Errorf("rollout: the writer gave %d answers, and was asked for %d", len(said), g*len(prompts))
	}
	for i, x := range said {
		most := how.MaxTokens
		if p := prompts[i/g].Most; p > 0 {
			most = min(p, most)
		}
		if len(x.Tokens) == 0 || len(x.Tokens) > most || len(x.LogP) != len(x.Tokens) {
			return nil, fmt.Errorf("rollout: the writer gave an answer of %d tokens with %d log-probabilities, and "+
				"was asked for at most %d", len(x.Tokens), len(x.LogP), most)
		}
	}
	return said, nil
}

// score enters into answers, as many to each prompt, what the rewards say of them.
func (j *Judge) score(ctx context.Context, about []reward.Sample, prompts []asked, answers []answer) error {
	samples := make([]reward.Sample, len(answers))
	for i := range answers {
		p := &prompts[i/(len(answers)/len(prompts))]
		var err error
		if samples[i], err = j.sample(about[p.example], p, &answers[i]); err != nil {
			return err
		}
	}
	j.tell("reward", 0, len(samples))
	said, err := j.Rewards.Score(ctx, samples)
	if err != nil {
		return err
	}
	for i := range answers {
		a := &answers[i]
		a.Reward, a.Rewards = said.Total[i], make([]float64, len(said.Parts))
		for k, part := range said.Parts {
			a.Rewards[k] = part[i]
		}
	}
	return nil
}

// sample is an answer as rewards see it: of an exchange the last turn, behind all that was said before it.
func (j *Judge) sample(x reward.Sample, p *asked, a *answer) (reward.Sample, error) {
	last := 0 // where the last turn begins
	if a.Turns != nil {
		x.Messages, x.Earned = opens(x.Messages, p.said), a.Earned
		err := a.each(func(t *turn, from int, said rollout.Answer) error {
			if last = from; t.Said == 0 {
				return nil
			}
			text, err := j.Writer.Text(said)
			x.Messages = append(x.Messages, data.Message{Role: data.Assistant, Content: text})
			for _, m := range t.Answer {
				x.Messages = append(x.Messages, m.Turn())
			}
			return err
		})
		if err != nil {
			return x, err
		}
	}
	x.Given, x.Written = p.tokens, a.Tokens[last:]
	var err error
	if a.Turns != nil {
		x.Given = slices.Concat(p.tokens, a.Tokens[:last])
		if x.Prompt, err = j.Exchanges.Speaker.Shows(x.Given); err != nil {
			return x, err
		}
	}
	end := rollout.Answer{Tokens: x.Written, Ended: a.ends()}
	x.Answer, err = j.Writer.Text(end)
	x.Tokens, x.Ended = len(x.Written), end.Ended
	return x, err
}

// figureNames are the names under which the rewards' own means are shown: reward_ and what each is called, without what
// it is told, and numbered where several are called the same.
func figureNames(rewards Rewards) (out []string) {
	if rewards == nil {
		return nil
	}
	seen := map[string]int{}
	for _, spec := range rewards.Names() {
		name, _, _ := strings.Cut(spec, "=")
		name = Reward + "_" + strings.ReplaceAll(name, "-", "_")
		if seen[name]++; seen[name] > 1 {
			name += fmt.Sprint("_", seen[name])
		}
		out = append(out, name)
	}
	return out
}

// FigureNames are the names of the rewards' own figures, in their order.
func (j *Judge) FigureNames() []string { return figureNames(j.Rewards) }

// components are the means of each reward, unweighed.
func components(rewards Rewards, answers []answer) (out []method.Metric) {
	for k, name := range figureNames(rewards) {
		m := method.Metric{Name: name, Weight: float64(len(answers))}
		for i := range answers {
			m.Sum += answers[i].Rewards[k]
		}
		out = append(out, m)
	}
	return out
}

// turns is how many the model had in an exchange, on average; of answers of one turn it is no figure.
func turns(answers []answer) []method.Metric {
	m := method.Metric{Name: "turns"}
	for i := range answers {
		if n := len(answers[i].Turns); n > 0 {
			m.Sum, m.Weight = m.Sum+float64(n), m.Weight+1
		}
	}
	if m.Weight == 0 {
		return nil
	}
	return []method.Metric{m}
}

// Reward is the name of the figure of the weighed sum of all rewards.
const Reward = "reward"

// A Measured model is what rewards say of its answers, as many to each of some prompts.
type Measured struct {
	Reward  float64 // mean
	Metrics []method.Metric
	Tokens  int // written
	// Prompts are those that were answered, in the loader's order.
	Prompts []MeasuredPrompt
}

// A MeasuredPrompt is what rewards say of the answers to one prompt.
type MeasuredPrompt struct {
	Example int // in the dataset
	Rewards []Rewarded
}

// A Rewarded answer's worth: the weighed sum, and each reward unweighed, in their order.
type Rewarded struct {
	Total float64
	Parts []float64
}

// held is what exchanges are of that are measured.
const held = "held-out"

// heldSeed keeps the answers that are measured apart from those that are learned from.
const heldSeed = 0x68656c64

// Measure has the model answer prompts, each g times, at the temperature it is trained at, and gives what the rewards
// say. Every measurement draws by the same seeds, so that two differ by the model alone, and the first of several
// answers is what would be the only one. On cancel it returns context.Cause(ctx).
func (j *Judge) Measure(ctx context.Context, p Prompts, g int) (out Measured, err error) {
	var all []answer
	n := 0
	for c := (encode.Cursor{}); c.Epoch == 0; n++ {
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		m, next, err := p.Rows.Next(c)
		if err != nil {
			return out, err
		}
		prompts := promptsOf(m)
		answers, err := j.write(ctx, &p, prompts, g,
			rollout.Sampling{Temp: j.Temp, MaxTokens: j.MaxTokens, Seed: j.Seed ^ heldSeed, Step: n}, held)
		if err != nil {
			return out, err
		}
		if err := j.score(ctx, p.Asked, prompts, answers); err != nil {
			return out, err
		}
		for i, a := range prompts {
			m := MeasuredPrompt{Example: a.example}
			for _, x := range answers[i*g : (i+1)*g] {
				m.Rewards = append(m.Rewards, Rewarded{x.Reward, x.Rewards})
			}
			out.Prompts = append(out.Prompts, m)
		}
		all = append(all, answers...)
		j.tell("evaluate", len(out.Prompts), p.Rows.Rows())
		c = next
	}
	count := float64(len(all))
	total, ended, written := method.Metric{Name: Reward, Weight: count},
		method.Metric{Name: "ended", Weight: count}, method.Metric{Name: "answer_len", Weight: count}
	for i := range all {
		total.Sum += all[i].Reward
		written.Sum += float64(all[i].written())
		if all[i].Ended {
			ended.Sum++
		}
	}
	out.Tokens, out.Reward = int(written.Sum), total.Sum/count
	out.Metrics = append([]method.Metric{total}, components(j.Rewards, all)...)
	out.Metrics = append(append(out.Metrics, written, ended), turns(all)...)
	return out, nil
}

// promptsOf lists the prompts of a micro-batch.
func promptsOf(m *encode.Micro) (out []asked) {
	for i, row := range m.Batch.Rows {
		out = append(out, asked{tokens: row.Tokens, source: m.Sources[i], example: m.Examples[i]})
	}
	return out
}
