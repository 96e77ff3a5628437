package corpus

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/count"
)

// said collects what the user should know of how examples became text, each thing once.
type said struct {
	found    []finding
	lines    []string // of templates
	noTokens []noTokens

	tokens    map[string]int // control tokens that literal text spells, by their texts
	spelt     finding        // the examples in which it does
	straddles finding        // those whose border lies within a token
	token     string         // of the first of these
}

// noTokens are a template's marks that are no tokens of the vocabulary.
type noTokens struct {
	template string
	marks    []string
}

// A finding is one thing that befell some examples.
type finding struct {
	what  string
	count int
	first data.Source
	last  data.Source
}

// of counts an example once, however often it is rendered for its answers.
func (s *said) of(src data.Source, what string) {
	i := slices.IndexFunc(s.found, func(f finding) bool { return f.what == what })
	if i < 0 {
		i = len(s.found)
		s.found = append(s.found, finding{what: what})
	}
	s.found[i].add(src)
}

func (f *finding) add(src data.Source) {
	if f.count == 0 {
		f.first = src
	}
	if f.count == 0 || f.last != src {
		f.count++
	}
	f.last = src
}

// control says that literal text spells a control token n times.
func (s *said) control(src data.Source, token string, n int) {
	if s.tokens == nil {
		s.tokens = map[string]int{}
	}
	s.tokens[token] += n
	s.spelt.add(src)
}

// straddle says that an example's border lies within a token.
func (s *said) straddle(src data.Source, token string) {
	if s.straddles.count == 0 {
		s.token = token
	}
	s.straddles.add(src)
}

// omitted says what a template has left out of an example.
func (s *said) omitted(src data.Source, t *template.Template, omissions []template.Omission) {
	for _, o := range omissions {
		s.of(src, fmt.Sprintf("chat template %s leaves out: %s", t.Name(), o.What))
	}
}

// template says what is peculiar to a template that is in use from now on.
func (s *said) template(t *template.Template) {
	if t.WritesDate() {
		s.lines = append(s.lines, fmt.Sprintf("chat template %s writes the date; every example is given %s, so "+
			"that equal data gives equal rows on every day",
			t.Name(), template.DefaultDate.Format("2006-01-02")))
	}
}

// marks says which of a template's marks are no tokens of the vocabulary. Each mark comes once.
func (s *said) marks(t *template.Template, marks []encode.NoToken) {
	for _, m := range marks {
		i := slices.IndexFunc(s.noTokens, func(n noTokens) bool { return n.template == t.Name() })
		if i < 0 {
			i = len(s.noTokens)
			s.noTokens = append(s.noTokens, noTokens{template: t.Name()})
		}
		s.noTokens[i].marks = append(s.noTokens[i].marks, fmt.Sprintf("%q (%s)", m.Text, count.Of(m.Tokens, "token")))
	}
}

// notes words it all.
func (s *said) notes() []string {
	out := slices.Clone(s.lines)
	for _, n := range s.noTokens {
		out = append(out, fmt.Sprintf("chat template %s writes marks that are no tokens of this vocabulary, and "+
			"are learned as ordinary text: %s",
			n.template, strings.Join(n.marks, ", ")))
	}
	for _, f := range s.found {
		out = append(out, fmt.Sprintf("%s: %s; the first at %s", count.Of(f.count, "example"), f.what, f.first))
	}
	if s.spelt.count > 0 {
		out = append(out, fmt.Sprintf("%s of literal text: control tokens of this model are spelt in it, and "+
			"are read as those tokens: %s; the first at %s; --control-tokens plain reads them as text",
			count.Of(s.spelt.count, "example"), s.spelling(), s.spelt.first))
	}
	if s.straddles.count > 0 {
		out = append(out, fmt.Sprintf("%s: what is given and what is to be written meet within a token, such as "+
			"%q in the first, at %s: a model that is given the one never stands where it learned to begin the other; "+
			"let the prompt end before a space or a line end, and the answer begin with it",
			count.Of(s.straddles.count, "example"), s.token, s.straddles.first))
	}
	return out
}

// spelling lists the control tokens that literal text spells, the most frequent first.
func (s *said) spelling() string {
	const most = 8
	names := slices.SortedFunc(maps.Keys(s.tokens), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.tokens[b], s.tokens[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(most, len(names))] {
		parts = append(parts, fmt.Sprintf("%q (%d)", name, s.tokens[name]))
	}
	if len(names) > most {
		parts = append(parts, count.Of(len(names)-most, "other"))
	}
	return strings.Join(parts, ", ")
}
