package data

// AlpacaPreference is an instruction with two answers, under the names that Alpaca's kin use. Like Alpaca's rows it
// becomes a conversation, and so does a prompt that has a system prompt beside it.
var AlpacaPreference = register(&Format{
	Name:       "alpaca-preference",
	Fields:     `"instruction"[, "input"] or "question", "chosen", "rejected"[, "system", "history"]`,
	Priority:   55,
	Preference: true,
	Match: func(r *Record) bool {
		return r.Has("chosen", "rejected") && (r.Any("instruction", "question",
			"query") || r.Has("prompt") && r.Any(systemFields...) || r.Has("input") && !r.Has("prompt"))
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		turns, err := instruction(r)
		if err != nil {
			return err
		}
		chosen, rejected, err := readAnswers(r, "chosen", "rejected")
		if err != nil {
			return err
		}
		prompt := side{chat: true, turns: turns}
		if holdsPrompt(chosen) {
			prompt, chosen, rejected = common(chosen, rejected)
		}
		prompt, answers := joined(prompt, chosen, rejected)
		return addChoice(r, o, prompt, answers[0], answers[1], add)
	},
})

// promptFields are the names under which data holds what the user asked for.
var promptFields = []string{"instruction", "question", "query", "prompt"}

// instruction gives the turns up to an answer: earlier ones, and what the user asks for.
func instruction(r *Record) ([]Message, error) {
	name := firstOf(r, promptFields)
	if v, _ := r.Get(name); name != "prompt" || !isTurns(embedded(v)) {
		return userTurn(r, name)
	}
	p, err := readSide(r, name)
	return p.turns, err
}
