// Package setting describes the numbers, and the choices between words, that parts of a run (methods, schedules,
// optimizers) can be told: each is declared once, beside the part that owns it, and flags, files, checks and help are
// made from that. It knows no part.
//
//	var beta = &setting.Setting{Name: "beta", Usage: "strength of the pull", Range: setting.Above(0, "above 0")}
//	…Reads: []setting.Use{beta.At(0.1)}…             who reads it, and with which default
//	values, unread, err := setting.Resolve(given, reads, offered)
//	values.Of(beta)
package setting

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Setting is one number that can be told to whoever reads it, or one of a few words.
type Setting struct {
	Name  string // of the flag, with dashes; a key of TOML has underscores
	Usage string // one line, on what it is; `WORD` names the value
	Range Range
	// Words are the names of its values: 0, 1, …, which older adapters hold, so that a new one goes to the end. See
	// Choice.
	Words []string
	// Default is that of all who read it; nil: each has its own.
	Default *float64
}

// A Range says which values a setting may have.
type Range struct {
	Expected string // in words: "0 to below 1"
	Holds    func(x float64) bool
}

// Above admits numbers above lo.
func Above(lo float64, expected string) Range {
	return Range{expected, func(x float64) bool { return x > lo && !math.IsInf(x, 0) }}
}

// AtLeast admits numbers from lo.
func AtLeast(lo float64, expected string) Range {
	return Range{expected, func(x float64) bool { return x >= lo && !math.IsInf(x, 0) }}
}

// Within admits numbers from lo to hi.
func Within(lo, hi float64, expected string) Range {
	return Range{expected, func(x float64) bool { return x >= lo && x <= hi }}
}

// Below admits numbers from lo to below hi.
func Below(lo, hi float64, expected string) Range {
	return Range{expected, func(x float64) bool { return x >= lo && x < hi }}
}

// Choice is a setting whose values are words.
func Choice(name, usage string, words ...string) *Setting {
	return &Setting{Name: name, Usage: usage, Words: words, Range: Range{
		Expected: strings.Join(words, ", "),
		Holds:    func(x float64) bool { return x >= 0 && x < float64(len(words)) && x == math.Trunc(x) },
	}}
}

// A Use is a setting that somebody reads, with the default that it has there.
type Use struct {
	Setting *Setting
	// Range is this reader's own; without Holds it is the setting's.
	Range Range
	// Default is NaN where a reader made of parts leaves it to them.
	Default float64
	// Few is the default of a run on fewer than Many examples; Many 0: there is no other.
	Few  float64
	Many int
}

// At is the use of a setting with that default.
func (s *Setting) At(x float64) Use { return Use{Setting: s, Default: x} }

// Word is the use of a choice with that default. It panics if there is no such word: the declaration is at fault.
func (s *Setting) Word(w string) Use {
	x, err := s.Parse(w)
	if err != nil {
		panic("setting: " + err.Error())
	}
	return s.At(x)
}

// In is the use with a range of its own.
func (u Use) In(r Range) Use {
	u.Range = r
	return u
}

// Check is Setting.Check with the reader's range.
func (u Use) Check(x float64) error {
	r := u.Range
	if r.Holds == nil {
		r = u.Setting.Range
	}
	if r.Holds(x) {
		return nil
	}
	return u.Setting.outside(x, r)
}

// Below is the use with another default for runs on fewer than n examples.
func (u Use) Below(n int, x float64) Use {
	u.Few, u.Many = x, n
	return u
}

// Use is the use of a setting with the default of all who read it. Without one it panics: the declaration is at fault.
func (s *Setting) Use() Use {
	if s.Default == nil {
		panic(fmt.Sprintf("setting: %s has no default of its own", s.Name))
	}
	return s.At(*s.Default)
}

// Reads finds the use of a setting.
func Reads(uses []Use, s *Setting) (Use, bool) {
	for _, u := range uses {
		if u.Setting == s {
			return u, true
		}
	}
	return Use{}, false
}

// Values are the values of settings, by name. What is not there is not given.
type Values map[string]float64

// Of is the value of a setting: the one that is there, or the default of all who read it. It panics without either: who
// asks has not declared that it reads the setting.
func (v Values) Of(s *Setting) float64 {
	x, ok := v.Get(s)
	if !ok {
		panic(fmt.Sprintf("setting: %s is asked for and has no value", s.Name))
	}
	return x
}

// Word is the value of a choice.
func (v Values) Word(s *Setting) string { return s.Text(v.Of(s)) }

// Get is Of, ok whether there is a value.
func (v Values) Get(s *Setting) (x float64, ok bool) {
	if x, ok = v[s.Name]; !ok && s.Default != nil {
		return *s.Default, true
	}
	return x, ok
}

// Has says whether a value is there; a default of all who read it is not.
func (v Values) Has(s *Setting) bool { _, ok := v[s.Name]; return ok }

// Set gives a setting a value. Copies of v keep what they had.
func (v *Values) Set(name string, x float64) {
	c := Values{}
	maps.Copy(c, *v)
	c[name] = x
	*v = c
}

// A Slot is the place of one setting among values, as a pointer is a field's.
type Slot struct {
	Values  *Values
	Setting *Setting
}

// Get is Values.Get.
func (s Slot) Get() (x float64, ok bool) { return s.Values.Get(s.Setting) }

