package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A build is one ggtune binary.
type build struct {
	path    string
	version string // as it calls itself
	dir     string // its cases' folders are made in it
}

// A pair is the two builds to compare.
type pair struct {
	fixtures string // folder of models and data, which the cases call F/
	old, new build
	prove    bool // new trains with another seed
}

func newPair(dir, old, new string) (*pair, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p := &pair{fixtures: filepath.Join(dir, "fix")}
	for _, b := range []struct {
		to         *build
		path, name string
	}{{&p.old, old, "old"}, {&p.new, new, "new"}} {
		b.to.dir = filepath.Join(dir, b.name)
		if b.to.path, err = filepath.Abs(b.path); err != nil {
			return nil, err
		}
		out, err := exec.Command(b.to.path, "version", "--json").Output()
		if err != nil {
			return nil, fmt.Errorf("%s version --json: %w", b.path, err)
		}
		var v struct{ Version string }
		if err := json.Unmarshal(out, &v); err != nil || v.Version == "" {
			return nil, fmt.Errorf("%s version --json printed %q, which names no version (%v)", b.path, out, err)
		}
		b.to.version = v.Version
	}
	return p, os.Mkdir(p.fixtures, 0o777)
}

// A command is one call of ggtune.
type command struct {
	args []string
	code int // the exit code that it must have
	// until: interrupt it once its standard output holds this text. left is a pattern of what must be there then, in
	// the case's folder; where it is not, the signal came at another place than was meant, and the command is run anew.
	until, left string
	// filesOnly: what it prints follows from when it was interrupted, and is not compared.
	filesOnly bool
}

// A testCase is commands run one after the other in one folder.
type testCase struct {
	name  string
	quick bool
	// begun is run by the old build alone, and both go on from copies of what it left.
	begun []command
	then  []command
}

// trains says whether another seed must be found; a run that is gone on with refuses it.
func (c testCase) trains() bool {
	for _, m := range c.then {
		if m.args[0] == "train" && m.code == 0 && slices.Contains(m.args, "-o") {
			return true
		}
	}
	return false
}

// A result is what a command printed and how it ended.
type result struct {
	stdout, stderr []byte
	code           int
}

// compare runs a case with both builds, at the same time, and returns every difference.
func (p *pair) compare(ctx context.Context, c testCase) (diffs []string, err error) {
	oldDir, newDir := filepath.Join(p.old.dir, c.name), filepath.Join(p.new.dir, c.name)
	if err := os.MkdirAll(oldDir, 0o777); err != nil {
		return nil, err
	}
	if _, err := p.old.runAll(ctx, oldDir, c.begun, nil); err != nil {
		return nil, err
	}
	if err := os.CopyFS(newDir, os.DirFS(oldDir)); err != nil {
		return nil, err
	}
	var extra []string
	if p.prove {
		extra = []string{"--seed", "9"}
	}
	var was, is []result
	var oldErr, newErr error
	var wg sync.WaitGroup
	wg.Go(func() { was, oldErr = p.old.runAll(ctx, oldDir, c.then, nil) })
	wg.Go(func() { is, newErr = p.new.runAll(ctx, newDir, c.then, extra) })
	wg.Wait()
	if oldErr != nil {
		return nil, oldErr // the case is no proof of anything
	}
	for i, m := range c.then {
		if i >= len(is) {
			break
		}
		for _, d := range p.results(m, was[i], is[i]) {
			diffs = append(diffs, strings.Join(m.args, " ")+": "+d)
		}
	}
	if newErr != nil {
		return append(diffs, newErr.Error()), nil
	}
	files, err := p.trees(oldDir, newDir)
	return append(diffs, files...), err
}

// forget removes what a case left.
func (p *pair) forget(c testCase) error {
	return errors.Join(os.RemoveAll(filepath.Join(p.old.dir, c.name)), os.RemoveAll(filepath.Join(p.new.dir, c.name)))
}

// runAll runs commands until one does not end as it must, and returns what came of all that ended.
func (b build) runAll(ctx context.Context, dir string, cmds []command, extra []string) (out []result, err error) {
	for _, m := range cmds {
		if m.args[0] == "train" {
			m.args = append(m.args[:len(m.args):len(m.args)], extra...)
		}
		r, err := b.one(ctx, dir, m)
		if err != nil {
			return out, fmt.Errorf("%s %s: %w", filepath.Base(b.path), strings.Join(m.args, " "), err)
		}
		out = append(out, r)
		if r.code != m.code {
			return out, fmt.Errorf("ggtune %s: exit code %d, want %d; it said:\n%s", strings.Join(m.args, " "), r.code,
				m.code, r.stderr)
		}
	}
	return out, nil
}

// one runs a command; one that is to be interrupted is tried again where it stopped at another place than was meant.
func (b build) one(ctx context.Context, dir string, m command) (result, error) {
	const tries = 20
	for range tries {
		r, err := b.start(ctx, dir, m)
		if err != nil || m.left == "" {
			return r, err
		}
		found, err := filepath.Glob(filepath.Join(dir, m.left))
		if err != nil || len(found) > 0 {
			return r, err
		}
		if err := os.RemoveAll(filepath.Join(dir, runName)); err != nil {
			return r, err
		}
	}
	return result{}, fmt.Errorf("interrupted %d times, and never so that it left %s", tries, m.left)
}

// runName is the directory of the run in every case.
const runName = "run"

func (b build) start(ctx context.Context, dir string, m command) (result, error) {
	var stdout, stderr watched
	cmd := exec.CommandContext(ctx, b.path, m.args...)
	for i, a := range cmd.Args {
		cmd.Args[i] = strings.ReplaceAll(a, "F/", "../../fix/") // also within columns=…
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if m.until != "" {
		if err := interrupt(cmd.Process, &stdout, m.until, ended); err != nil {
			return result{}, err
		}
	}
	var exit *exec.ExitError
	if err := <-ended; err != nil && !errors.As(err, &exit) {
		return result{}, err
	}
	return result{stdout.buf.Bytes(), stderr.buf.Bytes(), cmd.ProcessState.ExitCode()}, nil
}

// interrupt signals a process once it has printed text. ended has its end for who waits next.
func interrupt(p *os.Process, stdout *watched, text string, ended chan error) error {
	const limit = time.Minute
	for deadline := time.Now().Add(limit); !stdout.has(text); {
		select {
		case err := <-ended:
			ended <- err
			return nil // its exit code says that it was not interrupted
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("did not print %q within %s", text, limit), p.Kill(), <-ended)
		}
	}
	if err := p.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// A watched buffer can be looked into while it is written.
type watched struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *watched) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.buf.Bytes(), []byte(text))
}
