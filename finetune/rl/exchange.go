package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rollout"
	"github.com/ggtune/ggtune/internal/count"
)

// An Environment answers what the model says; environment.Environment is one.
type Environment interface {
	Ask(ctx context.Context, questions []environment.Question) ([]environment.Reply, error)
}

// A Speaker gives the tokens of conversations; corpus.Reader is one.
type Speaker interface {
	// Asks gives those of a conversation with the opening of the model's next turn.
	Asks(messages []data.Message, tools json.RawMessage) ([]int32, error)
	// Follows gives, of the same, those behind the end of the model's turn that is message turn, which has the tokens
	// that the model wrote.
	Follows(messages []data.Message, turn int, tools json.RawMessage) ([]int32, error)
	// Shows gives their text, with control tokens.
	Shows(tokens []int32) (string, error)
}

// Exchanges say how answers of several turns come about: the model writes a turn, the environment answers, until it
// ends the exchange or there is no room for more. What a prompt may be answered with at most holds for all of an
// exchange, what the environment says included.
type Exchanges struct {
	Environment
	Speaker  Speaker
	MaxTurns int // of the model
	Ctx      int // the most tokens of a prompt and its exchange
}

// A turn of an exchange is what the model wrote, and what the environment said behind it.
type turn struct {
	Written int  `json:"written"`        // tokens of the model
	Ended   bool `json:"ended"`          // with the last of them
	Said    int  `json:"said,omitempty"` // tokens behind these that the environment's words became
	// Answer are its words; of the last turn nobody but people reads them.
	Answer []environment.Message `json:"answer,omitempty"`
	Reward *float64              `json:"reward,omitempty"` // what it gave for the turn
	Over   environment.Over      `json:"over,omitempty"`   // why the exchange ends here; "": the environment ended it
}

// An opened prompt is one to which the environment has said something before the model did.
type opened struct {
	Tokens []int32               `json:"tokens"` // of prompt and opening
	Said   []environment.Message `json:"said"`
}

// counted says of each token of an answer whether the model wrote it.
func (a *answer) counted() []bool {
	out := make([]bool, len(a.Tokens))
	if a.Turns == nil {
		for i := range out {
			out[i] = true
		}
		return out
	}
	at := 0
	for _, t := range a.Turns {
		for range t.Written {
			out[at] = true
			at++
		}
		at += t.Said
	}
	return out
}

// written is how many tokens of an answer the model wrote.
func (a *answer) written() int {
	if a.Turns == nil {
		return len(a.Tokens)
	}
	n := 0
	for _, t := range a.Turns {
		n += t.Written
	}
	return n
}

// ends says whether the model ended its last turn.
func (a *answer) ends() bool {
	if n := len(a.Turns); n > 0 {
		return a.Turns[n-1].Ended
	}
	return a.Ended
}

// whole says whether the turns are those of the tokens.
func (a *answer) whole() bool {
	n := 0
	for i, t := range a.Turns {
		if t.Written < 1 || t.Said < 0 || t.Said > len(a.Tokens) || t.Written > len(a.Tokens) ||
			(t.Said > 0) != (i < len(a.Turns)-1) {
			return false
		}
		n += t.Written + t.Said
	}
	return n == len(a.Tokens)
}

// each calls f with the tokens of each of the model's turns, as they were written.
func (a *answer) each(f func(t *turn, from int, said rollout.Answer) error) error {
	at := 0
	for i := range a.Turns {
		t := &a.Turns[i]
		if err := f(t, at, rollout.Answer{Tokens: a.Tokens[at : at+t.Written], Ended: t.Ended}); err != nil {
			return err
		}
		at += t.Written + t.Said
	}
	return nil
}

// A conversation is the exchanges to some prompts while they come about.
type conversation struct {
	j       *Judge
	about   []reward.Sample
	prompts []asked
	g       int
	how     rollout.Sampling
	what    string
	answers []answer
	said    [][]environment.Message // by answer: all behind the prompt, the opening included
	active  []int                   // answers that go on
}

