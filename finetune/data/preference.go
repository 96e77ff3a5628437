package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A choices hands out what one record of preferences gives, in the form that is wanted.
type choices struct {
	want Want
	add  func(Example)
	// prompt is the prompt, its source and its tools: it is given with every answer.
	prompt Example
	// many says that the record may give several examples.
	many bool
	// margin and weight are those of the pairs that come.
	margin, weight float64

	n int // given so far
}

func newChoices(r *Record, o *Options, prompt side, add func(Example)) (*choices, error) {
	c := &choices{want: o.Want, add: add, prompt: Example{Source: r.Source}, weight: 1}
	var err error
	if prompt.chat {
		if prompt.turns, err = underSystem(r, prompt.turns); err != nil {
			return nil, err
		}
		if c.prompt.Tools, err = parseTools(r); err != nil {
			return nil, err
		}
	}
	c.say(prompt)
	return c, nil
}

// pair gives a pair of answers, or its two verdicts. One that says nothing counts as one example.
func (c *choices) pair(chosen, rejected Answer) {
	e := c.two(chosen, rejected)
	if c.want == WantVerdicts && unlearnable(e) == "" {
		c.many = true
		c.verdict(chosen, true)
		c.verdict(rejected, false)
		return
	}
	c.give(*e)
}

func (c *choices) two(chosen, rejected Answer) *Example {
	e := c.prompt
	e.Kind, e.Answers, e.Margin, e.Weight = KindPair, []Answer{chosen, rejected}, c.margin, c.weight
	return &e
}

func (c *choices) verdict(a Answer, desirable bool) {
	e := c.prompt
	e.Kind, e.Answers, e.Desirable = KindVerdict, []Answer{a}, desirable
	c.give(e)
}

// nothing counts an example of which nothing can be learned.
func (c *choices) nothing(why string) {
	e := c.prompt
	e.Kind, e.drop = KindPair, why
	c.give(e)
}

func (c *choices) give(e Example) {
	c.n++
	if c.many {
		e.Source.Sub = c.n
	}
	c.add(e)
}

// say puts the prompt: turns of which none is trained, or literal text.
func (c *choices) say(p side) {
	if !p.chat {
		c.prompt.Prompt = p.text
		return
	}
	no := false
	for _, m := range p.turns {
		m.Train = &no
		c.prompt.Messages = append(c.prompt.Messages, m)
	}
}

// A side is a prompt or an answer as it was read: turns, or literal text.
type side struct {
	chat  bool
	turns []Message
	text  string
}

// readSide reads a field that holds a string, a message, or a list of messages.
func readSide(r *Record, field string) (side, error) {
	raw, _ := r.Get(field)
	v := raw
	if inner := embedded(raw); isTurns(inner) {
		v = inner
	}
	if s, ok := asText(v); ok {
		return side{text: s}, nil
	}
	switch describe(v) {
	case "a list":
		turns, err := parseMessages(r, field)
		return side{chat: true, turns: turns}, err
	case "an object":
		m, err := parseMessage(r, field, v)
		if err != nil {
			return side{}, r.errorf("field %q: %v", field, err)
		}
		return side{chat: true, turns: []Message{m}}, nil
	}
	return side{}, r.errorf("field %q is %s; expected a string, or a list of messages", field, describe(v))
}

// firstOf gives the first of the names that the record has as a field, or "".
func firstOf(r *Record, names []string) string {
	for _, n := range names {
		if r.Has(n) {
			return n
		}
	}
	return ""
}

// isTurns says whether a value is a message or a list that begins with one. Within a string any other JSON is text that
// somebody wrote.
func isTurns(v json.RawMessage) bool {
	switch describe(v) {
	case "a list":
		items, err := listOf(v)
		return err == nil && len(items) > 0 && describe(items[0]) == "an object" && isTurns(items[0])
	case "an object":
		fields, err := parseObject(v)
		return err == nil && (&Record{Fields: fields}).Any("role", "from")
	}
	return false
}

// as gives the side as turns; literal text becomes one of the role's.
func (s side) as(role Role) []Message {
	if s.chat {
		return s.turns
	}
	return []Message{{Role: role, Content: s.text}}
}

func (s side) answer() Answer { return Answer{Messages: s.turns, Text: s.text} }

