//go:build unix

package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/rivo/uniseg"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// shownAt is what a command prints on a terminal of so many columns; with 0, to a program.
func shownAt(t *testing.T, columns int, args ...string) string {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal to be had here: %v", err)
	}
	defer keys.Close()
	if err := pty.Setsize(keys, &pty.Winsize{Rows: 24, Cols: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	var stdout io.Writer = tty
	var plain strings.Builder
	if columns == 0 {
		stdout = &plain
	}
	shown := make(chan string)
	go func() {
		b, _ := io.ReadAll(keys) // the end of the other side is an error
		shown <- string(b)
	}()
	code := execute(t.Context(), append([]string{"ggtune"}, args...), strings.NewReader(""), stdout, os.Stderr)
	tty.Close()
	text := strings.ReplaceAll(<-shown, "\r\n", "\n")
	if code != exitDone {
		t.Fatalf("%v: exit code %d", args, code)
	}
	return text + plain.String()
}

// Tables fit the terminal, but for a word that is longer than a line; and no word is lost.
func TestTablesFit(t *testing.T) {
	t.Chdir(t.TempDir())
	spec := synth.Tiny("qwen2", gguf.Q8_0)
	spec.ChatTemplate, spec.Tokenizer = synth.ChatML, synth.Qwen2
	if err := os.Rename(synth.Temp(t, spec), "m.gguf"); err != nil {
		t.Fatal(err)
	}
	row := `{"messages":[{"role":"user","content":"two and two"},{"role":"assistant","content":"four"}]}` + "\n"
	if err := os.WriteFile("d.jsonl", []byte(strings.Repeat(row, 3)), 0o600); err != nil {
		t.Fatal(err)
	}
	run := []string{"-m", "m.gguf", "-d", "d.jsonl", "--steps", "1", "--threads", "1"}
	shownAt(t, 0, append([]string{"train", "-o", "run"}, run...)...)
	for _, tc := range []struct {
		columns int
		args    []string
	}{
		{40, []string{"inspect", "m.gguf", "--tensors"}},
		{40, []string{"inspect", "run/adapter.gguf"}},
		{40, []string{"inspect", "run"}},
		{40, []string{"inspect", "d.jsonl", "-m", "m.gguf", "--rows", "0"}},
		{40, append([]string{"plan", "--no-time"}, run...)},
		{80, []string{"runs"}},
		{40, []string{"runs"}},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			text, whole := shownAt(t, tc.columns, tc.args...), shownAt(t, 0, tc.args...)
			if widest(whole) <= tc.columns {
				t.Fatalf("fits without being fitted:\n%s", whole)
			}
			for line := range strings.Lines(text) {
				note := strings.HasPrefix(line, "note: ") // a sentence, whose commands may be copied
				if line = strings.TrimSuffix(line, "\n"); uniseg.StringWidth(line) > tc.columns && !note &&
					len(strings.Fields(line)) > 1 {
					t.Errorf("%d columns, want %d: %q", uniseg.StringWidth(line), tc.columns, line)
				}
			}
			for _, word := range strings.Fields(whole) {
				// What is free now is another figure than it was.
				if tc.args[0] != "plan" && !slices.Contains(strings.Fields(text), word) {
					t.Errorf("%q is lost", word)
				}
			}
			if wide := shownAt(t, 250, tc.args...); tc.args[0] != "plan" && wide != whole {
				t.Errorf("on a wide terminal: got\n%s, want\n%s", wide, whole)
			}
		})
	}
}
