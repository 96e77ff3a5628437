//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	scriptCommands["interrupted"] = scriptInterrupted
	scriptCommands["meanwhile"] = scriptMeanwhile
}

// scriptInterrupted: `interrupted INT|TERM|HUP|twice|early ggtune train args…` starts a run, signals it after its first
// step, or early, when it has told of its data, and demands exit code 130. twice sends INT again, late enough to be
// another key press: the run ends at once. Its standard error becomes the file stderr.txt.
func scriptInterrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: interrupted INT|TERM|twice|early program args...")
	}
	how, args := args[0], args[1:]
	if signal.Ignored(signals[how]) { // by a process that nohup began, and by those that it begins unless it catches it
		signal.Notify(make(chan os.Signal, 1), signals[how])
	}
	const tries = 10
	for range tries {
		text := interruptOnce(ts, how, args)
		if how != "twice" || !bytes.Contains(text, []byte("go on with")) {
			return
		}
		// The first signal came between two micro-batches, where it is enough, as it may on a busy machine.
		args = []string{args[0], "train", "-o", args[slices.Index(args, "-o")+1], "--resume"}
	}
	ts.Fatalf("the first signal of two was enough %d times", tries)
}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP,
	"QUIT": syscall.SIGQUIT, "twice": syscall.SIGINT, "early": syscall.SIGINT}

// interruptOnce starts a run and interrupts it, and returns what it wrote to its standard error.
func interruptOnce(ts *testscript.TestScript, how string, args []string) []byte {
	cmd := startUntil(ts, args, func(text []byte) bool {
		return how == "early" && bytes.Contains(text, []byte("\ncounted tokens")) ||
			bytes.Contains(text, []byte("\nstep ")) && bytes.Contains(text, []byte("tok/s"))
	})
	if how == "twice" {
		time.Sleep(3 * sameSignal) // into the next micro-batch
	}
	ts.Check(cmd.Process.Signal(signals[how]))
	if how == "twice" {
		time.Sleep(2 * sameSignal)
		_ = cmd.Process.Signal(syscall.SIGINT) // the first may have been enough
	}
	_ = cmd.Wait() // a code above 0 is what is wanted
	text, err := os.ReadFile(ts.MkAbs("stderr.txt"))
	ts.Check(err)
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		ts.Fatalf("exit code %d, want %d; standard error:\n%s", code, exitInterrupted, text)
	}
	return text
}

// beginWithin is long enough for a step of some seconds on a machine that does much else.
const beginWithin = 5 * time.Minute

// startUntil starts a program, whose outputs become the files stdout.txt and stderr.txt, and waits until it has written
// what enough wants on its standard output.
func startUntil(ts *testscript.TestScript, args []string, enough func(stdout []byte) bool) *exec.Cmd {
	outPath := ts.MkAbs("stdout.txt")
	stdout, err := os.Create(outPath)
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(ts.MkAbs("stderr.txt"))
	ts.Check(err)
	defer stderr.Close()
	cmd := &exec.Cmd{Path: lookPath(ts, args[0]), Args: args, Dir: ts.MkAbs("."), Stdout: stdout, Stderr: stderr,
		Env: append(os.Environ(), "PATH="+ts.Getenv("PATH"))}
	ts.Check(cmd.Start())
	for deadline := time.Now().Add(beginWithin); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(outPath)
		ts.Check(err)
		if enough(text) {
			return cmd
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			ts.Fatalf("not begun within %v; output:\n%s", beginWithin, text)
		}
	}
}

// scriptMeanwhile: `meanwhile CODE truncate|overwrite FILE program args…` starts a program and, once it has begun to
// compute (a step, or a first text), cuts FILE to half or writes over it, and demands an exit code.
func scriptMeanwhile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 {
		ts.Fatalf("usage: meanwhile CODE truncate|overwrite FILE program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	path := ts.MkAbs(args[2])
	cmd := startUntil(ts, args[3:], func(text []byte) bool {
		return bytes.Contains(text, []byte("tok/s")) || args[4] != "train" && len(text) > 0
	})
	old, err := os.ReadFile(path)
	ts.Check(err)
	switch args[1] {
	case "truncate":
		ts.Check(os.Truncate(path, int64(len(old)/2)))
	case "overwrite":
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		ts.Check(err)
		_, err = f.Write(old)
		ts.Check(errors.Join(err, f.Close()))
	default:
		ts.Fatalf("meanwhile: %q is no way of changing a file", args[1])
	}
	_ = cmd.Wait() // a code above 0 is what is wanted
	if code := cmd.ProcessState.ExitCode(); code != want {
		text, err := os.ReadFile(ts.MkAbs("stderr.txt"))
		ts.Check(err)
		ts.Fatalf("exit code %d, want %d; standard error:\n%s", code, want, text)
	}
	ts.Check(os.WriteFile(path, old, 0o666))
}

// lookPath finds a program in the script's own PATH.
func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	ts.Fatalf("%s is not in PATH", name)
	return ""
}
