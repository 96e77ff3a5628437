package data

import "encoding/json"

// Completion is TRL's prompt and completion: literal text that no template touches, or two lists of messages, of which
// only the completion's are trained.
var Completion = register(&Format{
	Name:     "completion",
	Fields:   `"prompt", "completion": two strings (literal text, no template) or two lists of messages`,
	Priority: 70,
	Match:    func(r *Record) bool { return r.Has("prompt", "completion") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		pv, _ := r.Get("prompt")
		cv, _ := r.Get("completion")
		pText, pOK := literal(pv)
		cText, cOK := literal(cv)
		if pOK && cOK {
			add(Example{Source: r.Source, Kind: KindCompletion, Prompt: pText, Completion: cText})
			return nil
		}
		if pOK != cOK {
			return r.errorf(
				"field \"prompt\" is %s and \"completion\" is %s; expected two strings or two lists of messages",
				describe(pv), describe(cv))
		}
		prompt, err := parseMessages(r, "prompt")
		if err != nil {
			return err
		}
		completion, err := parseMessages(r, "completion")
		if err != nil {
			return err
		}
		no := false
		for i := range prompt {
			prompt[i].Train = &no
		}
		return addConversation(r, append(prompt, completion...), add)
	},
})

// literal gives a value as literal text. Messages that lie in a string, as in the cell of a table, are none.
func literal(v json.RawMessage) (string, bool) {
	s, ok := asText(v)
	return s, ok && !isTurns(embedded(v))
}
