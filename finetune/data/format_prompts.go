package data

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Prompts is prompts that nobody has answered. It is the last that is tried, and only where prompts are wanted: of
// every other format the prompt is taken too.
var Prompts = register(&Format{
	Name:    "prompts",
	Fields:  `"prompt": a string (literal text) or a list of messages[, "tools"]`,
	Prompts: true,
	Match:   func(r *Record) bool { return r.Has("prompt") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		prompt, err := readSide(r, "prompt")
		if err != nil {
			return err
		}
		e := Example{Source: r.Source, Kind: KindPrompt, Prompt: prompt.text}
		if prompt.chat {
			if e.Messages, err = underSystem(r, prompt.turns); err != nil {
				return err
			}
			if e.Tools, err = parseTools(r); err != nil {
				return err
			}
			if len(e.Messages) == 0 {
				e.drop = emptyPrompt
			}
		}
		add(e)
		return nil
	},
})

// Why nothing is asked by an example.
const (
	emptyPrompt = "an empty prompt"
	noPrompt    = "no prompt before the answer"
)

// asPrompt takes the prompt of any example, and the good answer to it, if there is one. Of a conversation the prompt is
// all before the answer at its end, or, without one, the whole.
func asPrompt(x Example) Example {
	p := Example{Source: x.Source, Kind: KindPrompt, Tools: x.Tools}
	switch x.Kind {
	case KindPrompt:
		return x
	case KindText:
		p.Prompt = strings.TrimRight(x.Text, "\r\n")
	case KindCompletion:
		p.Prompt = x.Prompt
		if strings.TrimSpace(x.Completion) != "" {
			p.Answers = []Answer{{Text: x.Completion}}
		}
	case KindPair: // all pairs of a record have one prompt
		p.Source.Sub = 0
		p.Messages, p.Prompt = x.Messages, x.Prompt
		if len(x.Answers) > 0 { // not of a tie
			p.Answers = x.Answers[:1:1]
		}
	case KindVerdict:
		p.Messages, p.Prompt = x.Messages, x.Prompt
		if x.Desirable {
			p.Answers = x.Answers
		}
	case KindMessages:
		p.Messages = x.Messages
		for len(p.Messages) > 0 && p.Messages[len(p.Messages)-1].Role == Assistant {
			p.Messages = p.Messages[:len(p.Messages)-1]
		}
		if len(p.Messages) == 0 {
			p.drop = noPrompt
		}
		if n := len(p.Messages); n < len(x.Messages) && says(&x.Messages[len(x.Messages)-1]) {
			p.Answers = []Answer{{Messages: x.Messages[n:]}}
		}
	default:
		panic(fmt.Sprintf("data: no prompt is made of a %v", x.Kind))
	}
	p.Messages = slices.Clone(p.Messages)
	for i := range p.Messages {
		p.Messages[i].Train = nil // nothing of a prompt is trained on
	}
	return p
}

// unanswerablePrompt says why a prompt asks nothing, or "".
func unanswerablePrompt(e *Example) string {
	switch n := len(e.Messages); {
	case e.drop != "":
		return e.drop
	case n == 0 && strings.TrimSpace(e.Prompt) == "", n > 0 && !says(&e.Messages[n-1]):
		return emptyPrompt
	case n > 0 && e.Messages[n-1].Role == Assistant:
		return promptAnswered
	}
	return ""
}

func samePrompt(a, b *Example) bool {
	return a.Prompt == b.Prompt && bytes.Equal(a.Tools, b.Tools) && a.drop == b.drop &&
		slices.EqualFunc(a.Messages, b.Messages, func(x, y Message) bool { return sameMessage(&x, &y) })
}
