package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
)

// notifyFlag is no setting of a run, and no key of its file: a file of settings from somebody else must not run
// commands.
func notifyFlag() cli.Flag {
	return &cli.StringFlag{Name: "notify", Usage: "run the shell command `CMD` when the run ends, with GGTUNE_RUN " +
		"(its directory), GGTUNE_OUTCOME (done, stopped or failed) and GGTUNE_MESSAGE in its environment"}
}

// announced is run.Train, whose end is told to who may be elsewhere by then.
func announced(ctx context.Context, c *cli.Context, cfg config.Config, rep report.Reporter) error {
	began := time.Now()
	s, err := run.Train(ctx, cfg, rep)
	if settings := (*config.Error)(nil); errors.As(err, &settings) {
		return err // nothing has begun
	}
	announce(c, ending{dir: cfg.Output, took: time.Since(began), summary: s, err: err}, systemDesktop())
	return err
}

// An ending is how a run ended.
type ending struct {
	dir     string
	took    time.Duration
	summary report.Summary // of a run that is done
	err     error
}

// The outcomes, as --notify's command is told.
const (
	outcomeDone    = "done"
	outcomeStopped = "stopped" // asked to; it can go on
	outcomeFailed  = "failed"
)

func (e ending) outcome() string {
	switch {
	case e.err == nil:
		return outcomeDone
	case errors.Is(e.err, errInterrupted), errors.Is(e.err, run.ErrAsked):
		return outcomeStopped
	}
	return outcomeFailed
}

// message is a line for people.
func (e ending) message() string {
	m := fmt.Sprintf("%s: %s after %v", e.dir, e.outcome(), e.took.Round(time.Second))
	switch s := e.summary; {
	case e.outcome() == outcomeFailed:
		text, _, _ := strings.Cut(e.err.Error(), "\n")
		m += ": " + text
	case s.EvalLossBefore != nil && s.EvalLossAfter != nil:
		m += fmt.Sprintf(", held-out loss %.4g → %.4g", *s.EvalLossBefore, *s.EvalLossAfter)
	}
	return m
}

// long is how long a run must have taken for its end to be worth a noise: who started it has turned to something else.
const long = time.Minute

// announce tells of a run's end. What goes wrong with that is a note: the run has ended as it has.
func announce(c *cli.Context, e ending, d desktop) {
	note := func(err error) { fmt.Fprintln(c.App.ErrWriter, "note:", err) }
	if command := c.String("notify"); command != "" {
		if err := notify(c.App.ErrWriter, command, e); err != nil {
			note(fmt.Errorf("--notify %q: %w", command, err))
		}
	}
	// Who stopped it knows.
	if e.took < long || e.outcome() == outcomeStopped {
		return
	}
	for _, w := range []io.Writer{c.App.Writer, c.App.ErrWriter} {
		if isTerminal(w) {
			fmt.Fprint(w, "\a")
			break
		}
	}
	if words := d.command(e.message()); words != nil {
		if err := showNotice(words); err != nil {
			note(fmt.Errorf("no notice on the desktop: %w", err))
		}
	}
}

// notify runs the user's command. What it prints goes to w: standard output may be for JSON alone.
func notify(w io.Writer, command string, e ending) error {
	dir, err := filepath.Abs(e.dir)
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "GGTUNE_RUN="+dir, "GGTUNE_OUTCOME="+e.outcome(), "GGTUNE_MESSAGE="+e.message())
	cmd.Stdout, cmd.Stderr = w, w
	cmd.WaitDelay = time.Second // for what it leaves in the background
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	return nil
}

// A desktop is where a notice may be shown.
type desktop struct {
	system string                       // as runtime.GOOS has it
	env    func(string) string          // the environment
	look   func(string) (string, error) // where a program lies
}

func systemDesktop() desktop { return desktop{runtime.GOOS, os.Getenv, exec.LookPath} }

// command is what shows a notice; nil where there is no desktop, or nothing to show one with.
func (d desktop) command(message string) []string {
	program := "notify-send"
	words := []string{"--app-name=ggtune", "--", message}
	if d.system == "darwin" {
		program = "osascript"
		const notice = `display notification (item 1 of argv) with title "ggtune"`
		words = []string{"-e", "on run argv", "-e", notice, "-e", "end run", message}
	} else if d.env("DISPLAY") == "" && d.env("WAYLAND_DISPLAY") == "" {
		return nil
	}
	path, err := d.look(program)
	if err != nil {
		return nil
	}
	return append([]string{path}, words...)
}

// desktopPatience is how long a desktop may take: without the service that shows notices, notify-send waits for one.
const desktopPatience = 5 * time.Second

// showNotice runs what shows a notice.
func showNotice(words []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), desktopPatience)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		return fmt.Errorf("%s: %w: %s", filepath.Base(words[0]), err, text)
	} else if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(words[0]), err)
	}
	return nil
}
