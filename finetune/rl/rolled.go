package rl

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// An asked prompt is one of a rollout.
type asked struct {
	tokens  []int32
	source  data.Source
	example int // its number in the dataset

	said []environment.Message // that which an environment put behind it; tokens have it too
	room int                   // tokens of an exchange, while it comes about
}

// An answer is one that the model wrote, and what is known of it. The slices have a number for each token that the
// model wrote.
type answer struct {
	Tokens  []int32   `json:"tokens"`
	Turns   []turn    `json:"turns,omitempty"`  // of an exchange, not all tokens of which are the model's; else nil
	Earned  *float64  `json:"earned,omitempty"` // what the environment gave; nil: there is none
	Ended   bool      `json:"ended"`            // the model ended it, with its last token, for want of nothing
	Given   bool      `json:"given,omitempty"`  // it is the data's
	Reward  float64   `json:"reward"`           // what it is worth
	Rewards []float64 `json:"rewards"`          // what each reward says of it
	// Entropy is summed over its tokens, nats, where the writer tells it.
	Entropy float64 `json:"entropy,omitempty"`

	sampled []float32 // log-probabilities as the writer drew
	old     []float32 // the same as the engine computes them
	ref     []float32 // the reference's; nil where the method needs none
	value   []float32 // what the value head expects; nil without one
}

// A rolled rollout is what the model wrote to some prompts at one state of its parameters. Its exported fields are kept
// in its file, with numbers for each token.
type rolled struct {
	Kind    string   `json:"kind"`
	Number  int      `json:"number"`
	Prompts string   `json:"prompts"`          // hash of their tokens
	Opened  []opened `json:"opened,omitempty"` // what became of the prompts; nil: they are as they were
	Answers []answer `json:"answers"`          // as many to each prompt, neighbours
	Read    bool     `json:"read"`             // the engine has been over them
	Entropy float64  `json:"entropy"`          // summed over the answers' tokens, nats; once they are read

	prompts []asked
	next    encode.Cursor

	adv     method.Advantages
	weight  [][]float64   // for each answer's tokens; nil where nothing is corrected
	trees   []encode.Item // of each prompt with the answers that are learned from, or some of them
	of      [][]int       // these answers
	updates [][][]int32   // the trees of each micro-batch of each update
	figures []method.Metric
}

// A Cost is what rollouts took, seconds: 0 where they were there already.
type Cost struct {
	Write, Reward, Forward float64
	Tokens                 int // written
}

// Cost tells what was spent on rollouts for the update of the last micro-batch, those included of which nothing could
// be learned.
func (s *Source) Cost() Cost { return s.cost }

// roll brings up the rollout of the present place: from disk, or by making it.
func (s *Source) roll(ctx context.Context) (*rolled, error) {
	m, next, err := s.Rows.Next(s.at.Prompts)
	if err != nil {
		return nil, err
	}
	r := &rolled{Kind: kind, Number: s.at.Rollout, prompts: promptsOf(m), next: next}
	r.Prompts = r.fingerprint()
	if err := s.load(r); err != nil {
		return nil, err
	}
	if (!r.Read && s.Method.Rewarded() || r.Answers == nil) && (s.at.Update > 0 || s.at.Micro > 0) {
		return nil, fmt.Errorf("%s is missing: it holds the answers that the run was learning from when it was "+
			"left, and the model that wrote them has changed since; put it back, or begin a new run",
			s.path(r.Number, s.at.Step))
	}
	if r.Answers == nil {
		if err := s.write(ctx, r); err != nil {
			return nil, err
		}
		if err := s.save(r); err != nil { // so that no reward is asked for again, whatever comes between
			return nil, err
		}
	}
	if !r.Read && s.Method.Rewarded() {
		if err := s.passes(ctx, r); err != nil {
			return nil, err
		}
		if err := s.save(r); err != nil {
			return nil, err
		}
	}
	return r, s.credit(r)
}

