//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
)

// announceWith announces an ending as a command with these outputs and options does.
func announceWith(t *testing.T, e ending, d desktop, stdout, stderr io.Writer, args ...string) {
	t.Helper()
	app := &cli.App{Writer: stdout, ErrWriter: stderr, Flags: []cli.Flag{notifyFlag()},
		Action: func(c *cli.Context) error { announce(c, e, d); return nil }}
	if err := app.Run(append([]string{"ggtune"}, args...)); err != nil {
		t.Fatal(err)
	}
}

var noDesktop = desktop{"linux", func(string) string { return "" }, nil}

// The user's command is told how the run ended, however short it was, and its own failure is a note.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	before, after := 2.5, 2.0
	for _, tc := range []struct {
		name    string
		err     error
		summary report.Summary
		want    string
	}{
		{"done", nil, report.Summary{EvalLossBefore: &before, EvalLossAfter: &after},
			"done|" + dir + ": done after 2s, held-out loss 2.5 → 2"},
		{"nothing held out", nil, report.Summary{}, "done|" + dir + ": done after 2s"},
		{"interrupted", fmt.Errorf("step 3: %w", errInterrupted), report.Summary{},
			"stopped|" + dir + ": stopped after 2s"},
		{"asked", run.ErrAsked, report.Summary{}, "stopped|" + dir + ": stopped after 2s"},
		{"failed", errors.New("no memory\nsecond line"), report.Summary{},
			"failed|" + dir + ": failed after 2s: no memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			e := ending{dir: dir, took: 2 * time.Second, summary: tc.summary, err: tc.err}
			announceWith(t, e, noDesktop, &stdout, &stderr, "--notify",
				`echo "$GGTUNE_OUTCOME|$GGTUNE_MESSAGE"; cd "$GGTUNE_RUN"`)
			if got := stderr.String(); got != tc.want+"\n" || stdout.Len() > 0 {
				t.Errorf("got %q and on standard output %q, want %q", got, stdout.String(), tc.want)
			}
		})
	}
	var stderr bytes.Buffer
	announceWith(t, ending{dir: dir}, noDesktop, io.Discard, &stderr, "--notify", "exit 3")
	if got, want := stderr.String(), "note: --notify \"exit 3\": exit status 3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	began := time.Now()
	announceWith(t, ending{dir: dir}, noDesktop, io.Discard, &stderr, "--notify", "sleep 60 &")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("waited %v for what the command left behind", took)
	}
}

// A terminal rings, and a desktop shows a notice, after a run that took long and that nobody stopped.
func TestLongRunIsAnnounced(t *testing.T) {
	dir := t.TempDir()
	notice := filepath.Join(dir, "notice")
	script := "#!/bin/sh\nprintf '%s|' \"$@\" >" + notice + "\n"
	if err := os.WriteFile(filepath.Join(dir, "notify-send"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	withDesktop := desktop{"linux", func(name string) string { return map[string]string{"DISPLAY": ":0"}[name] },
		func(name string) (string, error) { return filepath.Join(dir, name), nil }}
	keys, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal to be had here: %v", err)
	}
	defer keys.Close()
	defer tty.Close()
	rings := func(e ending, stdout, stderr *os.File) bool {
		t.Helper()
		announceWith(t, e, withDesktop, stdout, stderr)
		fmt.Fprint(tty, ".")
		var got []byte
		for b := make([]byte, 8); !bytes.HasSuffix(got, []byte(".")); {
			n, err := keys.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if s := string(got); s != "." && s != "\a." {
			t.Fatalf("the terminal got %q", s)
		}
		return len(got) == 2
	}
	file, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tc := range []struct {
		name           string
		e              ending
		stdout, stderr *os.File
		bell, notice   bool
	}{
		{"long", ending{dir: "run", took: 2 * time.Minute}, tty, tty, true, true},
		{"long, JSON on standard output", ending{dir: "run", took: 2 * time.Minute}, file, tty, true, true},
		{"long, failed", ending{dir: "run", took: time.Hour, err: errors.New("x")}, tty, tty, true, true},
		{"long, no terminal", ending{dir: "run", took: time.Hour}, file, file, false, true},
		{"short", ending{dir: "run", took: 50 * time.Second}, tty, tty, false, false},
		{"long, stopped", ending{dir: "run", took: time.Hour, err: errInterrupted}, tty, tty, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			os.Remove(notice)
			if got := rings(tc.e, tc.stdout, tc.stderr); got != tc.bell {
				t.Errorf("the bell rang: %v, want %v", got, tc.bell)
			}
			got, _ := os.ReadFile(notice)
			want := ""
			if tc.notice {
				want = "--app-name=ggtune|--|" + tc.e.message() + "|"
			}
			if string(got) != want {
				t.Errorf("notice %q, want %q", got, want)
			}
		})
	}
	if got, err := os.ReadFile(file.Name()); err != nil || len(got) > 0 {
		t.Errorf("what is no terminal got %q, %v", got, err)
	}
}

func TestDesktop(t *testing.T) {
	has := func(names ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			if slices.Contains(names, name) {
				return "/bin/" + name, nil
			}
			return "", errors.New("not found")
		}
	}
	env := func(pairs string) func(string) string {
		return func(name string) string {
			for _, p := range strings.Fields(pairs) {
				if k, v, _ := strings.Cut(p, "="); k == name {
					return v
				}
			}
			return ""
		}
	}
	for _, tc := range []struct {
		name string
		d    desktop
		want string
	}{
		{"X", desktop{"linux", env("DISPLAY=:0"), has("notify-send")}, "/bin/notify-send --app-name=ggtune -- m"},
		{"Wayland", desktop{"freebsd", env("WAYLAND_DISPLAY=w"), has("notify-send")},
			"/bin/notify-send --app-name=ggtune -- m"},
		{"no display", desktop{"linux", env(""), has("notify-send")}, ""},
		{"no program", desktop{"linux", env("DISPLAY=:0"), has()}, ""},
		{"macOS", desktop{"darwin", env(""), has("osascript")},
			`/bin/osascript -e on run argv -e display notification (item 1 of argv) with title "ggtune" -e end run m`},
	} {
		if got := strings.Join(tc.d.command("m"), " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	err := showNotice([]string{"sh", "-c", "echo no service; exit 1"})
	if err == nil || err.Error() != "sh: exit status 1: no service" {
		t.Errorf("got %v", err)
	}
}