// Set is Values.Set.
func (s Slot) Set(x float64) { s.Values.Set(s.Setting.Name, x) }

// Resolve gives the values that a reader works with: what is given of the settings it uses, and its defaults for the
// rest. unread are those of the offered settings that are given and not used; a value that is the default of all says
// nothing. errs tell of every value out of its range.
func Resolve(given Values, uses []Use, offered []*Setting) (v Values, unread []*Setting, errs []error) {
	v = Values{}
	for _, u := range uses {
		if !math.IsNaN(u.Default) {
			v[u.Setting.Name] = u.Default
		}
	}
	for _, s := range offered {
		x, ok := given[s.Name]
		if !ok {
			continue
		}
		u, reads := Reads(uses, s)
		if !reads {
			if s.Default == nil || x != *s.Default {
				unread = append(unread, s)
			}
			continue
		}
		if err := u.Check(x); err != nil {
			errs = append(errs, err)
			continue
		}
		v[s.Name] = x
	}
	return v, unread, errs
}

// Check is an error if a value is out of the setting's range.
func (s *Setting) Check(x float64) error {
	if s.Range.Holds(x) {
		return nil
	}
	return s.outside(x, s.Range)
}

func (s *Setting) outside(x float64, r Range) error {
	return fmt.Errorf("--%s is %s; expected %s", s.Name, s.Text(x), r.Expected)
}

// Text is a value as people write it.
func (s *Setting) Text(x float64) string {
	if s.Words != nil && s.Range.Holds(x) {
		return s.Words[int(x)]
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// Parse is the value that a text stands for; a number may be out of range.
func (s *Setting) Parse(text string) (float64, error) {
	if s.Words != nil {
		if i := slices.Index(s.Words, text); i >= 0 {
			return float64(i), nil
		}
		return 0, fmt.Errorf("--%s is %q; expected %s", s.Name, text, s.Range.Expected)
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("--%s is %q; expected a number", s.Name, text)
	}
	return x, nil
}

// Readers are all parts of one kind, such as the methods.
type Readers struct {
	Kind string // what one is: "method"; also the option that chooses it
	List []Reader
}

// A Reader is one of them, with what it reads.
type Reader struct {
	Name string
	Uses []Use
}

// Settings lists what they read, each once: in the order of the readers, and before what stands behind it in its
// reader's own order.
func (r Readers) Settings() []*Setting {
	var out []*Setting
	for _, one := range r.List {
		for i, u := range one.Uses {
			if slices.Contains(out, u.Setting) {
				continue
			}
			at := len(out)
			if i+1 < len(one.Uses) {
				if next := slices.Index(out, one.Uses[i+1].Setting); next >= 0 {
					at = next
				}
			}
			out = slices.Insert(out, at, u.Setting)
		}
	}
	return out
}

// Of lists those that read a setting.
func (r Readers) Of(s *Setting) (names []string) {
	for _, one := range r.List {
		if _, ok := Reads(one.Uses, s); ok {
			names = append(names, one.Name)
		}
	}
	return names
}

// Help is the line that an option shows: with the range and who reads it, where each has a default of its own.
func (r Readers) Help(s *Setting) string {
	if s.Default != nil {
		return s.Usage
	}
	var who []string
	for _, one := range r.List {
		if u, ok := Reads(one.Uses, s); ok {
			x := one.Name + " " + s.Text(u.Default)
			if u.Many > 0 {
				x += fmt.Sprintf(" and below %d examples %g", u.Many, u.Few)
			}
			if u.Range.Holds != nil {
				x += ", there " + u.Range.Expected
			}
			who = append(who, x)
		}
	}
	value := "`NUMBER` "
	if s.Words != nil {
		value = "`WORD` "
	}
	return fmt.Sprintf("%s; %s%s (%s)", s.Usage, value, s.Range.Expected, strings.Join(who, ", "))
}

// Check tells of faults in declarations, which no user can cause: a setting without a name, usage or range, two of one
// name, a default out of range.
func (r Readers) Check() error {
	var errs []error
	names := map[string]bool{}
	for _, s := range r.Settings() {
		if s.Name == "" || s.Usage == "" || s.Range.Expected == "" || s.Range.Holds == nil || names[s.Name] {
			errs = append(errs, fmt.Errorf("a %s's setting is incomplete or declared twice: %+v", r.Kind, *s))
		}
		names[s.Name] = true
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, one := range r.List {
		for i, u := range one.Uses {
			if _, again := Reads(one.Uses[:i], u.Setting); again {
				errs = append(errs, fmt.Errorf("%s %s reads --%s twice", r.Kind, one.Name, u.Setting.Name))
			}
			if d := u.Setting.Default; d != nil && u.Default != *d {
				errs = append(errs,
					fmt.Errorf("%s %s has %g for --%s, whose default is %g", r.Kind, one.Name, u.Default,
						u.Setting.Name, *d))
			}
			if err := u.Check(u.Default); err != nil {
				errs = append(errs, fmt.Errorf("the default of %s %s: %w", r.Kind, one.Name, err))
			}
			if err := u.Check(u.Few); u.Many > 0 && err != nil {
				errs = append(errs, fmt.Errorf("the default of %s %s for few examples: %w", r.Kind, one.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}
