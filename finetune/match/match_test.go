package match

import "testing"

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		match, pattern, text, want string
		right                      bool
	}{
		{"exact", "", " Paris \n", "Paris", true},
		{"exact", "", "a  b\tc", "a b c", true},
		{"exact", "", "paris", "Paris", false},
		{"exact", "", "", "Paris", false},
		{"number", "", "5 apples and 3 pears make 8.", "#### 8", true},
		{"number", "", "She has $1,000 left", "1000.00", true},
		{"number", "", "12/60 = $0.2 per minute", ".20", true},
		{"number", "", "it is -7", "-7", true},
		{"number", "", "10-7", "-7", false},
		{"number", "", "10-7", "7", true},
		{"number", "", "x=-3.5 degrees", "-3.5", true},
		{"number", "", "#### 42 because 6 times 7", "42", true},
		{"number", "", "room B12", "12", false},
		{"number", "", "50%", "50", true},
		{"number", "", "1,2,3", "3", true},
		{"number", "", "none", "3", false},
		{"number", "", `so \boxed{12}, of 5`, "12", true},
		{"number", "", `so \boxed{none}, of 5`, "5", false},
		{"number", "", `so \boxed{2 + 3}`, "3", false},
		{"number", "", `so \boxed{\frac{1}{2}}`, "0.5", true},
		{"number", "", `so \boxed{-3/4}`, "-.75", true},
		{"number", "", `so \boxed{1/0}`, "1", false},
		{"number", "", `so \boxed{$1,200}`, "1200", true},
		{"number", "Answer:", "1 and 2. Answer: 3 apples of 4", "#### 4", true},
		{"number", "Answer:", "1 and 2", "2", false},
		{"exact", "Answer:", "No. Answer: a\nAnswer: \n\n b  c \nwell", "b c", true},
		{"exact", "Answer:", "b", "b", false},
		{"exact", "Answer:", "Answer: b", "It is so. Answer: b", true},
		{"exact", "Answer:", "Answer:\n", "b", false},
		{"exact", Boxed, `\boxed{1} or \boxed{\frac{1}{2}}.`, `\frac{1}{2}`, true},
		{"exact", Boxed, `\boxed{a\boxed{b}}`, `is \boxed{a\boxed{b}}`, true},
		{"exact", Boxed, `\boxed{a} \boxed{b}`, `b`, true},
		{"exact", Boxed, `\boxed{b`, `b`, false},
		{"regex", `answer is \(?([A-D])\)?`, "The answer is (C), not what answer is B? The answer is (D).",
			"answer is D", true},
		{"regex", `[A-D]`, "A or B", "B", true},
		{"regex", `[A-D]`, "neither", "B", false},
	} {
		m, err := New(tc.match, tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		want, err := m.Wanted(tc.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Right(tc.text, want); got != tc.right {
			t.Errorf("%s: %q for %q (%s): got %v, want %v", tc.match, tc.text, tc.want, want, got, tc.right)
		}
	}
	m, _ := New("number", "")
	if _, err := m.Wanted("none"); err == nil {
		t.Error("an answer without a number is accepted")
	}
	if _, err := m.Wanted(`\boxed{1/0}`); err == nil {
		t.Error("a fraction without a value is accepted")
	}
	for _, wrong := range [][2]string{{"fuzzy", ""}, {"regex", "("}, {"regex", ""}} {
		if _, err := New(wrong[0], wrong[1]); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}
