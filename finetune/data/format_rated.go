package data

import "strings"

// Rated is what `ggtune rate` writes: a prompt, the answers that were shown, and a person's choice between them. Rows
// with a choice hold it as "chosen" and "rejected" too, for other programs; here the choice itself is read.
var Rated = register(&Format{
	Name: "rated",
	Fields: `"prompt", "answers" [{"text"}, {"text"}], "choice": "a", "b", "tie", "bad", "skip", or "edit" with ` +
		`"edited", "edited_from"`,
	Priority:   90,
	Preference: true,
	Aside:      []string{"chosen", "rejected", "edited", "edited_from", "ggtune", "answers[]."},
	Match:      func(r *Record) bool { return r.Has("prompt", "answers", "choice") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		prompt, err := readSide(r, "prompt")
		if err != nil {
			return err
		}
		answer := func(s shown) Answer {
			if prompt.chat {
				return Answer{Messages: []Message{{Role: Assistant, Content: s.text}}, CutOff: s.cutOff}
			}
			return Answer{Text: s.text, CutOff: s.cutOff}
		}
		texts, err := readShown(r)
		if err != nil {
			return err
		}
		a, b := answer(texts[0]), answer(texts[1])
		choice, err := r.Text("choice")
		if err != nil {
			return err
		}
		c, err := newChoices(r, o, prompt, add)
		if err != nil {
			return err
		}
		if err := c.readMargin(r, o); err != nil {
			return err
		}
		switch choice {
		case "a":
			c.pair(a, b)
		case "b":
			c.pair(b, a)
		case "edit":
			edited, from, err := edit(r)
			if err != nil {
				return err
			}
			c.pair(answer(shown{text: edited}), answer(texts[from]))
		case "bad":
			if o.Want != WantVerdicts {
				c.nothing("both answers are bad")
				return nil
			}
			c.many = true
			c.verdict(a, false)
			c.verdict(b, false)
		case "tie":
			c.nothing("a tie")
		case "skip":
			c.nothing("skipped")
		default:
			return r.errorf("field \"choice\" is %q; known: a, b, tie, bad, edit, skip", choice)
		}
		return nil
	},
})

// A shown answer is one of the two that a person chose between.
type shown struct {
	text   string
	cutOff bool // it reached the most tokens that were allowed
}

func readShown(r *Record) (answers [2]shown, err error) {
	v, _ := r.Get("answers")
	items, err := listOf(v)
	if err != nil || len(items) != len(answers) {
		return answers,
			r.errorf("field \"answers\" is %s of %d; expected two answers", describe(embedded(v)), len(items))
	}
	for i, item := range items {
		fields, err := parseObject(item)
		if err != nil {
			return answers, r.errorf("field \"answers\", answer %d: %v", i+1, err)
		}
		x := r.inner("answers[]", fields)
		if !x.Has("text") {
			return answers,
				r.errorf("field \"answers\", answer %d has the fields %s; expected \"text\"", i+1, quoted(x.Names()))
		}
		if answers[i].text, err = x.Text("text"); err != nil {
			return answers, err
		}
		stop, err := x.Text("stop")
		if err != nil {
			return answers, err
		}
		answers[i].cutOff = stop == "length" || stop == "context"
		x.end()
	}
	return answers, nil
}

// edit reads the better text that a person wrote, and which answer it was made from.
func edit(r *Record) (edited string, from int, err error) {
	if edited, err = r.Text("edited"); err != nil {
		return "", 0, err
	}
	s, err := r.Text("edited_from")
	if err != nil {
		return "", 0, err
	}
	switch s {
	case "0":
	case "1":
		from = 1
	default:
		return "", 0, r.errorf("field \"edited_from\" is %q; with the choice \"edit\" it must be 0 or 1, the answer "+
			"that \"edited\" was made from", s)
	}
	if strings.TrimSpace(edited) == "" {
		return "", 0, r.errorf("field \"edited\" is empty; with the choice \"edit\" it holds the better answer")
	}
	return edited, from, nil
}
