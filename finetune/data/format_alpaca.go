package data

import (
	"encoding/json"
	"strings"
)

// Alpaca is the format of Stanford Alpaca and its kin (Dolly's instruction, context, response too), with LLaMA-Factory's
// system and history. A row becomes a conversation: the user's turn is the instruction and, on a new line, the input. The
// wording around it is the chat template's (the built-in template "alpaca" has Stanford's).
var Alpaca = register(&Format{
	Name:     "alpaca",
	Fields:   `"instruction"[, "input"], "output"[, "system", "history"]; also "context" for input, "response" for output`,
	Priority: 80,
	Match: func(r *Record) bool {
		return r.Has("instruction") && r.Any("output", "response")
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		msgs, err := userTurn(r, "instruction")
		if err != nil {
			return err
		}
		name := "output"
		if !r.Has(name) {
			name = "response"
		}
		answer, err := r.Text(name)
		if err != nil {
			return err
		}
		msgs = append(msgs, Message{Role: Assistant, Content: answer})
		add(Example{Source: r.Source, Kind: KindMessages, Messages: msgs})
		return nil
	},
})

// userTurn gives the turns up to an answer: the system prompt, earlier turns, and the user's, which is the field, if there is
// one, and the input.
func userTurn(r *Record, field string) ([]Message, error) {
	msgs, err := systemTurn(r)
	if err != nil {
		return nil, err
	}
	history, err := parseHistory(r)
	if err != nil {
		return nil, err
	}
	user := ""
	for i, name := range []string{field, "input", "context"} {
		s, err := r.Text(name)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			user = s
		} else if strings.TrimSpace(s) != "" {
			user = strings.TrimPrefix(user+"\n"+s, "\n")
		}
	}
	return append(append(msgs, history...), Message{Role: User, Content: user}), nil
}

// systemTurn gives the system prompt that stands beside a conversation, if there is one.
func systemTurn(r *Record) ([]Message, error) {
	system, err := r.Text("system")
	if err != nil || system == "" {
		return nil, err
	}
	return []Message{{Role: System, Content: system}}, nil
}

// parseHistory reads earlier turns: a list of pairs [instruction, answer].
func parseHistory(r *Record) ([]Message, error) {
	v, ok := r.Get("history")
	if !ok {
		return nil, nil
	}
	v = embedded(v)
	if s, ok := asText(v); ok && s == "" {
		return nil, nil
	}
	var pairs [][]string
	if err := json.Unmarshal(v, &pairs); err != nil {
		return nil, r.errorf("field \"history\" is %s; expected a list of pairs [instruction, answer]", describe(v))
	}
	var msgs []Message
	for i, p := range pairs {
		if len(p) != 2 {
			return nil, r.errorf("field \"history\", turn %d has %d texts; expected two: instruction and answer", i+1, len(p))
		}
		msgs = append(msgs, Message{Role: User, Content: p[0]}, Message{Role: Assistant, Content: p[1]})
	}
	return msgs, nil
}
