package data

import (
	"encoding/json"
	"strings"
)

// Rerank is a query with one document and whether it is relevant, as rerankers learn from it. The query becomes the
// user's turn, and the document the answer.
var Rerank = register(&Format{
	Name:       "rerank",
	Fields:     `"query", "document" or "passage", and "relevant" or "label": true or false, 1 or 0`,
	Priority:   80,
	Preference: true,
	Verdicts:   true,
	Match: func(r *Record) bool {
		return r.Has("query") && r.Any(documentFields...) && r.Any(relevantField, "label")
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		c, err := ranking(r, o, add)
		if err != nil {
			return err
		}
		v, _ := r.Get(firstOf(r, documentFields))
		document, err := documentOf(r, v)
		if err != nil {
			return err
		}
		field := firstOf(r, []string{relevantField, "label"})
		worth, _ := r.Get(field)
		good, ok := verdictOf(worth)
		if !ok {
			if !isBit(worth) {
				return r.errorf("field %q is %s, %.40s; expected true (relevant) or false, or 1 or 0", field,
					describe(worth), worth)
			}
			s, isText := asText(worth)
			if !isText {
				s = strings.TrimSpace(string(worth))
			}
			good = s == "1"
		}
		c.verdict(document, good)
		return nil
	},
})

// RerankLists is a query with relevant documents and others: every relevant one against every other, which weigh as
// much as one pair together; or, where verdicts are wanted, each by itself.
var RerankLists = register(&Format{
	Name: "rerank-lists",
	Fields: `"query" or "anchor", "positives" (or "positive", "pos", "positive_passages") and "negatives" (…): a ` +
		`text or {"title", "text"}, or a list of them`,
	Priority:   80,
	Preference: true,
	Match: func(r *Record) bool {
		return r.Any(queryFields...) && r.Any(positiveFields...) && r.Any(negativeFields...)
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		c, err := ranking(r, o, add)
		if err != nil {
			return err
		}
		if o.Margins {
			return r.errorf("a margin is asked for (--margin), and documents are relevant or not; leave --margin out")
		}
		c.many = true
		good, err := documentsOf(r, firstOf(r, positiveFields))
		if err != nil {
			return err
		}
		bad, err := documentsOf(r, firstOf(r, negativeFields))
		if err != nil {
			return err
		}
		switch {
		case o.Want == WantVerdicts || o.Each:
			for _, d := range good {
				c.verdict(d, true)
			}
			for _, d := range bad {
				c.verdict(d, false)
			}
		case len(good) == 0 || len(bad) == 0:
			c.nothing("no relevant document, or no other")
		default:
			pairs := 0
			for _, g := range good {
				for _, b := range bad {
					if unlearnable(c.two(g, b)) == "" {
						pairs++
					}
				}
			}
			c.weight = 1 / float64(max(pairs, 1))
			for _, g := range good {
				for _, b := range bad {
					c.pair(g, b)
				}
			}
		}
		return nil
	},
})

// The names of the fields of both. The first is taken.
var (
	queryFields    = []string{"query", "anchor"}
	documentFields = []string{"document", "passage"}
	positiveFields = []string{"positives", "positive", "pos", "positive_passages"}
	negativeFields = []string{"negatives", "negative", "neg", "negative_passages"}
)

const relevantField = "relevant"

// ranking is the query as a prompt.
func ranking(r *Record, o *Options, add func(Example)) (*choices, error) {
	turns, err := userTurn(r, firstOf(r, queryFields))
	if err != nil {
		return nil, err
	}
	return newChoices(r, o, side{chat: true, turns: turns}, add)
}

// documentsOf reads one document or a list of them.
func documentsOf(r *Record, field string) (out []Answer, err error) {
	v, _ := r.Get(field)
	items := []json.RawMessage{v}
	if describe(embedded(v)) == "a list" {
		if items, err = listOf(v); err != nil {
			return nil, r.errorf("field %q: %v", field, err)
		}
	}
	for _, item := range items {
		d, err := documentOf(r, item)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// documentOf is a document as an answer.
func documentOf(r *Record, v json.RawMessage) (Answer, error) {
	text, err := documentText(r, v)
	return Answer{Messages: []Message{{Role: Assistant, Content: text}}}, err
}

// documentText reads a document: a text, or an object with one and perhaps a title, which then stands above it.
func documentText(r *Record, v json.RawMessage) (string, error) {
	text, ok := asText(v)
	if !ok {
		fields, err := parseObject(v)
		if err != nil {
			return "", r.errorf("a document is %s, %.40s; expected a text, or an object with \"text\"",
				describe(v), v)
		}
		x := r.inner("document", fields)
		if !x.Has("text") {
			return "", r.errorf("a document has the fields %s; expected \"text\"", quoted(x.Names()))
		}
		if text, err = x.Text("text"); err != nil {
			return "", err
		}
		if x.Has("title") {
			title, err := x.Text("title")
			if err != nil {
				return "", err
			}
			if strings.TrimSpace(title) != "" {
				text = title + "\n\n" + text
			}
		}
		x.end()
	}
	return text, nil
}
