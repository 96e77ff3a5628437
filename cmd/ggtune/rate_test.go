package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/rate"
)

// A rating is `ggtune rate` as a process of its own.
type rating struct {
	cmd *exec.Cmd
	url string
}

// startRating runs the command and waits for its address.
func startRating(t *testing.T, args ...string) *rating {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under this name the test binary is the command: see TestMain.
	cmd := &exec.Cmd{Path: exe, Args: append([]string{"ggtune", "rate", "--json"}, args...), Stderr: os.Stderr,
		Env: os.Environ()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the command said nothing")
	}
	var first struct{ URL string }
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil || first.URL == "" {
		t.Fatalf("the command said %q, want its address: %v", lines.Text(), err)
	}
	go func() {
		for lines.Scan() { // so that it can write its summary
		}
	}()
	return &rating{cmd, first.URL}
}

func choicesIn(t *testing.T, path string) string {
	t.Helper()
	records, err := rate.ReadChoices(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range records {
		all = append(all, string(r.Choice))
	}
	return strings.Join(all, " ")
}