// write has the model write the answers, and the rewards judge them.
func (s *Source) write(ctx context.Context, r *rolled) error {
	began := time.Now()
	how := rollout.Sampling{Temp: s.Temp, MaxTokens: s.MaxTokens, Seed: s.Seed, Step: r.Number}
	var err error
	if r.Answers, err = s.Judge.write(ctx, &s.Prompts, r.prompts, s.Generations, how, kind); err != nil {
		return err
	}
	if s.Exchanges != nil {
		for _, p := range r.prompts {
			r.Opened = append(r.Opened, opened{p.tokens, p.said})
		}
	}
	for i := range r.Answers {
		if !r.Answers[i].Given {
			s.cost.Tokens += r.Answers[i].written()
		}
	}
	s.cost.Write, began = s.cost.Write+time.Since(began).Seconds(), time.Now()
	if !s.Method.Rewarded() {
		return nil
	}
	err = s.score(ctx, s.Asked, r.prompts, r.Answers)
	s.cost.Reward += time.Since(began).Seconds()
	return err
}

// grow makes trees of each prompt that has answers for which use holds, and lists these. A tree has answers of at most
// so many tokens together, where that is not 0, or two: some methods compare two.
func (r *rolled) grow(most int, use func(answer int) bool) (trees []encode.Item, of [][]int, err error) {
	g := len(r.Answers) / len(r.prompts)
	for i, p := range r.prompts {
		var children []encode.Child
		var which []int
		tokens := 0
		whole := func() error {
			if len(which) == 0 {
				return nil
			}
			it, err := encode.Tree(p.source, p.tokens, children...)
			trees, of = append(trees, it), append(of, which)
			children, which, tokens = nil, nil, 0
			return err
		}
		for k := i * g; k < (i+1)*g; k++ {
			if !use(k) {
				continue
			}
			a := &r.Answers[k]
			if most > 0 && len(which) >= 2 && tokens+len(a.Tokens) > most {
				if err := whole(); err != nil {
					return nil, nil, err
				}
			}
			children = append(children, encode.Child{Tokens: a.Tokens, Counted: a.counted()})
			which, tokens = append(which, k), tokens+len(a.Tokens)
		}
		if err := whole(); err != nil {
			return nil, nil, err
		}
	}
	return trees, of, nil
}

// passes computes what training will see of the answers before their first update, and what the reference says.
func (s *Source) passes(ctx context.Context, r *rolled) error {
	began := time.Now()
	r.Entropy = 0
	known := s.Exact && s.Method.Value == method.NoValues // by whoever wrote them
	if known {
		for i := range r.Answers {
			a := &r.Answers[i]
			a.old, r.Entropy = slices.Clone(a.sampled), r.Entropy+a.Entropy
		}
		if r.Read = !s.Method.Reference; r.Read {
			return nil
		}
	}
	trees, of, err := r.grow(s.GroupTokens, func(int) bool { return true })
	if err != nil {
		return err
	}
	all := make([]int32, len(trees))
	for i := range all {
		all[i] = int32(i)
	}
	done := 0
	for part := range slices.Chunk(all, s.Batch) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.tell("read answers", done, len(all))
		m := encode.Gather(trees, part...)
		var in *method.Inputs
		if !known {
			if in, err = s.look(ctx, m, r); err != nil {
				return err
			}
		}
		var ref engine.Outputs
		if s.Method.Reference {
			opt := engine.Options{Want: []*engine.Output{engine.LogP}, Temp: s.Temp, Apply: s.Reference}
			if ref, err = s.Engine.Forward(context.WithoutCancel(ctx), &m.Batch, opt); err != nil {
				return err
			}
		}
		for _, q := range m.Sequences {
			a := &r.Answers[of[q.Example][q.Child-1]]
			if in != nil {
				a.old = encode.Narrow(in.LogP[q.Start : q.Start+q.Len])
			}
			if in != nil && in.Value != nil {
				a.value = encode.Narrow(in.Value[q.Start : q.Start+q.Len])
			}
			if ref != nil {
				a.ref = slices.Clone(ref[engine.LogP][q.Start : q.Start+q.Len])
			}
			for _, list := range [][]float32{a.old, a.value, a.ref} {
				if slices.ContainsFunc(list, func(x float32) bool { return x-x != 0 }) {
					return fmt.Errorf("a forward pass over answers to %s gave what is no number; look at the model "+
						"with ggtune check", encode.Places(m))
				}
			}
		}
		done += len(part)
	}
	s.cost.Forward += time.Since(began).Seconds()
	r.Read = true
	return nil
}

