package data

// ShareGPTPreference is LLaMA-Factory's ranking data: a conversation up to the answer, and two answers, each a message.
var ShareGPTPreference = register(&Format{
	Name: "sharegpt-preference",
	Fields: `"conversations" [{"from", "value"}] or "messages", "chosen" {"from", "value"}, ` +
		`"rejected" {…}[, "system", "tools"]`,
	Priority:   60,
	Preference: true,
	Match: func(r *Record) bool {
		return r.Has("chosen", "rejected") && r.Any("conversations", "messages") && !r.Has("prompt")
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		turns, err := conversation(r)
		if err != nil {
			return err
		}
		chosen, rejected, err := readAnswers(r, "chosen", "rejected")
		if err != nil {
			return err
		}
		prompt, answers := joined(side{chat: true, turns: turns}, chosen, rejected)
		return addChoice(r, o, prompt, answers[0], answers[1], add)
	},
})
