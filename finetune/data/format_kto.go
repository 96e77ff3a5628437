package data

import (
	"bytes"
	"encoding/json"
	"fmt"
)

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
	hint := ""
	if isBit(v) {
		hint = "; 0 and 1 may be classes: where they are verdicts write false and true"
	}
	return false, r.errorf("field %q is %s, %.40s; expected true (a desirable answer) or false%s", field, describe(v),
		v, hint)
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
	if r.Has(relevantField) && Rerank.Match(r) {
		return relevantField
	}
	return ""
}

// remarkBits says of a 0 or 1 that nothing reads, where a verdict may stand, what it could be: many data have a class
// there.
func remarkBits(r *Record) {
	for _, field := range verdictFields {
		if i := r.find(field); i >= 0 && !r.Fields[i].read && isBit(r.Fields[i].Value) {
			r.remark(fmt.Sprintf("the field %q is 0 or 1 and is not read, as it may be a class; where it says whether "+
				"the answer is good, write false and true, and train with --method kto", field))
		}
	}
}

// isBit says whether a value is the number 0 or 1, in a table perhaps as text.
func isBit(v json.RawMessage) bool {
	s, ok := asText(v)
	if !ok {
		s = string(bytes.TrimSpace(v))
	}
	return s == "0" || s == "1"
}

func verdictOf(v json.RawMessage) (good, ok bool) {
	if describe(v) == "a boolean" && json.Unmarshal(v, &good) == nil {
		return good, true
	}
	return boolText(v)
}
