package data

import "encoding/json"

// KTO is TRL's unpaired preference data, an answer with a verdict, LLaMA-Factory's, a conversation with a verdict on
// its last turn, and any other data of single answers that has a verdict beside each.
var KTO = register(&Format{
	Name:       "kto",
	Fields:     `"prompt", "completion", or any plain format of answers, and "label" or "kto_tag": true or false`,
	Priority:   70,
	Preference: true,
	Verdicts:   true,
	Match: func(r *Record) bool {
		return r.Any(verdictFields...) && singleAnswers(r) != nil
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		good, err := parseVerdict(r)
		if err != nil {
			return err
		}
		return readJudged(r, o, func(prompt, answer side, source Source) error {
			c, err := newChoices(r, o, prompt, add)
			if err != nil {
				return err
			}
			c.prompt.Source = source
			c.verdict(answer.answer(), good)
			return nil
		})
	},
})

// verdictFields are the names of the field that says what an answer is worth. The first is taken.
var verdictFields = []string{"label", "kto_tag"}

// singleAnswers finds the plain format of the record, if it is one of answers.
func singleAnswers(r *Record) *Format {
	if f := plainFormat(r); f != nil && f != Text {
		return f
	}
	return nil
}

// readJudged reads prompts and the answers that are judged; but for self-instruct there is one.
func readJudged(r *Record, o *Options, use func(prompt, answer side, source Source) error) error {
	if r.Has("prompt", "completion") { // the two may be of unlike kinds, and the completion several turns
		prompt, err := readSide(r, "prompt")
		if err != nil {
			return err
		}
		answer, err := readSide(r, "completion")
		if err != nil {
			return err
		}
		prompt, answers := joined(prompt, answer)
		return use(prompt, answers[0], r.Source)
	}
	var found []Example
	if err := singleAnswers(r).Examples(r, o, func(e Example) { found = append(found, e) }); err != nil {
		return err
	}
	for _, e := range found {
		prompt, answer := side{text: e.Prompt}, side{text: e.Completion}
		if e.Kind == KindMessages {
			last := max(len(e.Messages)-1, 0)
			prompt, answer = side{chat: true, turns: e.Messages[:last]}, side{chat: true, turns: e.Messages[last:]}
		}
		if err := use(prompt, answer, e.Source); err != nil {
			return err
		}
	}
	return nil
}

// parseVerdict reads the label. Tables have no booleans: their cells say true and false.
func parseVerdict(r *Record) (bool, error) {
	field := firstOf(r, verdictFields)
	v, _ := r.Get(field)
	if good, ok := verdictOf(v); ok {
		return good, nil
	}
	return false, r.errorf("field %q is %s, %.40s; expected true (a desirable answer) or false", field, describe(v), v)
}

// verdictField names the field that holds a verdict, "" if none does. A label may be anything else.
func verdictField(r *Record) string {
	label, _ := r.Get("label")
	if _, ok := verdictOf(label); ok {
		return "label"
	}
	if r.Has("kto_tag") {
		return "kto_tag"
	}
	return ""
}

func verdictOf(v json.RawMessage) (good, ok bool) {
	if describe(v) == "a boolean" && json.Unmarshal(v, &good) == nil {
		return good, true
	}
	return boolText(v)
}