// converse has the model and the environment talk: g exchanges to each prompt. Of the prompts it enters what the
// environment said before the model did.
func (j *Judge) converse(ctx context.Context, about []reward.Sample, prompts []asked, g int, how rollout.Sampling,
	what string) ([]answer, error) {
	c := &conversation{j: j, about: about, prompts: prompts, g: g, how: how, what: what,
		answers: make([]answer, g*len(prompts)), said: make([][]environment.Message, g*len(prompts))}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	for i := range c.answers {
		c.said[i] = slices.Clone(prompts[i/g].said)
		c.active = append(c.active, i)
	}
	for number := 1; len(c.active) > 0; number++ {
		if err := c.write(ctx, number); err != nil {
			return nil, err
		}
		if err := c.reply(ctx, number); err != nil {
			return nil, err
		}
	}
	for i := range c.answers {
		if a := &c.answers[i]; a.Earned == nil {
			return nil, fmt.Errorf("%s: the environment has ended an exchange of %s, and gave no reward in it; "+
				"expected \"reward\" at the end, or for turns before (0 where nothing was earned)",
				c.task(i).Source,
				count.Of(len(a.Turns), "turn"))
		}
	}
	return c.answers, nil
}

// task is what is known of the prompt of answer i.
func (c *conversation) task(i int) *reward.Sample { return &c.about[c.prompts[i/c.g].example] }

// ask is a question about turn number of answer i; that of turn 0 is about its prompt.
func (c *conversation) ask(i, number int) environment.Question {
	x := c.task(i)
	q := environment.Question{Source: x.Source, Group: fmt.Sprintf("%s-%d-%d", c.what, c.how.Step, i/c.g),
		Seed: c.seed(i / c.g), Turn: number, Row: x.Row, Messages: words(x.Messages), Exchange: c.said[i]}
	if number > 0 {
		k := i % c.g
		q.Sample = &k
	}
	if q.Exchange == nil {
		q.Exchange = []environment.Message{}
	}
	return q
}

// seed is what chance in the environment of a prompt is drawn by. It is as large as any language's integers.
func (c *conversation) seed(prompt int) int {
	const bits = 31
	x := rand.NewPCG(c.how.Seed, uint64(c.how.Step)<<32|uint64(prompt)).Uint64()
	return int(x >> (64 - bits))
}

// open has the environment begin: what it says then comes behind the prompt, for all answers to it.
func (c *conversation) open(ctx context.Context) error {
	var list []environment.Question
	for i := range c.prompts {
		list = append(list, c.ask(i*c.g, 0))
	}
	c.j.tell("environment", 0, len(list))
	replies, err := c.j.Exchanges.Ask(ctx, list)
	if err != nil {
		return err
	}
	for i := range c.prompts {
		p := &c.prompts[i]
		p.room = c.how.MaxTokens
		if replies[i].Messages != nil {
			x := &c.about[p.example]
			all, err := c.j.Exchanges.Speaker.Asks(opens(x.Messages, replies[i].Messages), x.Tools)
			if err != nil {
				return fmt.Errorf("%s: what the environment says at the beginning: %w", x.Source, err)
			}
			p.room -= max(len(all)-len(p.tokens), 0)
			p.tokens, p.said = all, replies[i].Messages
		}
		p.room = min(p.room, c.j.Exchanges.Ctx-len(p.tokens))
		if p.room < 1 {
			return fmt.Errorf("%s: what the environment says at the beginning leaves no room for an answer; raise "+
				"--max-completion-length, which holds for all of an exchange", c.about[p.example].Source)
		}
	}
	return nil
}

// opens puts what an environment says first behind a prompt. Of two turns of a user it makes one, since templates
// want the roles to take turns.
func opens(prompt []data.Message, said []environment.Message) []data.Message {
	out := slices.Clone(prompt)
	for _, m := range said {
		if last := len(out) - 1; last >= 0 && m.Role == data.User && out[last].Role == data.User {
			out[last].Content += "\n\n" + m.Content
			continue
		}
		out = append(out, m.Turn())
	}
	return out
}

// write has the model write the next turn of those exchanges that go on.
func (c *conversation) write(ctx context.Context, number int) error {
	var list []rollout.Prompt
	g, how := 1, c.how
	if number == 1 {
		for i := range c.prompts {
			list = append(list, rollout.Prompt{Tokens: c.prompts[i].tokens, Most: c.prompts[i].room})
		}
		g = c.g
	} else {
		for _, i := range c.active {
			p, a := &c.prompts[i/c.g], &c.answers[i]
			list = append(list, rollout.Prompt{Tokens: slices.Concat(p.tokens, a.Tokens), Most: p.room - len(a.Tokens),
				Root: len(p.tokens), Place: &rollout.Place{Prompt: i / c.g, Sample: i % c.g}})
		}
		how.Seed ^= rand.NewPCG(0, uint64(number)).Uint64() // numbers that no other turn has
	}
	said, err := c.j.draw(ctx, list, g, how)
	if err != nil {
		return err
	}
	for k, i := range c.active {
		a := &c.answers[i]
		text, err := c.j.Writer.Text(said[k])
		if err != nil {
			return err
		}
		a.Tokens, a.sampled = append(a.Tokens, said[k].Tokens...), append(a.sampled, said[k].LogP...)
		a.Entropy += said[k].Entropy
		a.Turns = append(a.Turns, turn{Written: len(said[k].Tokens), Ended: said[k].Ended})
		c.said[i] = append(c.said[i], environment.Message{Role: data.Assistant, Content: text})
	}
	return nil
}

