package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"github.com/urfave/cli/v2"
)

// helpOf is what a command's help, or with "" the program's, prints.
func helpOf(t *testing.T, command string) string {
	t.Helper()
	args := slices.DeleteFunc([]string{"ggtune", command, "--help"}, func(s string) bool { return s == "" })
	var out bytes.Buffer
	if code := execute(t.Context(), args, strings.NewReader(""), &out, io.Discard); code != exitDone {
		t.Fatalf("%s: exit code %d", command, code)
	}
	return out.String()
}

// TestHelpFits: the help of every command fits the terminal, 80 columns where there is none; only examples and names of
// options may be wider; and no word is lost.
func TestHelpFits(t *testing.T) {
	defer func(was func(io.Writer, string, any)) { cli.HelpPrinter = was }(cli.HelpPrinter)
	for _, name := range append(commandNames(newApp(nil, nil, nil)), "") {
		if name == "help" {
			continue
		}
		cli.HelpPrinter = printHelp
		shown := helpOf(t, name)
		cli.HelpPrinter = func(w io.Writer, templ string, data any) { cli.HelpPrinterCustom(w, templ, data, nil) }
		whole := helpOf(t, name)
		if want := wrapHelp(whole, 80); shown != want {
			t.Errorf("%q, without a terminal: got\n%s", name, shown)
		}
		for _, columns := range []int{40, 80, 120} {
			text := wrapHelp(whole, columns)
			if !slices.Equal(strings.Fields(text), strings.Fields(whole)) {
				t.Errorf("%q at %d columns has other words", name, columns)
			}
			for _, line := range strings.Split(text, "\n") {
				asItIs := slices.ContainsFunc([]string{"  ggtune ", "  llama-", "  -"},
					func(s string) bool { return strings.HasPrefix(line, s) })
				if w := uniseg.StringWidth(line); w > columns && !asItIs {
					t.Errorf("%q: %d columns, want %d: %q", name, w, columns, line)
				}
			}
		}
	}
}

func TestWrapHelp(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"fits", "one two\nthree\n", "one two\nthree\n"},
		{"paragraph", "one two three four five six seven eight nine\nten\n\nnext\n",
			"one two three four five six seven eight\nnine ten\n\nnext\n"},
		{"beside", "  --a  one two three four five six seven eight\n",
			"  --a  one two three four five six seven\n       eight\n"},
		{"below", "  --a-long-name X   one two three four five six seven\n",
			"  --a-long-name X\n      one two three four five six seven\n"},
		{"example", "  ggtune train -m model.gguf -d data.jsonl -o run\n",
			"  ggtune train -m model.gguf -d data.jsonl -o run\n"},
	} {
		if got := wrapHelp(tc.text, 40); got != tc.want {
			t.Errorf("%s: got\n%s, want\n%s", tc.name, got, tc.want)
		}
	}
}
