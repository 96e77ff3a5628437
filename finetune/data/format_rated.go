package data

import (
	"slices"
	"strconv"
	"strings"
)

// Rated is what `ggtune rate` writes: a prompt, the answers that were shown, and a person's choice between them, or
// ranks or stars, which are read as a list of scored answers is. Rows
// with a choice hold it as "chosen" and "rejected" too, for other programs; here the choice itself is read.
var Rated = register(&Format{
	Name: "rated",
	Fields: `"prompt", "answers" [{"text"}, {"text"}], "choice": "a", "b", "tie", "bad", "skip", or "edit" with ` +
		`"edited", "edited_from"; "rank" with "ranks", "stars" with "ratings"`,
	Priority:   90,
	Preference: true,
	Aside: []string{"chosen", "rejected", "edited", "edited_from", "ggtune", "answers[].",
		"ranks", "ratings"},
	Match: func(r *Record) bool { return r.Has("prompt", "answers", "choice") },
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
		c, err := newChoices(r, o, prompt, add)
		if err != nil {
			return err
		}
		if err := c.readMargin(r, o); err != nil {
			return err
		}
		return c.rated(r, o, texts, answer)
	},
})

// rated gives what the person said of the answers that were shown.
func (c *choices) rated(r *Record, o *Options, texts []shown, answer func(shown) Answer) error {
	choice, err := r.Text("choice")
	if err != nil {
		return err
	}
	if len(texts) != 2 && slices.Contains([]string{"a", "b", "tie"}, choice) {
		return r.errorf("field \"choice\" is %q, of two, and there are %d answers", choice, len(texts))
	}
	switch choice {
	case "a":
		c.pair(answer(texts[0]), answer(texts[1]))
	case "b":
		c.pair(answer(texts[1]), answer(texts[0]))
	case "rank", "stars":
		list, err := judged(r, choice, texts, answer)
		if err != nil {
			return err
		}
		c.many = true
		c.ranked(list, o)
	case "edit":
		edited, from, err := edit(r, len(texts))
		if err != nil {
			return err
		}
		c.pair(answer(shown{text: edited}), answer(texts[from]))
	case "bad":
		if o.Want != WantVerdicts {
			c.nothing(map[bool]string{true: "both answers are bad", false: "all answers are bad"}[len(texts) == 2])
			return nil
		}
		c.many = true
		for _, s := range texts {
			c.verdict(answer(s), false)
		}
	case "tie":
		c.nothing("a tie")
	case "skip":
		c.nothing("skipped")
	default:
		return r.errorf("field \"choice\" is %q; known: a, b, tie, bad, edit, skip, rank, stars", choice)
	}
	return nil
}

// judged gives a list of answers with what each is worth.
func judged(r *Record, choice string, texts []shown, answer func(shown) Answer) ([]scored, error) {
	field := map[string]string{"rank": "ranks", "stars": "ratings"}[choice]
	v, _ := r.Get(field)
	worths, err := listOf(v)
	if err != nil || len(worths) != len(texts) {
		return nil, r.errorf("field %q is %s of %d; with the choice %q it holds a number for each of %d answers", field,
			describe(embedded(v)), len(worths), choice, len(texts))
	}
	list := make([]scored, len(texts))
	for i, s := range texts {
		list[i].Answer = answer(s)
		if list[i].worth, err = parseWorth(worths[i], field); err != nil {
			return nil, r.errorf("field %q: %v", field, err)
		}
	}
	return list, nil
}

// A shown answer is one of those that a person chose between.
type shown struct {
	text   string
	cutOff bool // it reached the most tokens that were allowed
}

func readShown(r *Record) ([]shown, error) {
	v, _ := r.Get("answers")
	items, err := listOf(v)
	if err != nil || len(items) < 2 {
		return nil, r.errorf("field \"answers\" is %s of %d; expected two answers, or more", describe(embedded(v)),
			len(items))
	}
	answers := make([]shown, len(items))
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
func edit(r *Record, answers int) (edited string, from int, err error) {
	if edited, err = r.Text("edited"); err != nil {
		return "", 0, err
	}
	s, err := r.Text("edited_from")
	if err != nil {
		return "", 0, err
	}
	if from, err = strconv.Atoi(s); err != nil || from < 0 || from >= answers {
		return "", 0, r.errorf("field \"edited_from\" is %q; with the choice \"edit\" it must be a number from 0 to "+
			"%d, the answer that \"edited\" was made from", s, answers-1)
	}
	if strings.TrimSpace(edited) == "" {
		return "", 0, r.errorf("field \"edited\" is empty; with the choice \"edit\" it holds the better answer")
	}
	return edited, from, nil
}
