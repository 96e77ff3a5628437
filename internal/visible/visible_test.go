package visible

import "testing"

func TestEscape(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"plain größe 日本", "plain größe 日本"},
		{"a\u202eb", `a\u202eb`}, {"\u2066x\u2069", `\u2066x\u2069`}, {"\ufeff", `\ufeff`},
		{"\U000e0041", `\U000e0041`},
		{"नि\u200d👨\u200d👩 می\u200cخواهم", "नि\u200d👨\u200d👩 می\u200cخواهم"}, // belong to the spelling
		{"\x1b[31m\xff", "\x1b[31m\xff"},
	} {
		if got := Escape(c.text); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
