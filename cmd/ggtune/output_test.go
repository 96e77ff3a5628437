package main

import "testing"

func TestColours(t *testing.T) {
	for _, tc := range []struct {
		term, noColor string
		want          bool
	}{
		{"xterm-256color", "", true}, {"xterm-256color", "1", false},
		{"linux", "", true}, {"dumb", "", false}, {"", "", false},
	} {
		env := map[string]string{"TERM": tc.term, "NO_COLOR": tc.noColor}
		if got := colours(func(name string) string { return env[name] }); got != tc.want {
			t.Errorf("TERM %q, NO_COLOR %q: got %v, want %v", tc.term, tc.noColor, got, tc.want)
		}
	}
}

// TestShellWord: what is told to be typed is one word to a shell.
func TestShellWord(t *testing.T) {
	for name, want := range map[string]string{"run": "run", "näme/x-1.gguf": "näme/x-1.gguf", "a b": "'a b'",
		"it's": `'it'\''s'`, "$HOME": "'$HOME'", "": "''", "a;b": "'a;b'"} {
		if got := shellWord(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}
