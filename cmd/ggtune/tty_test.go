//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// An onTerminal is a program on a terminal of its own.
type onTerminal struct {
	t       *testing.T
	cmd     *exec.Cmd
	keys    *os.File // what is written here is typed
	tty     *os.File
	started *term.State
	mu      sync.Mutex
	shown   []byte
	seen    int // how much of shown has been waited for
}

// startOnTerminal starts ggtune itself.
func startOnTerminal(t *testing.T, env []string, args ...string) *onTerminal {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, &exec.Cmd{Path: exe, Args: append([]string{"ggtune"}, args...), Env: env})
}

// startProgram starts cmd, whose environment is added to this process's own.
func startProgram(t *testing.T, cmd *exec.Cmd) *onTerminal {
	t.Helper()
	o := &onTerminal{t: t, cmd: cmd}
	var err error
	if o.keys, o.tty, err = pty.Open(); err != nil {
		t.Skipf("no terminal to be had here: %v", err)
	}
	t.Cleanup(func() { o.keys.Close(); o.tty.Close() })
	if err := pty.Setsize(o.keys, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	o.started = o.mode()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.tty, o.tty, o.tty
	cmd.Env = append(append(os.Environ(), "TERM=xterm"), cmd.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.cmd.Process.Kill() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := o.keys.Read(b)
			o.mu.Lock()
			o.shown = append(o.shown, b[:n]...)
			o.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return o
}

// mode is how the terminal is set.
func (o *onTerminal) mode() *term.State {
	o.t.Helper()
	state, err := term.GetState(int(o.tty.Fd()))
	if err != nil {
		o.t.Fatal(err)
	}
	return state
}

// waits until the terminal shows text, after all that was waited for before.
func (o *onTerminal) waits(text string) {
	o.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		o.mu.Lock()
		at := bytes.Index(o.shown[o.seen:], []byte(text))
		if at >= 0 {
			o.seen += at + len(text)
			o.mu.Unlock()
			return
		}
		rest := string(o.shown[o.seen:])
		o.mu.Unlock()
		if time.Now().After(deadline) {
			o.t.Fatalf("the terminal does not show %q within a minute, but\n%q", text, rest)
		}
	}
}

func (o *onTerminal) types(keys string) {
	o.t.Helper()
	if _, err := o.keys.WriteString(keys); err != nil {
		o.t.Fatal(err)
	}
}

// ends waits for the end of the process and demands an exit code, and a terminal that is set as it was.
func (o *onTerminal) ends(code int) {
	o.t.Helper()
	err := o.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		o.t.Fatal(err)
	}
	if got := o.cmd.ProcessState.ExitCode(); got != code {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.t.Fatalf("exit code %d, want %d; shown:\n%s", got, code, o.shown)
	}
	if got := o.mode(); !reflect.DeepEqual(got, o.started) {
		o.t.Errorf("the terminal is left as %+v, want %+v", got, o.started)
	}
}

func (o *onTerminal) length() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.shown)
}

// since is what was shown from a length on.
func (o *onTerminal) since(length int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.shown[length:])
}
