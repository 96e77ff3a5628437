package data

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The names of the fields of a question, of its choices, and of the right one. The first is taken.
var (
	questionFields = []string{"question", "question_stem", "query", "goal", "ctx", "context", "prompt"}
	choiceFields   = []string{"choices", "options", "endings", "mc_answers"}
	pairedChoices  = [2]string{"sol1", "sol2"}
	rightFields    = []string{"answerKey", "answer_key", "answer", "label", "gold", "correct", "answer_idx", "target"}
)

// Choices is multiple choice under the names that published sets use: OpenBookQA, ARC, CommonsenseQA, MMLU, HellaSwag,
// PIQA. Read as literal text, a choice follows its question after a space, as in lm-evaluation-harness; in a
// conversation it is the answer to it.
var Choices = register(&Format{
	Name: "choices",
	Fields: `"question" (also question_stem, query, goal, ctx, prompt), "choices" (options, endings; a list of ` +
		`texts, or of ` +
		`{"label", "text"}, or {"label": […], "text": […]}; or sol1 and sol2), "answer" (answerKey, label, gold: a ` +
		`letter or ` +
		`label, the choice's text, or its number from 0)`,
	Priority: 10,
	Choices:  true,
	Match: func(r *Record) bool {
		return firstOf(r, questionFields) != "" && firstOf(r, rightFields) != "" &&
			(firstOf(r, choiceFields) != "" || r.Has(pairedChoices[:]...))
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		question, err := r.Text(firstOf(r, questionFields))
		if err != nil {
			return err
		}
		texts, labels, err := readChoices(r)
		if err != nil {
			return err
		}
		right, err := rightChoice(r, texts, labels)
		if err != nil {
			return err
		}
		add(multipleChoice(r.Source, o, question, texts, right))
		return nil
	},
})

// multipleChoice makes an example of a question whose choices answer it.
func multipleChoice(src Source, o *Options, question string, texts []string, right int) Example {
	x := Example{Source: src, Kind: KindChoice, Right: right}
	if o.ChatChoices {
		x.Messages = []Message{{Role: User, Content: question}}
	} else {
		x.Prompt = question
	}
	for _, text := range texts {
		x.Answers = append(x.Answers, choice(o, text))
	}
	return x
}

// choice makes an answer of a choice's text. Its end is not asked for: a harness asks how likely the text is.
func choice(o *Options, text string) Answer {
	if o.ChatChoices {
		return Answer{Messages: []Message{{Role: Assistant, Content: text}}, CutOff: true}
	}
	return Answer{Text: " " + text, CutOff: true}
}

// readChoices reads the choices and their labels, which are A, B, C where the data has none.
func readChoices(r *Record) (texts, labels []string, err error) {
	field := firstOf(r, choiceFields)
	if field == "" {
		for i, name := range pairedChoices {
			text, err := r.Text(name)
			if err != nil {
				return nil, nil, err
			}
			texts, labels = append(texts, text), append(labels, letter(i))
		}
		return texts, labels, nil
	}
	v, _ := r.Get(field)
	v = embedded(v)
	if describe(v) == "an object" {
		return labelled(r, field, v)
	}
	items, err := r.list(field, "choices")
	if err != nil {
		return nil, nil, err
	}
	for i, item := range items {
		label := letter(i)
		text, ok := asText(item)
		if describe(item) == "an object" {
			label, text, ok = labelAndText(item)
		}
		if !ok {
			return nil, nil, r.errorf("field %q, choice %d is %s; expected a text, or an object with \"label\" and "+
				"\"text\"", field, i+1, describe(item))
		}
		texts, labels = append(texts, text), append(labels, label)
	}
	return texts, labels, nil
}

// labelled reads an object of two lists, or one whose names are the labels.
func labelled(r *Record, field string, v json.RawMessage) (texts, labels []string, err error) {
	var lists struct{ Text, Label []string }
	if json.Unmarshal(v, &lists) == nil && len(lists.Text) > 0 {
		if len(lists.Label) != len(lists.Text) {
			return nil, nil, r.errorf("field %q has %d texts and %d labels", field, len(lists.Text), len(lists.Label))
		}
		return lists.Text, lists.Label, nil
	}
	fields, err := parseObject(v)
	if err != nil {
		return nil, nil, r.errorf("field %q: %v", field, err)
	}
	for _, f := range fields {
		text, ok := asText(f.Value)
		if !ok {
			return nil, nil, r.errorf("field %q, choice %q is %s; expected a text", field, f.Name, describe(f.Value))
		}
		texts, labels = append(texts, text), append(labels, f.Name)
	}
	return texts, labels, nil
}

func labelAndText(item json.RawMessage) (label, text string, ok bool) {
	var x struct{ Label, Text *string }
	if json.Unmarshal(item, &x) != nil || x.Label == nil || x.Text == nil {
		return "", "", false
	}
	return *x.Label, *x.Text, true
}

func letter(i int) string { return string(rune('A' + i)) }

// rightChoice finds the right choice: by a number that is one in JSON, else by label, by text, by letter, and last by a
// number that is a text.
func rightChoice(r *Record, texts, labels []string) (int, error) {
	field := firstOf(r, rightFields)
	if len(texts) == 0 {
		return 0, r.errorf("there are no choices; expected the texts of two or more")
	}
	v, _ := r.Get(field)
	said, ok := asText(v)
	if !ok || said == "" {
		return 0, r.errorf("field %q is %s; expected which choice is right", field, describe(v))
	}
	said = strings.TrimSpace(said)
	number, err := strconv.Atoi(said)
	byNumber := err == nil && number >= 0 && number < len(texts)
	if byNumber && describe(v) == "a number" {
		return number, nil
	}
	for _, names := range [][]string{labels, texts} {
		if i := slices.Index(names, said); i >= 0 {
			return i, nil
		}
	}
	if byNumber {
		return number, nil
	}
	return 0, r.errorf("field %q is %q; expected one of the labels %s, of the choices' texts, or a number from 0 to %d",
		field, said, quoted(labels), len(texts)-1)
}

// unanswerable says why an example tells nothing of who answers it, or "".
func unanswerable(e *Example) string {
	if len(e.Answers) < 2 {
		return fmt.Sprintf("a question with %d choices", len(e.Answers))
	}
	for i := range e.Answers {
		if why := badAnswer(&e.Answers[i], "choice"); why != "" {
			return why
		}
	}
	return ""
}
