//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

const ctrlC, ctrlD, up = "\x03", "\x04", "\x1b[A"

// progress is what stands on the line before a slow answer begins.
var progress = regexp.MustCompile(`\r(read, \d+ s| +)`)

// A person stops answers and not the program, edits lines, finds earlier ones again, and saves what was said.
func TestChatOnTerminal(t *testing.T) {
	dir := t.TempDir()
	spec := synth.Tiny("qwen2", gguf.F32)
	spec.ChatTemplate, spec.Tokenizer = synth.ChatML, synth.Qwen2
	model, talks := synth.Temp(t, spec), filepath.Join(dir, "talks.jsonl")
	env := []string{"XDG_CONFIG_HOME=" + dir, "HOME=" + dir}
	// An answer lasts until it is stopped.
	args := []string{"chat", "-m", model, "--ctx", "30000", "--threads", "1"}
	o := startOnTerminal(t, env, args...)
	o.waits(model + "; context of 30000 tokens")
	o.waits("Commands: /base /adapter /again /system /reset /save /help /quit")
	o.waits("\n> ")
	stopAnswer := func() {
		t.Helper()
		o.waits("\r\n") // of the line typed; then of the answer
		for begin := o.length(); len(progress.ReplaceAllString(o.since(begin), "")) < 20; {
			time.Sleep(10 * time.Millisecond)
		}
		if got := o.mode(); !reflect.DeepEqual(got, o.started) {
			t.Errorf("while it answers the terminal is set as %+v, want %+v: a fault would leave it so", got, o.started)
		}
		time.Sleep(2 * sameSignal) // late enough to be another key press
		o.types(ctrlC)
		o.waits("note: stopped; what was said is remembered, /again answers anew")
		o.waits("\n> ")
	}
	o.types("one\r")
	stopAnswer()
	o.types("/sa\t")
	o.waits("/save")
	o.types(" " + talks + "\r")
	o.waits("saved: " + talks + " holds 1 conversation; 1 answer not ended by the model")
	o.waits("\n> ")
	o.types(up + up)
	o.waits("> one")
	o.types(" more\x1b[Dx\r") // to the left, then a letter
	o.waits("one morxe")
	stopAnswer()
	o.types("half a line" + ctrlC)
	o.waits("(Ctrl-C again at once, Ctrl-D or /quit ends)")
	o.waits("> ")
	o.types(ctrlD)
	o.ends(exitDone)

	history := filepath.Join(dir, "ggtune", "chat-history")
	st, err := os.Stat(history)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o600 {
		t.Errorf("the history's mode is %v, want 0600", st.Mode())
	}
	text, err := os.ReadFile(history)
	if want := "one\n/save " + talks + "\none morxe\n"; err != nil || string(text) != want {
		t.Errorf("history %q, %v, want %q", text, err, want)
	}

	o = startOnTerminal(t, env, args...)
	o.waits("\n> ")
	o.types(up)
	o.waits("> one morxe")
	o.types(ctrlC)
	o.waits("ends)")
	o.waits("> ")
	o.types(ctrlC)
	o.ends(exitInterrupted)

	// Who wants no history is neither shown one nor adds to it; who cannot have one is told, and talks.
	o = startOnTerminal(t, env, append(args, "--no-history")...)
	o.waits("\n> ")
	o.types(up + "/reset\r")
	o.waits("the conversation is forgotten")
	o.types("/quit\r")
	o.ends(exitDone)
	if after, err := os.ReadFile(history); err != nil || string(after) != string(text) {
		t.Errorf("history %q, %v, want it as it was: %q", after, err, text)
	}
	o = startOnTerminal(t, []string{"XDG_CONFIG_HOME=" + history, "HOME=" + history}, args...)
	o.waits("note: lines are remembered for this talk only: ")
	o.waits("\n> ")
	o.types("/quit\r")
	o.ends(exitDone)
}

// A signal ends the program while it waits for a line, and the terminal is as it was.
func TestChatEndedOnTerminal(t *testing.T) {
	dir := t.TempDir()
	spec := synth.Tiny("qwen2", gguf.F32)
	spec.ChatTemplate, spec.Tokenizer = synth.ChatML, synth.Qwen2
	env := []string{"XDG_CONFIG_HOME=" + dir, "HOME=" + dir}
	o := startOnTerminal(t, env, "chat", "-m", synth.Temp(t, spec), "--threads", "1")
	o.waits("\n> ")
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	o.waits("ggtune: stopping")
	o.ends(exitInterrupted)
}

// A SIGINT goes to who asked for it, once; the next ends the program.
func TestDivertInterrupt(t *testing.T) {
	ctx, stop := interruptible(io.Discard)
	defer stop()
	interrupt := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	diverted := make(chan bool, 1)
	back := divertInterrupt(ctx, func() { diverted <- true })
	interrupt()
	<-diverted
	if ctx.Err() != nil {
		t.Fatal("a signal that was diverted ended the context too")
	}
	time.Sleep(2 * sameSignal)
	interrupt()
	<-ctx.Done()
	if got := context.Cause(ctx); got != errInterrupted {
		t.Errorf("cause %v, want %v", got, errInterrupted)
	}
	back()

	ctx, stop = interruptible(io.Discard)
	defer stop()
	divertInterrupt(ctx, func() { t.Error("called after it was given back") })()
	interrupt()
	<-ctx.Done()
}

// The file of earlier lines does not grow without end.
func TestHistoryIsCut(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	h := &history{}
	if got, err := h.open(); err != nil || got != nil {
		t.Fatalf("no history: got %q, %v", got, err)
	}
	var all strings.Builder
	for range 1100 {
		all.WriteString("a\nb\n")
	}
	if err := os.WriteFile(h.path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := h.open()
	if err != nil || len(got) != 1000 {
		t.Fatalf("%d lines, %v, want 1000", len(got), err)
	}
	for _, line := range []string{"b", "c", "c"} { // two of them stand there already
		if err := h.add(line); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(h.path)
	if want := strings.Repeat("a\nb\n", 500) + "c\n"; err != nil || string(text) != want {
		t.Errorf("got %d bytes, %v, want %d", len(text), err, len(want))
	}
}
