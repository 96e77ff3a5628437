package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// TextGroups is texts that belong together, and others that do not, under the names that sentence-transformers' users
// have: an anchor with a positive, or several of them, each of which is an example with all of the negatives.
var TextGroups = register(&Format{
	Name: "text-groups",
	Fields: `"anchor" (or "query", "question", "sentence1", "text1"), "positive" (or "positives", "pos", "answer", ` +
		`"document", "passage", "sentence2", "text2")[, "negative", "negatives", "negative_1", …]: a text or ` +
		`{"title", "text"}, or a list of them`,
	Priority: 60,
	Texts:    WantGroups,
	Match: func(r *Record) bool {
		return r.Any(anchorFields...) && firstOf(r, belongingFields) != ""
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		anchor, err := r.Text(firstOf(r, anchorFields))
		if err != nil {
			return err
		}
		positives, err := textsOf(r, firstOf(r, belongingFields))
		if err != nil {
			return err
		}
		var negatives []string
		for _, name := range negativesOf(r) {
			more, err := textsOf(r, name)
			if err != nil {
				return err
			}
			// A table has a cell where a row has no negative.
			negatives = append(negatives, slices.DeleteFunc(more,
				func(s string) bool { return strings.TrimSpace(s) == "" })...)
		}
		var margins []float64
		if o.Margins {
			if margins, err = groupMargins(r, len(positives), len(negatives)); err != nil {
				return err
			}
		}
		if len(positives) == 0 {
			add(Example{Source: r.Source, Kind: KindGroup, drop: "no text that belongs to the anchor"})
		}
		for i, p := range positives {
			e := Example{Source: r.Source, Kind: KindGroup, Texts: append([]string{anchor, p}, negatives...),
				Margins: margins}
			if len(positives) > 1 {
				e.Source.Sub = i + 1
			}
			add(e)
		}
		return nil
	},
})

// TextSets is lists of texts that all belong together: each with the next is an example.
var TextSets = register(&Format{
	Name:     "text-sets",
	Fields:   `"set": a list of two or more texts that belong together`,
	Priority: 50,
	Texts:    WantGroups,
	Match:    func(r *Record) bool { return r.Has("set") },
	Examples: func(r *Record, _ *Options, add func(Example)) error {
		set, err := textsOf(r, "set")
		if err != nil {
			return err
		}
		if len(set) < 2 {
			add(Example{Source: r.Source, Kind: KindGroup, drop: "a set of one text"})
		}
		for i := range max(len(set)-1, 0) {
			e := Example{Source: r.Source, Kind: KindGroup, Texts: set[i : i+2 : i+2]}
			if len(set) > 2 {
				e.Source.Sub = i + 1
			}
			add(e)
		}
		return nil
	},
})

// The names of the fields. The first is taken, of negatives all.
var (
	anchorFields    = []string{"anchor", "query", "question", "sentence1", "text1"}
	belongingFields = append(slices.Clone(positiveFields), "answer", "document", "passage", "sentence2", "text2")
)

// negativesOf lists the fields of texts that do not belong to the anchor.
func negativesOf(r *Record) (names []string) {
	for _, name := range r.Names() {
		if slices.Contains(negativeFields, name) || strings.HasPrefix(name, "negative_") {
			names = append(names, name)
		}
	}
	return names
}

// teacherFields are the names of the field that says what a teacher finds of a group. The first is taken.
var teacherFields = []string{"scores", "score", "labels", "label", "margins", "margin"}

// ErrNoScores is wrapped where a teacher's scores are asked for, and the data has none.
var ErrNoScores = errors.New("the data has no scores of a teacher")

