package data

import (
	"encoding/json"
	"strings"
)

// KTO is TRL's unpaired preference data, an answer with a verdict, and LLaMA-Factory's, a conversation with a verdict on its
// last turn.
var KTO = register(&Format{
	Name:       "kto",
	Fields:     `"prompt", "completion", "label"; or "messages" or "conversations", and "label" or "kto_tag": true or false`,
	Priority:   70,
	Preference: true,
	Verdicts:   true,
	Match: func(r *Record) bool {
		return r.Any("label", "kto_tag") && (r.Has("prompt", "completion") || r.Any("messages", "conversations"))
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		good, err := parseVerdict(r)
		if err != nil {
			return err
		}
		prompt, answer, err := readJudged(r)
		if err != nil {
			return err
		}
		c := newChoices(r, o, add)
		if c.prompt.Tools, err = parseTools(r, "tools"); err != nil {
			return err
		}
		c.say(prompt)
		c.verdict(answer.answer(), good)
		return nil
	},
})

// readJudged reads a prompt and the answer that is judged.
func readJudged(r *Record) (prompt, answer side, err error) {
	if r.Has("prompt", "completion") {
		if prompt, err = readSide(r, "prompt"); err != nil {
			return prompt, answer, err
		}
		if answer, err = readSide(r, "completion"); err != nil {
			return prompt, answer, err
		}
		prompt, answers := joined(prompt, answer)
		return prompt, answers[0], nil
	}
	turns, err := conversation(r)
	if err != nil {
		return prompt, answer, err
	}
	last := max(len(turns)-1, 0)
	return side{chat: true, turns: turns[:last]}, side{chat: true, turns: turns[last:]}, nil
}

// parseVerdict reads the label. Tables have no booleans: their cells say true and false.
func parseVerdict(r *Record) (bool, error) {
	field := "label"
	if !r.Has(field) {
		field = "kto_tag"
	}
	v, _ := r.Get(field)
	var b bool
	if describe(v) == "a boolean" && json.Unmarshal(v, &b) == nil {
		return b, nil
	}
	s, _ := asText(v)
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, r.errorf("field %q is %s, %.40s; expected true (a desirable answer) or false", field, describe(v), v)
}
