package data

import (
	"encoding/json"
	"slices"
	"strings"
)

// Alpaca is the format of Stanford Alpaca and its kin (Dolly's instruction, context, response too), with
// LLaMA-Factory's system and history. A row becomes a conversation: the user's turn is the instruction and, on a new
// line, the input. The wording around it is the chat template's (the built-in template "alpaca" has Stanford's).
var Alpaca = register(&Format{
	Name: "alpaca",
	Fields: `"instruction"[, "input"], "output"[, "system", "history"]; also "context" for input, "response" for ` +
		`output`,
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
		return addConversation(r, append(msgs, Message{Role: Assistant, Content: answer}), add)
	},
})

// userTurn gives the turns up to an answer: earlier ones, and the user's, which is the field, if there is one, and
// the input.
func userTurn(r *Record, field string) ([]Message, error) {
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
	return append(history, Message{Role: User, Content: user}), nil
}

// systemFields are the names under which a system prompt stands beside a conversation. The first that says something
// is taken.
var systemFields = []string{"system", "system_prompt", "system_message", "system_instruction", "sys_prompt"}

// systemTurn gives the system prompt that stands beside a conversation, if there is one.
func systemTurn(r *Record) ([]Message, error) {
	for _, name := range systemFields {
		if !r.Has(name) {
			continue
		}
		system, err := r.Text(name)
		if err != nil {
			return nil, err
		}
		if system != "" {
			return []Message{{Role: System, Content: system}}, nil
		}
	}
	return nil, nil
}

// underSystem puts the system prompt that stands beside a conversation before it, unless it is there.
func underSystem(r *Record, turns []Message) ([]Message, error) {
	system, err := systemTurn(r)
	if err != nil || len(system) == 0 {
		return turns, err
	}
	if len(turns) == 0 || turns[0].Role != System {
		return append(system, turns...), nil
	}
	if strings.TrimSpace(turns[0].Content) == strings.TrimSpace(system[0].Content) {
		return turns, nil
	}
	return nil, r.errorf("the conversation begins with a system prompt, and another stands beside it (%s); "+
		"leave out one of the two, the second with --columns =NAME",
		quoted(slices.DeleteFunc(r.Names(), func(n string) bool { return !slices.Contains(systemFields, n) })))
}

// addConversation adds a conversation with the system prompt and the tools that stand beside it.
func addConversation(r *Record, turns []Message, add func(Example)) error {
	turns, err := underSystem(r, turns)
	if err != nil {
		return err
	}
	tools, err := parseTools(r)
	if err != nil {
		return err
	}
	add(Example{Source: r.Source, Kind: KindMessages, Messages: turns, Tools: tools})
	return nil
}

// parseHistory reads earlier turns: a list of pairs [instruction, answer].
func parseHistory(r *Record) ([]Message, error) {
	items, err := r.list("history", "pairs [instruction, answer]")
	if err != nil {
		return nil, err
	}
	pairs := make([][]string, len(items))
	for i, item := range items {
		if err := json.Unmarshal(item, &pairs[i]); err != nil {
			return nil, r.errorf("field \"history\", turn %d is no list of texts; expected two: instruction and "+
				"answer", i+1)
		}
	}
	var msgs []Message
	for i, p := range pairs {
		if len(p) != 2 {
			return nil, r.errorf("field \"history\", turn %d has %d texts; expected two: instruction and answer", i+1,
				len(p))
		}
		msgs = append(msgs, Message{Role: User, Content: p[0]}, Message{Role: Assistant, Content: p[1]})
	}
	return msgs, nil
}
