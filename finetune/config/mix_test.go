package config

import (
	"errors"
	"strings"
	"testing"
)

// TestMixes: a file's name may hold colons; what is no share is refused with the settings, and so is a method that
// compares answers.
func TestMixes(t *testing.T) {
	for _, tc := range []struct {
		mix    []string
		method string
		want   string // of the error
	}{
		{[]string{"a:b.jsonl:0.1", "c:0.25"}, "sft", ""},
		{[]string{"old.jsonl"}, "sft", `--mix: "old.jsonl" names no file with a share; expected FILE:SHARE`},
		{[]string{":0.5"}, "sft", "names no file"},
		{[]string{"a:1.5"}, "cpt", `the share is "1.5"`},
		{[]string{"a:NaN"}, "cpt", `the share is "NaN"`},
		{[]string{"a:ten"}, "cpt", `the share is "ten"`},
		{[]string{"a:0.5", "b:0.5"}, "cpt", "the shares add up to 1; expected less"},
		{[]string{"a:0.5"}, "dpo", "--mix is given with --method dpo, which compares answers"},
		{[]string{"a:0.5"}, "sft,dpo", "which compares answers"},
		{[]string{"a:0.5"}, "distill", "--mix is given with --method distill, whose teacher is asked about --data"},
	} {
		c := Default()
		c.Model, c.Data, c.Output, c.Mix, c.Method = "m", []string{"d"}, "o", tc.mix, tc.method
		err := c.Validate()
		var wrong *Error
		if (err == nil) != (tc.want == "") || err != nil && (!errors.As(err, &wrong) ||
			!strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: got %v, want %q", tc.mix, err, tc.want)
		}
		if err == nil {
			m, _ := c.Mixes()
			if m[0].Path != "a:b.jsonl" || m[0].Share != 0.1 || m[1].Path != "c" || m[1].Share != 0.25 {
				t.Errorf("got %+v", m)
			}
		}
	}
}
