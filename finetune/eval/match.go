package eval

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// A Match says when an answer is right, beside the one that the data gives.
type Match struct {
	Name string
	// answer gives what is compared of a text; false: it holds none.
	answer func(text string) (string, bool)
	what   string // that is looked for
}

// Matches lists the names of the ways to compare.
func Matches() []string { return []string{"exact", "number", "regex"} }

// NewMatch gives the way of that name. pattern is regex's.
func NewMatch(name, pattern string) (*Match, error) {
	m := &Match{Name: name}
	switch name {
	case "exact":
		m.what, m.answer = "text", exact
	case "number":
		m.what, m.answer = "number", number
	case "regex":
		re, err := regexp.Compile(pattern)
		if err != nil || pattern == "" {
			return nil, fmt.Errorf("--pattern %q is no regular expression: %w", pattern, err)
		}
		m.what, m.answer = "match of "+pattern, func(text string) (string, bool) { return last(re, text) }
	default:
		return nil, fmt.Errorf("--match is %q; expected %s", name, strings.Join(Matches(), ", "))
	}
	return m, nil
}

// Wanted gives what a right answer holds, from the one in the data.
func (m *Match) Wanted(text string) (string, error) {
	want, ok := m.answer(text)
	if !ok {
		return "", fmt.Errorf("the answer %q holds no %s to compare with", text, m.what)
	}
	return want, nil
}

// Right says whether a text holds what is wanted.
func (m *Match) Right(text, want string) bool {
	got, ok := m.answer(text)
	return ok && got == want
}

// exact takes the whole text, white space at its ends aside and each run of it as one space.
func exact(text string) (string, bool) {
	text = strings.Join(strings.Fields(text), " ")
	return text, text != ""
}

// numbers are digits with or without commas between thousands, a sign and a fraction. A sign behind a digit or a letter
// is a minus or a hyphen.
var numbers = regexp.MustCompile(`(?:^|[^\w.)\]])(-?)[$€£]?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)`)

// number takes the last number of a text, or the first behind "####", as GSM8K marks its answers (Cobbe et al. 2021).
// 1,000 and 1000.0 are one.
func number(text string) (string, bool) {
	at := func(all [][]string) []string { return all[len(all)-1] }
	if i := strings.LastIndex(text, "####"); i >= 0 {
		text = text[i+len("####"):]
		at = func(all [][]string) []string { return all[0] }
	}
	all := numbers.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return "", false
	}
	found := at(all)
	x, ok := new(big.Rat).SetString(found[1] + strings.ReplaceAll(found[2], ",", ""))
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
