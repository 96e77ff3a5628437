//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { scriptCommands["interrupted"] = scriptInterrupted }

// scriptInterrupted: `interrupted INT|TERM|twice ggtune train args…` starts a run, signals it after its first step, and
// demands exit code 130. twice sends INT again, late enough to be another key press, and demands that the run ends at once.
// Its standard error becomes the file stderr.txt.
func scriptInterrupted(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "twice": syscall.SIGINT}
	if neg || len(args) < 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: interrupted INT|TERM|twice program args...")
	}
	outPath, errPath := ts.MkAbs("stdout.txt"), ts.MkAbs("stderr.txt")
	stdout, err := os.Create(outPath)
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(errPath)
	ts.Check(err)
	defer stderr.Close()
	cmd := &exec.Cmd{Path: lookPath(ts, args[1]), Args: args[1:], Dir: ts.MkAbs("."), Stdout: stdout, Stderr: stderr,
		Env: append(os.Environ(), "PATH="+ts.Getenv("PATH"))}
	ts.Check(cmd.Start())
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(outPath)
		ts.Check(err)
		if bytes.Contains(text, []byte("\nstep ")) && bytes.Contains(text, []byte("tok/s")) {
			break
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			ts.Fatalf("no step within a minute; output:\n%s", text)
		}
	}
	if args[0] == "twice" {
		time.Sleep(3 * sameSignal) // between two steps the first signal would be enough
	}
	ts.Check(cmd.Process.Signal(signals[args[0]]))
	if args[0] == "twice" {
		time.Sleep(2 * sameSignal)
		ts.Check(cmd.Process.Signal(syscall.SIGINT))
	}
	_ = cmd.Wait() // a code above 0 is what is wanted
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		text, _ := os.ReadFile(errPath)
		ts.Fatalf("exit code %d, want %d; standard error:\n%s", code, exitInterrupted, text)
	}
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
