package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/watch"
)

// A shown is a command that serves a page, as a process of its own.
type shown struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	stdout bytes.Buffer // once it has ended
}

var pageAddress = regexp.MustCompile(`http://127\.0\.0\.1:\d+/[A-Z0-9]+/`)

// show starts a command with --json and waits for its address: on standard error for train, whose output is steps
// alone, on standard output for watch.
func show(t *testing.T, args ...string) *shown {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under this name the test binary is the command: see TestMain.
	s := &shown{t: t,
		cmd: &exec.Cmd{Path: exe, Args: append(append([]string{"ggtune"}, args...), "--json"), Env: os.Environ()}}
	r, w := io.Pipe()
	var mu sync.Mutex
	s.cmd.Stdout = writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		s.stdout.Write(p)
		return w.Write(p)
	})
	s.cmd.Stderr = w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); w.Close() })
	lines := bufio.NewScanner(r)
	for s.url == "" && lines.Scan() {
		s.url = pageAddress.FindString(lines.Text())
	}
	go io.Copy(io.Discard, r)
	if s.url == "" {
		t.Fatal("the command told no address")
	}
	return s
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// until waits for a state of the run on the page, with as many steps.
func (s *shown) until(state watch.State, steps int) {
	s.t.Helper()
	resp, err := http.Get(s.url + "events")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	giveUp := time.AfterFunc(2*time.Minute, func() { resp.Body.Close() })
	defer giveUp.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<24)
	var now watch.State
	done := 0
	for now != state || done < steps {
		if !lines.Scan() {
			s.t.Fatalf("the page says %q and %d steps, want %q and %d: %v", now, done, state, steps, lines.Err())
		}
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Status  *watch.Status
			Metrics *watch.Lines
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			s.t.Fatal(err)
		}
		if e.Status != nil {
			now = e.Status.State
		}
		if e.Metrics != nil {
			done = e.Metrics.From + len(e.Metrics.Lines)
		}
	}
}

func (s *shown) post(what string, want int) {
	s.t.Helper()
	resp, err := http.Post(s.url+what, "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
		s.t.Errorf("%s: got %d, want %d: %s", what, resp.StatusCode, want, b)
	}
}

// interrupt sends what Ctrl-C sends, and wants the exit code of an interruption.
func (s *shown) interrupt() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		s.t.Errorf("interrupted: got %v, want exit code %d", err, exitInterrupted)
	}
}

// A run is stopped from its page, goes on from it, is interrupted, is watched by another process, goes on there, and
// ends in the bytes of a run that nobody watched. The page is no setting of the run.
func TestStopAndContinueFromPages(t *testing.T) {
	dir := t.TempDir()
	straight, out := filepath.Join(dir, "straight"), filepath.Join(dir, "run")
	args := []string{"train", "-m", "demo/base.gguf", "-d", "demo/train.jsonl", "--threads", "1", "--steps", "24",
		"--save-every", "0",
		"--accum", "2", "-o"}
	var text bytes.Buffer
	if code := execute(t.Context(), append(append([]string{"ggtune"}, args...), straight, "--json"), nil, &text,
		io.Discard); code != exitDone {
		t.Fatalf("exit code %d", code)
	}

	told := filepath.Join(dir, "told")
	notify := []string{"--notify", `echo "$GGTUNE_OUTCOME" >>` + told}
	s := show(t, append(append(args, out, "--page"), notify...)...)
	s.until(watch.Running, 2)
	s.post("continue", http.StatusConflict)
	s.post("stop", http.StatusNoContent)
	s.until(watch.Stopped, 2)
	s.post("stop", http.StatusConflict)
	s.post("continue", http.StatusNoContent)
	s.until(watch.Running, 5)
	s.interrupt()
	for line := range strings.Lines(s.stdout.String()) {
		var l report.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("standard output holds %q: %v", line, err)
		}
	}

	w := show(t, append([]string{"watch", out}, notify...)...)
	w.until(watch.Stopped, 5)
	w.post("continue", http.StatusNoContent)
	w.until(watch.Running, 8)
	// Another process sees the run, and can stop it, but starts no second one.
	other := show(t, append([]string{"watch", out}, notify...)...)
	other.until(watch.Running, 8)
	other.post("continue", http.StatusConflict)
	other.post("stop", http.StatusNoContent)
	w.until(watch.Stopped, 8)
	other.post("continue", http.StatusNoContent)
	w.until(watch.Done, 24)
	other.interrupt()
	w.interrupt()
	if got, want := read(t, told), "stopped\nstopped\nstopped\ndone\n"; got != want {
		t.Errorf("told of %q, want %q", got, want)
	}
	for _, name := range []string{"adapter.gguf", "run.toml"} {
		got, want := read(t, filepath.Join(out, name)), read(t, filepath.Join(straight, name))
		if name == "run.toml" { // it names its directory
			want = strings.ReplaceAll(want, straight, out)
		}
		if got != want {
			t.Errorf("%s is not that of a run that nobody watched", name)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
