package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Scored is a prompt with several answers and what each is worth, as UltraFeedback has them (Cui et al. 2023). Every
// two answers of unequal worth are a pair, or, with Options.BestWorst, the best and the worst. Like rows of question
// and answer it says nothing of how the two are joined, so it becomes conversations.
var Scored = register(&Format{
	Name: "scored",
	Fields: `"instruction" or "prompt", "completions" [{"response", "overall_score"}]; or "responses" […] and ` +
		`"scores" […]; ` +
		`also "rank", lowest best`,
	Priority:   30,
	Preference: true,
	Match: func(r *Record) bool {
		return r.Any(promptFields...) && scoredList(r) != ""
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		turns, err := instruction(r)
		if err != nil {
			return err
		}
		answers, err := readScored(r)
		if err != nil {
			return err
		}
		c, err := newChoices(r, o, side{chat: true, turns: turns}, add)
		if err != nil {
			return err
		}
		c.many = true
		if !o.Each {
			c.ranked(answers, o)
			return nil
		}
		for _, a := range answers {
			c.verdict(a.Answer, false)
		}
		return nil
	},
})

// A scored answer is one of a list. Its worth is NaN where the data does not say.
type scored struct {
	Answer
	worth float64
}

// The names of the fields that hold a list of answers, of those that hold what each is worth, of an answer's text, and
// of its worth. The first is taken. UltraFeedback's "fine-grained_score" is the mean of four aspects, its overall_score
// the verdict.
var (
	listFields  = []string{"completions", "responses", "answers", "generations"}
	worthLists  = []string{"scores", "ratings", "rewards", "ranks", "rank"}
	textFields  = []string{"response", "text", "content", "completion", "answer", "output"}
	worthFields = []string{"overall_score", "score", "rating", "reward", "fine-grained_score", "rank"}
)

// lowestBest are the fields in which 1 is best.
var lowestBest = map[string]bool{"rank": true, "ranks": true}

// scoredList finds the field that holds answers with what they are worth, or "".
func scoredList(r *Record) string {
	field := firstOf(r, listFields)
	if field == "" {
		return ""
	}
	v, _ := r.Get(field)
	items, err := listOf(v)
	if err != nil || len(items) == 0 {
		return ""
	}
	if firstOf(r, worthLists) != "" {
		return field
	}
	fields, err := parseObject(items[0])
	if err == nil && firstOf(&Record{Fields: fields}, worthFields) != "" {
		return field
	}
	return ""
}

// readScored reads the answers and what they are worth.
func readScored(r *Record) ([]scored, error) {
	field := scoredList(r)
	v, _ := r.Get(field)
	items, err := listOf(v)
	if err != nil {
		return nil, r.errorf("field %q: %v", field, err)
	}
	worths, list, err := worthList(r, len(items), field)
	if err != nil {
		return nil, err
	}
	out := make([]scored, len(items))
	for i, item := range items {
		x := r.inner(field+"[]", []Field{{Name: "response", Value: item}})
		if describe(item) == "an object" {
			own, err := parseObject(item)
			if err != nil {
				return nil, r.errorf("field %q, answer %d: %v", field, i+1, err)
			}
			x.Fields = own
			if isTurns(item) {
				x.Fields = messageOf(own)
			}
		}
		text := firstOf(x, textFields)
		if text == "" {
			return nil, r.errorf("field %q, answer %d has the fields %s; expected one of %s", field, i+1,
				quoted(x.Names()), quoted(textFields))
		}
		s, err := readSide(x, text)
		if err != nil {
			return nil, err
		}
		out[i].Messages = s.as(Assistant)
		name, worth := list, json.RawMessage(nil)
		if worths != nil {
			worth = worths[i]
		} else {
			name = firstOf(x, worthFields)
			worth, _ = x.Get(name)
		}
		if out[i].worth, err = parseWorth(worth, name); err != nil {
			return nil, r.errorf("field %q, answer %d: %v", field, i+1, err)
		}
		x.end()
	}
	return out, nil
}

// messageOf parts a message that is an answer from what it is worth.
func messageOf(own []Field) []Field {
	var worth []Field
	var b bytes.Buffer
	b.WriteByte('{')
	for _, f := range own {
		if slices.Contains(worthFields, f.Name) {
			worth = append(worth, f)
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		writeString(&b, f.Name)
		b.WriteByte(':')
		b.Write(f.Value)
	}
	b.WriteByte('}')
	return append(worth, Field{Name: "response", Value: b.Bytes()})
}

// worthList reads the list of what n answers are worth; nil where each answer says it itself.
func worthList(r *Record, n int, answers string) ([]json.RawMessage, string, error) {
	name := firstOf(r, worthLists)
	if name == "" {
		return nil, "", nil
	}
	v, _ := r.Get(name)
	worths, err := listOf(v)
	if err != nil || len(worths) != n {
		return nil, "",
			r.errorf("field %q is %s of %d, and %q has %d answers; expected a number for each", name,
				describe(embedded(v)), len(worths), answers, n)
	}
	return worths, name, nil
}

func parseWorth(v json.RawMessage, name string) (float64, error) {
	s, ok := asText(v)
	if ok && s == "" {
		return math.NaN(), nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if !ok || err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%q is %s, %.40s; expected a number", name, describe(v), v)
	}
	if lowestBest[name] {
		x = -x
	}
	return x, nil
}

// ranked gives the pairs of a list of answers: the best against the worst, or every two of unequal worth. A list weighs
// as much as a pair, whatever its length: 1/pairs each, as in InstructGPT (Ouyang et al. 2022, equation 1).
func (c *choices) ranked(all []scored, o *Options) {
	var answers []scored
	for _, a := range all {
		if math.IsNaN(a.worth) {
			c.nothing("an answer without a score")
			continue
		}
		answers = append(answers, a)
	}
	if len(answers) < 2 {
		c.nothing("fewer than two answers with a score")
		return
	}
	if o.BestWorst {
		best, worst := answers[0], answers[0]
		for _, a := range answers[1:] {
			if a.worth > best.worth {
				best = a
			}
			if a.worth < worst.worth {
				worst = a
			}
		}
		answers = []scored{best, worst}
	}
	pairs := 0
	eachTwo(answers, func(better, worse scored) {
		if better.worth > worse.worth && unlearnable(c.two(better.Answer, worse.Answer)) == "" {
			pairs++
		}
	})
	c.weight = 1 / float64(max(pairs, 1))
	eachTwo(answers, func(better, worse scored) {
		if better.worth == worse.worth {
			c.nothing("a tie: two answers of equal score")
			return
		}
		if o.Margins {
			c.margin = better.worth - worse.worth
		}
		c.pair(better.Answer, worse.Answer)
	})
}

// eachTwo calls f with every two answers, the better first, in the list's order.
func eachTwo(answers []scored, f func(better, worse scored)) {
	for i, a := range answers {
		for _, b := range answers[i+1:] {
			if a.worth < b.worth {
				f(b, a)
			} else {
				f(a, b)
			}
		}
	}
}
