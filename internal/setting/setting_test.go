package setting

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

var (
	pull  = &Setting{Name: "pull", Usage: "strength of the pull", Range: Above(0, "above 0")}
	rise  = &Setting{Name: "rise", Usage: "rise over `N` steps", Range: Below(0, 100, "steps"), Default: new(3.0)}
	fall  = &Setting{Name: "fall", Usage: "fall to a `FRACTION`", Range: Within(0, 1, "0 to 1"), Default: new(0.0)}
	parts = Readers{"part",
		[]Reader{{"a", []Use{rise.Use(), pull.At(0.1)}}, {"b", []Use{rise.Use(), fall.Use(), pull.At(2)}}}}
)

func TestRanges(t *testing.T) {
	for _, tc := range []struct {
		name    string
		r       Range
		in, out []float64
	}{
		{"above", Above(0, ""), []float64{1e-300, 7}, []float64{0, -1}},
		{"at least", AtLeast(0, ""), []float64{0, 7}, []float64{-1e-300}},
		{"within", Within(0, 1, ""), []float64{0, 1}, []float64{-1e-300, 1.1}},
		{"below", Below(0, 1, ""), []float64{0, 0.9}, []float64{-1, 1}},
	} {
		for _, x := range tc.in {
			if !tc.r.Holds(x) {
				t.Errorf("%s refuses %g", tc.name, x)
			}
		}
		for _, x := range append(tc.out, math.NaN(), math.Inf(1), math.Inf(-1)) {
			if tc.r.Holds(x) {
				t.Errorf("%s admits %g", tc.name, x)
			}
		}
	}
}

func TestResolve(t *testing.T) {
	for _, tc := range []struct {
		name   string
		given  Values
		reader int
		want   Values
		unread []*Setting
		err    string
	}{
		{"defaults", nil, 0, Values{"pull": 0.1, "rise": 3}, nil, ""},
		{"given", Values{"pull": 1, "rise": 0}, 1, Values{"pull": 1, "rise": 0, "fall": 0}, nil, ""},
		{"not read", Values{"fall": 0.5}, 0, Values{"pull": 0.1, "rise": 3}, []*Setting{fall}, ""},
		{"a default of all says nothing", Values{"fall": 0}, 0, Values{"pull": 0.1, "rise": 3}, nil, ""},
		{"of another kind", Values{"other": 7}, 0, Values{"pull": 0.1, "rise": 3}, nil, ""},
		{"out of range", Values{"pull": 0, "rise": 100}, 0, Values{"pull": 0.1, "rise": 3}, nil,
			"--rise is 100; expected steps --pull is 0; expected above 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, unread, errs := Resolve(tc.given, parts.List[tc.reader].Uses, parts.Settings())
			var texts []string
			for _, err := range errs {
				texts = append(texts, err.Error())
			}
			if !maps.Equal(got, tc.want) || !slices.Equal(unread, tc.unread) || strings.Join(texts, " ") != tc.err {
				t.Errorf("got %v, unread %v, errors %q; want %v, %v, %q", got, unread, texts, tc.want, tc.unread,
					tc.err)
			}
		})
	}
	left, _, _ := Resolve(nil, []Use{pull.At(math.NaN())}, parts.Settings())
	if left.Has(pull) {
		t.Errorf("what is left to the parts has a value: %v", left)
	}
}

func TestValues(t *testing.T) {
	var v Values
	v.Set("pull", 1)
	copied := v
	Slot{&v, pull}.Set(2)
	if copied.Of(pull) != 1 || v.Of(pull) != 2 {
		t.Errorf("got %g in the copy and %g, want 1 and 2", copied.Of(pull), v.Of(pull))
	}
	if x, ok := (Slot{&v, rise}).Get(); x != 3 || !ok || v.Has(rise) {
		t.Errorf("what has a default of its own: got %g, %v, there %v; want 3, true, false", x, ok, v.Has(rise))
	}
	if x, ok := (Values)(nil).Get(pull); ok {
		t.Errorf("what nobody gave is %g", x)
	}
	defer func() {
		if recover() == nil {
			t.Error("what nobody gave was read")
		}
	}()
	(Values)(nil).Of(pull)
}

func TestReaders(t *testing.T) {
	if got := parts.Settings(); !slices.Equal(got, []*Setting{rise, fall, pull}) {
		t.Errorf("settings: got %v", got)
	}
	if got := parts.Of(fall); !slices.Equal(got, []string{"b"}) {
		t.Errorf("readers of fall: got %v, want b", got)
	}
	for s, want := range map[*Setting]string{pull: "strength of the pull; `NUMBER` above 0 (a 0.1, b 2)",
		rise: "rise over `N` steps"} {
		if got := parts.Help(s); got != want {
			t.Errorf("help: got %q, want %q", got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := parts.Check(); err != nil {
		t.Error(err)
	}
	for want, r := range map[string][]Use{
		"incomplete":               {(&Setting{Name: "x"}).At(0)},
		"declared twice":           {pull.At(1), (&Setting{Name: "pull", Usage: "u", Range: pull.Range}).At(1)},
		"reads --pull twice":       {pull.At(1), pull.At(1)},
		"has 4 for --rise":         {rise.At(4)},
		"for few examples":         {pull.At(1).Below(9, -1)},
		"the default of part x: -": {pull.At(-1)},
	} {
		if err := (Readers{"part", []Reader{{"x", r}}}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestChoice: the values of a choice are its words, and nothing else.
func TestChoice(t *testing.T) {
	c := Choice("form", "what form it has", "round", "square")
	for x, want := range map[float64]string{0: "round", 1: "square"} {
		if got, err := c.Parse(want); err != nil || got != x || c.Text(x) != want || c.Check(x) != nil {
			t.Errorf("%s: got %g, %v, %q, %v", want, got, err, c.Text(x), c.Check(x))
		}
	}
	for _, x := range []float64{-1, 2, 0.5, math.NaN(), math.Inf(1)} {
		if c.Check(x) == nil {
			t.Errorf("%g is a value", x)
		}
	}
	if _, err := c.Parse("flat"); err == nil || err.Error() != `--form is "flat"; expected round, square` {
		t.Errorf("a word that it does not have: %v", err)
	}
	if _, err := pull.Parse("flat"); err == nil || !strings.Contains(err.Error(), "expected a number") {
		t.Errorf("a word for a number: %v", err)
	}
	r := Readers{"part", []Reader{{"a", []Use{c.Word("square")}}}}
	if got, want := r.Help(c), "what form it has; `WORD` round, square (a square)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if v, _, _ := Resolve(Values{"form": 0}, r.List[0].Uses, r.Settings()); v.Word(c) != "round" {
		t.Errorf("got %q", v.Word(c))
	}
}

// TestRangeOfAUse: a reader may have a range of its own.
func TestRangeOfAUse(t *testing.T) {
	uses := []Use{pull.At(0).In(AtLeast(0, "0 or more"))}
	r := Readers{"part", []Reader{{"a", uses}, {"b", []Use{pull.At(2)}}}}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	if _, _, errs := Resolve(Values{"pull": 0}, uses, r.Settings()); errs != nil {
		t.Error(errs)
	}
	_, _, errs := Resolve(Values{"pull": -1}, uses, r.Settings())
	if len(errs) != 1 || errs[0].Error() != "--pull is -1; expected 0 or more" {
		t.Errorf("got %v", errs)
	}
	want := "strength of the pull; `NUMBER` above 0 (a 0, there 0 or more, b 2)"
	if got := r.Help(pull); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
