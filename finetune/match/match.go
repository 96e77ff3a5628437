// Package match says whether a text holds the answer that is wanted. It knows no model and no data.
package match

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// A Match says when an answer is right, beside the one that the data gives.
type Match struct {
	Name string
	// marker is what the answer stands behind; "": it is in the whole text.
	marker string
	// answer gives what is compared of a text; false: it holds none.
	answer func(text string) (string, bool)
	what   string // that is looked for
}

// Names lists the names of the ways to compare.
func Names() []string { return []string{"exact", "number", "regex"} }

// New gives the way of that name. arg is regex's pattern, and for the others the marker that an answer stands behind
// (Boxed: what it stands in), or "".
func New(name, arg string) (*Match, error) {
	m := &Match{Name: name}
	switch name {
	case "exact":
		m.what, m.answer, m.marker = "text", exact, arg
	case "number":
		m.what, m.answer, m.marker = "number", number, arg
	case "regex":
		re, err := regexp.Compile(arg)
		if err != nil || arg == "" {
			return nil, fmt.Errorf("--pattern %q is no regular expression: %w", arg, err)
		}
		m.what, m.answer = "match of "+arg, func(text string) (string, bool) { return last(re, text) }
	default:
		return nil, fmt.Errorf("--match is %q; expected %s", name, strings.Join(Names(), ", "))
	}
	return m, nil
}

// Wanted gives what a right answer holds, from the one in the data, which needs no marker.
func (m *Match) Wanted(text string) (string, error) {
	part, ok := text, true
	if marked, ok := behind(text, m.marker); ok {
		part = marked
	}
	if part, ok = m.answer(part); !ok {
		return "", fmt.Errorf("the answer %q holds no %s to compare with", text, m.what)
	}
	return part, nil
}

// Right says whether a text holds what is wanted.
func (m *Match) Right(text, want string) bool {
	text, ok := behind(text, m.marker)
	if !ok {
		return false
	}
	got, ok := m.answer(text)
	return ok && got == want
}

// Boxed is the marker of answers in a box, as LaTeX writes one: \boxed{42}.
const Boxed = `\boxed`

// behind gives the text behind the last marker: the first line there that says something; of Boxed what the last box
// holds. All of it where there is no marker to look for.
func behind(text, marker string) (string, bool) {
	if marker == "" {
		return text, true
	}
	if marker == Boxed {
		return inBox(text)
	}
	i := strings.LastIndex(text, marker)
	if i < 0 {
		return "", false
	}
	for line := range strings.Lines(text[i+len(marker):]) {
		if line = strings.TrimSpace(line); line != "" {
			return line, true
		}
	}
	return "", false
}

// inBox gives what the last box of a text holds, with the boxes within it.
func inBox(text string) (box string, ok bool) {
	for {
		_, rest, found := strings.Cut(text, Boxed+"{")
		if !found {
			return box, ok
		}
		text = rest
		if inner, closed := braced(rest); closed {
			box, ok, text = inner, true, rest[len(inner):]
		}
	}
}

// braced gives what stands before the brace that closes the one before the text.
func braced(text string) (string, bool) {
	depth := 1
	for i, c := range text {
		switch c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return text[:i], true
			}
		}
	}
	return "", false
}

// exact takes the whole text, white space at its ends aside and each run of it as one space.
func exact(text string) (string, bool) {
	text = strings.Join(strings.Fields(text), " ")
	return text, text != ""
}

// numbers are digits with or without commas between thousands, a sign and a fraction. A sign behind a digit or a letter
// is a minus or a hyphen.
var numbers = regexp.MustCompile(`(?:^|[^\w.)\]])(-?)[$€£]?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)`)

// fraction is one of LaTeX, or a plain one, and nothing beside it.
var fraction = regexp.MustCompile(`^\$?(-?)(?:\\[dt]?frac\{(\d+)\}\{(\d+)\}|(\d+)/(\d+))\$?$`)

// number takes the last number of a text; or the first behind "####", as GSM8K marks its answers (Cobbe et al. 2021);
// or the one in its last box, as MATH does (Hendrycks et al. 2021), where a fraction is one. 1,000 and 1000.0 are one.
func number(text string) (string, bool) {
	if i := strings.LastIndex(text, "####"); i >= 0 {
		all := numbers.FindAllStringSubmatch(text[i+len("####"):], 1)
		return first(all)
	}
	if box, ok := inBox(text); ok {
		box = strings.TrimSpace(box)
		if f := fraction.FindStringSubmatch(box); f != nil {
			return rational(f[1] + f[2] + f[4] + "/" + f[3] + f[5])
		}
		all := numbers.FindAllStringSubmatch(box, -1)
		if len(all) > 1 { // a sum, a pair: no number
			return "", false
		}
		return first(all)
	}
	all := numbers.FindAllStringSubmatch(text, -1)
	return first(all[max(0, len(all)-1):])
}

// first gives the first number of those that were found.
func first(all [][]string) (string, bool) {
	if len(all) == 0 {
		return "", false
	}
	return rational(all[0][1] + strings.ReplaceAll(all[0][2], ",", ""))
}

func rational(text string) (string, bool) {
	x, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false
	}
	return x.RatString(), true
}

// last gives what the first group of a pattern holds in its last match, or the whole match where it has no group.
func last(re *regexp.Regexp, text string) (string, bool) {
	all := re.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return "", false
	}
	m := all[len(all)-1]
	if len(m) > 1 {
		return m[1], true
	}
	return m[0], true
}
