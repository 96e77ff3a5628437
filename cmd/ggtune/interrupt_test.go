//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { scriptCommands["interrupted"] = scriptInterrupted }

// scriptInterrupted: `interrupted INT|TERM|twice|early ggtune train args…` starts a run, signals it after its first step, or
// early, when it has told of its data, and demands exit code 130. twice sends INT again, late enough to be another key press:
// the run ends at once. Its standard error becomes the file stderr.txt.
func scriptInterrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: interrupted INT|TERM|twice|early program args...")
	}
	how, args := args[0], args[1:]
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

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "twice": syscall.SIGINT, "early": syscall.SIGINT}

// interruptOnce starts a run and interrupts it, and returns what it wrote to its standard error.
func interruptOnce(ts *testscript.TestScript, how string, args []string) []byte {
	outPath, errPath := ts.MkAbs("stdout.txt"), ts.MkAbs("stderr.txt")
	stdout, err := os.Create(outPath)
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(errPath)
	ts.Check(err)
	defer stderr.Close()
	cmd := &exec.Cmd{Path: lookPath(ts, args[0]), Args: args, Dir: ts.MkAbs("."), Stdout: stdout, Stderr: stderr,
		Env: append(os.Environ(), "PATH="+ts.Getenv("PATH"))}
	ts.Check(cmd.Start())
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(outPath)
		ts.Check(err)
		if how == "early" && bytes.Contains(text, []byte("\ncounted tokens")) || bytes.Contains(text, []byte("\nstep ")) && bytes.Contains(text, []byte("tok/s")) {
			break
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			ts.Fatalf("no step within a minute; output:\n%s", text)
		}
	}
	if how == "twice" {
		time.Sleep(3 * sameSignal) // into the next micro-batch
	}
	ts.Check(cmd.Process.Signal(signals[how]))
	if how == "twice" {
		time.Sleep(2 * sameSignal)
		_ = cmd.Process.Signal(syscall.SIGINT) // the first may have been enough
	}
	_ = cmd.Wait() // a code above 0 is what is wanted
	text, err := os.ReadFile(errPath)
	ts.Check(err)
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		ts.Fatalf("exit code %d, want %d; standard error:\n%s", code, exitInterrupted, text)
	}
	return text
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
