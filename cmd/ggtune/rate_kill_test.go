//go:build unix

package main

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

var hiddenField = regexp.MustCompile(`name="(revision|id)" value="([^"]*)"`)

// choose waits until the page has a pair that can be rated, and sends a choice as the plain form does.
func choose(t *testing.T, page, choice string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(page)
		if err != nil {
			t.Fatal(err)
		}
		html, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(html), `data-ready="true"`) {
			if time.Now().After(deadline) {
				t.Fatalf("no pair within a minute:\n%s", html)
			}
			continue
		}
		form := url.Values{"choice": {choice}}
		for _, m := range hiddenField.FindAllStringSubmatch(string(html), 2) {
			form.Set(m[1], m[2])
		}
		if resp, err = http.PostForm(page+"choice", form); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("choice %s: status %d", choice, resp.StatusCode)
		}
		return
	}
}

// A process that is killed loses nothing that was chosen; one that is interrupted ends with its exit code, whatever it
// is doing; a second one is kept off the file.
func TestRateKilledAndInterrupted(t *testing.T) {
	dir := t.TempDir()
	model, prompts, choices := synth.Temp(t, synth.Tiny("llama", gguf.F32)), filepath.Join(dir, "p.txt"),
		filepath.Join(dir, "c.jsonl")
	if err := os.WriteFile(prompts, []byte("one\ntwo\nthree\nfour\nfive\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"-m", model, "-d", prompts, "-o", choices, "-n", "24", "--threads", "1", "--template", "plain"}
	r := startRating(t, args...)
	choose(t, r.url, "a")
	choose(t, r.url, "tie")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	second := &exec.Cmd{Path: exe, Args: append([]string{"ggtune", "rate"}, args...)}
	if out, err := second.CombinedOutput(); second.ProcessState.ExitCode() != exitFailure ||
		!strings.Contains(string(out), "in use by another ggtune rate") {
		t.Errorf("a second process: %v\n%s", err, out)
	}
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait() // killed
	if got := choicesIn(t, choices); got != "a tie" {
		t.Errorf("after a kill: %s", got)
	}

	for i, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		r = startRating(t, args...)
		if i == 0 {
			choose(t, r.url, "b")
		} // else in the middle of the writing
		if err := r.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err := r.cmd.Wait()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
			t.Errorf("%v: ended with %v, want exit code %d", sig, err, exitInterrupted)
		}
		if got := choicesIn(t, choices); got != "a tie b" {
			t.Errorf("%v: %s", sig, got)
		}
	}
}