// look has the engine go over answers, and adds their entropy.
func (s *Source) look(ctx context.Context, m *encode.Micro, r *rolled) (*method.Inputs, error) {
	want, err := m.Want(s.Method, nil)
	if err != nil {
		return nil, err
	}
	if !s.Method.Entropy {
		want = append(want, engine.Entropy)
	}
	opt := engine.Options{Want: want, Temp: s.Temp}
	out, err := s.Engine.Forward(context.WithoutCancel(ctx), &m.Batch, opt)
	if err != nil {
		return nil, err
	}
	for _, h := range out[engine.Entropy] {
		r.Entropy += float64(h)
	}
	return m.Inputs(s.Method, out, nil, nil)
}

// credit works out what follows from what is known of the answers: what each token was worth, and which updates are
// made of them.
func (s *Source) credit(r *rolled) (err error) {
	if !s.Method.Rewarded() {
		r.figures = wroteFigures(r.Answers, s.Given != nil)
		if r.trees, r.of, err = r.grow(s.GroupTokens, func(int) bool { return true }); err == nil {
			r.plan(&s.Config)
		}
		return err
	}
	answers, sampled := make([]method.Answer, len(r.Answers)), make([][]float64, len(r.Answers))
	for i := range r.Answers {
		a := &r.Answers[i]
		answers[i] = method.Answer{Group: i / s.Generations, Reward: a.Reward, LogP: encode.Widen(a.old),
			Ref: encode.Widen(a.ref), Value: encode.Widen(a.value), Ended: a.Ended}
		sampled[i] = encode.Widen(a.sampled)
	}
	if r.adv, err = s.Method.Credit(answers, s.at.Carry); err != nil {
		return err
	}
	most := s.Cap
	if most == 0 {
		most = math.Inf(1) // what it would be is still shown
	}
	weight, figures, err := method.Truncated(answers, sampled, most)
	if err != nil {
		return err
	}
	if s.Cap > 0 {
		r.weight = weight
	}
	entropy := method.Metric{Name: "entropy", Sum: r.Entropy}
	for i := range answers {
		entropy.Weight += float64(len(answers[i].LogP))
	}
	r.figures = slices.Concat(r.adv.Metrics, components(s.Rewards, r.Answers), turns(r.Answers),
		[]method.Metric{entropy}, figures)
	if r.trees, r.of, err = r.grow(s.GroupTokens, func(i int) bool { return r.adv.Trained[i] }); err == nil {
		r.plan(&s.Config)
	}
	return err
}

// plan divides the trees into updates and their micro-batches. Those of one prompt stay together.
func (r *rolled) plan(c *Config) {
	var prompts [][]int32
	for i := range r.trees {
		last := i - 1
		if last < 0 || r.of[i][0]/c.Generations != r.of[last][0]/c.Generations {
			prompts = append(prompts, nil)
		}
		prompts[len(prompts)-1] = append(prompts[len(prompts)-1], int32(i))
	}
	n := len(prompts)
	minis := min(c.MiniBatches, n)
	for it := range c.Iterations {
		order := encode.Order(n, c.Seed, uint64(r.Number)*uint64(c.Iterations)+uint64(it))
		for k := range minis {
			var trees []int32
			for _, p := range order[n*k/minis : n*(k+1)/minis] {
				trees = append(trees, prompts[p]...)
			}
			r.updates = append(r.updates, slices.Collect(slices.Chunk(trees, c.Batch)))
		}
	}
}

// micro gives a micro-batch with what is known of its tokens, where they are rewarded.
func (r *rolled) micro(update, micro, longest int, rewarded bool) *encode.Micro {
	m := encode.Gather(r.trees, r.updates[update][micro]...)
	m.EndsStep = micro == len(r.updates[update])-1
	if m.Rolled.Longest = longest; !rewarded {
		return m
	}
	for _, q := range m.Sequences {
		i := r.of[q.Example][q.Child-1]
		a, k := &r.Answers[i], &m.Rolled
		k.Old = append(k.Old, encode.Widen(a.old)...)
		k.Advantage = append(k.Advantage, r.adv.Advantage[i]...)
		if r.weight != nil {
			k.Weight = append(k.Weight, r.weight[i]...)
		}
		if a.value != nil {
			k.OldValue, k.Return = append(k.OldValue, encode.Widen(a.value)...), append(k.Return, r.adv.Return[i]...)
		}
		if a.ref != nil {
			m.Ref = append(m.Ref, encode.Widen(a.ref)...)
		}
	}
	return m
}