// groupMargins reads by how much a teacher scores the positive above each of the negatives: that itself, or scores of
// the positive and of each negative, as sentence-transformers has them.
func groupMargins(r *Record, positives, negatives int) ([]float64, error) {
	field := firstOf(r, teacherFields)
	switch {
	case field == "":
		return nil, &Error{Source: r.Source, Err: ErrNoScores, Reason: "the fields are " + quoted(r.Names()) +
			`; expected "scores" (or "label", "margin"), by how much a teacher scores the positive above each ` +
			"negative, or its scores of all; or name a teacher (--teacher)"}
	case positives > 1:
		return nil, r.errorf("field %q scores a group, and there are %d positives; give each a record", field,
			positives)
	}
	v, _ := r.Get(field)
	items := []json.RawMessage{v}
	var err error
	if describe(embedded(v)) == "a list" {
		if items, err = listOf(v); err != nil {
			return nil, r.errorf("field %q: %v", field, err)
		}
	}
	out := make([]float64, len(items))
	for i, item := range items {
		var ok bool
		if out[i], ok = scoreOf(item); !ok {
			return nil, r.errorf("field %q has %s, %.40s; expected a number", field, describe(item), item)
		}
	}
	switch len(items) {
	case negatives:
		return out, nil
	case negatives + 1:
		positive := out[0]
		for i, negative := range out[1:] {
			out[i] = positive - negative
		}
		return out[:negatives], nil
	}
	return nil, r.errorf("field %q has %d numbers for a positive and %d negatives; expected one for each negative, by "+
		"how much the positive is above it, or one for each text", field, len(items), negatives)
}

// textsOf reads a text, or a list of them, each of which may have a title.
func textsOf(r *Record, field string) (out []string, err error) {
	v, _ := r.Get(field)
	if describe(v) == "null" {
		return nil, nil
	}
	items := []json.RawMessage{v}
	if describe(embedded(v)) == "a list" {
		if items, err = listOf(v); err != nil {
			return nil, r.errorf("field %q: %v", field, err)
		}
	}
	for _, item := range items {
		text, err := documentText(r, item)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// uncontrastable says why nothing can be learned from texts that belong together, or from two that are alike or not, or
// "".
func uncontrastable(e *Example) string {
	if e.drop != "" {
		return e.drop
	}
	for _, t := range e.Texts {
		if strings.TrimSpace(t) == "" {
			return "empty text"
		}
	}
	switch {
	case e.Kind != KindGroup:
	case e.Texts[0] == e.Texts[1]:
		return "the two texts are equal"
	case slices.Contains(e.Texts[2:], e.Texts[1]):
		return "the positive is among the negatives"
	}
	return ""
}

// unknownTexts says what a record lacks that has no texts to make vectors of, or not those that are wanted. Of plain
// texts the error is an *UnsuitedError.
func unknownTexts(r *Record, want Want) error {
	if Text.Match(r) && !r.Any(anchorFields...) {
		why := fmt.Sprintf("found texts alone, and this needs %v. Formats of those:%s", want, knownFormats(want))
		return &Error{Source: r.Source, Reason: why, Err: &UnsuitedError{Gives: WantAnswers, Reason: why}}
	}
	var found, cures []string
	look := func(what, to string, names []string) {
		if name := firstOf(r, names); name != "" {
			found = append(found, fmt.Sprintf("%q is %s", name, what))
			return
		}
		found = append(found, fmt.Sprintf("there is no %s (%s)", strings.TrimPrefix(what, "the "), quoted(names)))
		cures = append(cures, fmt.Sprintf("--columns %s=FIELD", to))
	}
	if want == WantGroups {
		look("the anchor", "anchor", anchorFields)
		look("the text that belongs to it", "positive", belongingFields)
	} else {
		look("the first text", "sentence1", likeNames(0))
		look("the second text", "sentence2", likeNames(1))
		look("the score", "score", likenessFields)
	}
	if len(cures) == 0 { // of one pair of names and of another
		cures = []string{"--columns sentence1=FIELD", "--columns sentence2=FIELD"}
	}
	return r.errorf("the fields are %s, and this needs %v: %s; rename them in the data, or say which fields are meant "+
		"(%s). Known formats and their fields:%s", quoted(r.Names()), want, strings.Join(found, ", "),
		strings.Join(cures, " "), knownFormats(want))
}