// reply has the environment answer the newest turn of those exchanges that go on, and ends those that do not.
func (c *conversation) reply(ctx context.Context, number int) error {
	over := func(i int) environment.Over {
		a := &c.answers[i]
		switch {
		case !a.Turns[number-1].Ended:
			return environment.Length
		case number == c.j.Exchanges.MaxTurns:
			return environment.Turns
		}
		return ""
	}
	replies, err := c.question(ctx, c.active, number, over)
	if err != nil {
		return err
	}
	var full, on []int
	for k, i := range c.active {
		r, a := &replies[k], &c.answers[i]
		why := over(i)
		if !r.Done && why == "" {
			fits, err := c.follow(i, r.Messages)
			if err != nil {
				return err
			}
			if !fits {
				full = append(full, i)
				continue
			}
			on = append(on, i)
		} else {
			a.Ended = a.Turns[number-1].Ended
		}
		c.take(i, r, why)
	}
	// What it said has no room: it is asked once more, and told so, and what it says then counts.
	replies, err = c.question(ctx, full, number, func(int) environment.Over { return environment.Room })
	if err != nil {
		return err
	}
	for k, i := range full {
		c.take(i, &replies[k], environment.Room)
	}
	c.active = on
	return nil
}

// question asks the environment about the newest turn of some answers.
func (c *conversation) question(ctx context.Context, which []int, number int, over func(i int) environment.Over) (
	[]environment.Reply, error) {
	if len(which) == 0 {
		return nil, nil
	}
	var list []environment.Question
	for _, i := range which {
		q := c.ask(i, number)
		t := &c.answers[i].Turns[number-1]
		q.Answer, q.Tokens, q.Ended, q.Over = c.said[i][len(c.said[i])-1].Content, t.Written, t.Ended, over(i)
		list = append(list, q)
	}
	c.j.tell("environment", 0, len(list))
	return c.j.Exchanges.Ask(ctx, list)
}

// follow puts what the environment says behind an answer's newest turn, if there is room for it and a turn behind it.
func (c *conversation) follow(i int, said []environment.Message) (fits bool, err error) {
	p, a := &c.prompts[i/c.g], &c.answers[i]
	x := &c.about[p.example]
	// The turns before stand between the opening and these words; what they say makes no difference to what follows.
	messages := opens(x.Messages, p.said)
	for _, m := range c.said[i][len(p.said):] {
		messages = append(messages, m.Turn())
	}
	newest := len(messages) - 1
	for _, m := range said {
		messages = append(messages, m.Turn())
	}
	tokens, err := c.j.Exchanges.Speaker.Follows(messages, newest, x.Tools)
	if err != nil {
		return false, fmt.Errorf("%s: what the environment says in turn %d: %w", x.Source, len(a.Turns), err)
	}
	if len(tokens) == 0 {
		return false, fmt.Errorf("%s: the chat template writes nothing of what the environment says in turn %d",
			x.Source, len(a.Turns))
	}
	if len(a.Tokens)+len(tokens)+1 > p.room {
		return false, nil
	}
	a.Tokens = append(a.Tokens, tokens...)
	a.Turns[len(a.Turns)-1].Said = len(tokens)
	c.said[i] = append(c.said[i], said...)
	return true, nil
}

// take enters what the environment replied to an answer's newest turn.
func (c *conversation) take(i int, r *environment.Reply, over environment.Over) {
	a := &c.answers[i]
	t := &a.Turns[len(a.Turns)-1]
	t.Answer, t.Reward, t.Over = r.Messages, r.Reward, over
	if r.Done {
		t.Over = ""
	}
	if r.Reward != nil {
		sum := *r.Reward
		if a.Earned != nil {
			sum += *a.Earned
		}
		a.Earned = &sum
	}
}

// words are messages as an environment reads them.
func words(messages []data.Message) []environment.Message {
	out := make([]environment.Message, len(messages))
	for i, m := range messages {
		out[i] = environment.Message{Role: m.Role, Content: m.Content, Name: m.Name, ToolCallID: m.ToolCallID}
	}
	return out
}
