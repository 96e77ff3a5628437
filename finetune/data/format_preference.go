package data

// Preference is TRL's preference data with its prompt in a field of its own: literal text that no template touches, or
// messages. The answers may hold the prompt once more.
var Preference = register(&Format{
	Name:       "preference",
	Fields:     `"prompt", "chosen", "rejected": three strings (literal text, no template) or three lists of messages`,
	Priority:   50,
	Preference: true,
	Match:      func(r *Record) bool { return r.Has("prompt", "chosen", "rejected") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		prompt, err := readSide(r, "prompt")
		if err != nil {
			return err
		}
		chosen, rejected, err := readAnswers(r, "chosen", "rejected")
		if err != nil {
			return err
		}
		if !prompt.chat && holdsPrompt(chosen) {
			prompt, chosen, rejected = common(chosen, rejected)
		}
		prompt, answers := joined(prompt, chosen, rejected)
		return addChoice(r, o, prompt, answers[0], answers[1], add)
	},
})

// ImplicitPreference is TRL's preference data without a prompt of its own: it is the beginning that both answers share.
var ImplicitPreference = register(&Format{
	Name: "implicit-preference",
	Fields: `"chosen", "rejected": two strings (literal text) or two lists of messages that begin with the same ` +
		`prompt`,
	Priority:   10,
	Preference: true,
	Match:      func(r *Record) bool { return r.Has("chosen", "rejected") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		return addImplicit(r, o, "chosen", "rejected", add)
	},
})

// holdsPrompt says that an answer is the whole conversation. A string beside it that is called the prompt is for people
// to read, as in HuggingFaceH4/ultrafeedback_binarized.
func holdsPrompt(answer side) bool {
	return answer.chat && len(answer.turns) > 0 && answer.turns[0].Role != Assistant
}

// addImplicit adds the choice between two fields that begin with the same prompt.
func addImplicit(r *Record, o *Options, chosenField, rejectedField string, add func(Example)) error {
	chosen, rejected, err := readAnswers(r, chosenField, rejectedField)
	if err != nil {
		return err
	}
	prompt, chosen, rejected := common(chosen, rejected)
	return addChoice(r, o, prompt, chosen, rejected, add)
}

func readAnswers(r *Record, chosenField, rejectedField string) (chosen, rejected side, err error) {
	if chosen, err = readSide(r, chosenField); err != nil {
		return chosen, rejected, err
	}
	rejected, err = readSide(r, rejectedField)
	return chosen, rejected, err
}

// addChoice adds one choice between two answers.
func addChoice(r *Record, o *Options, prompt, chosen, rejected side, add func(Example)) error {
	c, err := newChoices(r, o, prompt, add)
	if err != nil {
		return err
	}
	if err := c.readMargin(r, o); err != nil {
		return err
	}
	c.pair(chosen.answer(), rejected.answer())
	return nil
}