// common takes the common beginning off two answers that hold the prompt too. As TRL's extract_prompt
// (trl/data_utils.py) has it, the prompt ends before a space and leaves something of either answer.
func common(a, b side) (prompt, first, second side) {
	if a.chat || b.chat {
		x, y := a.as(Assistant), b.as(Assistant)
		n := 0
		for n < min(len(x), len(y)) && sameMessage(&x[n], &y[n]) {
			n++
		}
		if n == min(len(x), len(y)) && n > 0 {
			n--
		}
		return side{chat: true, turns: x[:n]}, side{chat: true, turns: x[n:]}, side{chat: true, turns: y[n:]}
	}
	x, y := []rune(a.text), []rune(b.text)
	n := 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	if n == min(len(x), len(y)) && n > 0 {
		n--
	}
	if n > 0 && x[n-1] == ' ' {
		n--
	}
	return side{text: string(x[:n])}, side{text: string(x[n:])}, side{text: string(y[n:])}
}

// joined fits a prompt and its answers together: all literal text, or all turns, and an answer that repeats the prompt
// without it.
func joined(prompt side, answers ...side) (side, []side) {
	chat := prompt.chat || slices.ContainsFunc(answers, func(a side) bool { return a.chat })
	if !chat {
		return prompt, answers
	}
	prompt = side{chat: true, turns: prompt.as(User)}
	out := make([]side, len(answers))
	for i, a := range answers {
		turns := a.as(Assistant)
		if n := len(prompt.turns); len(turns) > n &&
			slices.EqualFunc(turns[:n], prompt.turns, func(x, y Message) bool { return sameMessage(&x, &y) }) {
			turns = turns[n:]
		}
		out[i] = side{chat: true, turns: turns}
	}
	return prompt, out
}

// sameMessage compares what two messages say.
func sameMessage(a, b *Message) bool {
	return a.Role == b.Role && a.Content == b.Content && a.Reasoning == b.Reasoning && a.ToolCallID == b.ToolCallID &&
		a.Name == b.Name &&
		slices.EqualFunc(a.ToolCalls, b.ToolCalls, sameCall)
}

func sameCall(a, b ToolCall) bool {
	return a.ID == b.ID && a.Type == b.Type && a.Name == b.Name && bytes.Equal(a.Arguments, b.Arguments)
}

const promptAnswered = "the prompt ends with an assistant's turn"

// unlearnableChoice says why nothing can be learned from a pair or a verdict, or "".
func unlearnableChoice(e *Example) string {
	if e.drop != "" {
		return e.drop
	}
	if n := len(e.Messages); n > 0 && e.Messages[n-1].Role == Assistant {
		return promptAnswered
	}
	for i := range e.Answers {
		which := ""
		if e.Kind == KindPair {
			which = []string{"chosen ", "rejected "}[i]
		}
		if why := badAnswer(&e.Answers[i], which+"answer"); why != "" {
			return why
		}
	}
	if e.Kind == KindPair && sameAnswer(&e.Answers[0], &e.Answers[1]) {
		return "the chosen and the rejected answer are equal"
	}
	return ""
}

func badAnswer(a *Answer, which string) string {
	if a.Messages == nil {
		if strings.TrimSpace(a.Text) == "" {
			return "empty " + which
		}
		return ""
	}
	if len(a.Messages) == 0 {
		return "empty " + which
	}
	if first := a.Messages[0].Role; first != Assistant {
		return fmt.Sprintf("the %s begins with a turn of the %s", which, first)
	}
	if last := a.Messages[len(a.Messages)-1].Role; last != Assistant {
		return fmt.Sprintf("the %s ends with a turn of the %s", which, last)
	}
	marked := false
	for i := range a.Messages {
		m := &a.Messages[i]
		if m.Role != Assistant || m.Train != nil && !*m.Train {
			continue
		}
		marked = true
		if says(m) {
			return ""
		}
	}
	if !marked {
		return "every turn of the " + which + " is marked as not trained"
	}
	return "empty " + which
}

// says tells whether a message says anything.
func says(m *Message) bool {
	return strings.TrimSpace(m.Content) != "" || strings.TrimSpace(m.Reasoning) != "" || len(m.ToolCalls) > 0
}

// sameAnswer compares two answers. White space around a turn is the template's, around literal text the data's own.
func sameAnswer(a, b *Answer) bool {
	return a.Text == b.Text && slices.EqualFunc(a.Messages, b.Messages, func(x, y Message) bool {
		x.Content, y.Content = strings.TrimSpace(x.Content), strings.TrimSpace(y.Content)
		return sameMessage(&x, &y)
	})
}
