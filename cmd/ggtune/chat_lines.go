package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/peterh/liner"
	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// lines are what a person types or a program pipes in.
type lines interface {
	// next shows the prompt, where there is somebody to see it, and waits for a line. The error is io.EOF at their
	// end, or context.Cause(ctx) once ctx ends.
	next(ctx context.Context, prompt string) (string, error)
	close()
}

// openLines gives lines that can be edited, on a terminal that is able to, and else plain ones.
func openLines(c *cli.Context) lines {
	shown := isTerminal(c.App.Writer) && !c.Bool("json")
	if shown && isTerminal(c.App.Reader) && liner.TerminalSupported() {
		return openEditor(c)
	}
	p := &plainLines{read: readLines(c.App.Reader), w: io.Discard}
	if shown {
		p.w = c.App.Writer
	}
	return p
}

// plainLines are read as the terminal or the pipe gives them.
type plainLines struct {
	read func(ctx context.Context) (string, error)
	w    io.Writer
}

func (p *plainLines) next(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(p.w, prompt)
	line, err := p.read(ctx)
	if err == io.EOF {
		fmt.Fprintln(p.w)
	}
	return strings.TrimRight(line, "\r\n"), err
}

func (p *plainLines) close() {}

// editedLines are typed with an editor of lines, which has the terminal in its own mode while it waits and only then:
// an answer may end the process at once, and must not leave a terminal that shows nothing.
type editedLines struct {
	c             *cli.Context
	state         *liner.State
	plain, raw    liner.ModeApplier
	history       *history
	prompt        string // for read, which runs in another goroutine
	read          func(ctx context.Context) (string, error)
	lastDiscarded time.Time
}

func openEditor(c *cli.Context) *editedLines {
	e := &editedLines{c: c}
	// A terminal whose mode cannot be read makes liner read plain lines by itself.
	e.plain, _ = liner.TerminalMode()
	e.state = liner.NewLiner()
	e.raw, _ = liner.TerminalMode()
	e.apply(e.plain)
	e.state.SetCtrlCAborts(true)
	e.state.SetMultiLineMode(true)
	e.state.SetCompleter(func(line string) (out []string) {
		for _, c := range talkCommands() {
			if strings.HasPrefix(c.name, line) && line != "" {
				out = append(out, c.name)
			}
		}
		return out
	})
	if !c.Bool("no-history") {
		e.history = &history{}
		old, err := e.history.open()
		for _, line := range old {
			e.state.AppendHistory(line)
		}
		e.withoutHistory(err)
	}
	e.read = asked(func() (string, error) {
		e.apply(e.raw)
		defer e.apply(e.plain)
		return e.state.Prompt(e.prompt)
	})
	return e
}

func (e *editedLines) apply(mode liner.ModeApplier) {
	if mode != nil {
		_ = mode.ApplyMode() // a terminal that is gone ends the reading
	}
}

// withoutHistory goes on without the file if err is not nil: what is typed is worth more than its memory.
func (e *editedLines) withoutHistory(err error) {
	if err != nil {
		fmt.Fprintf(e.c.App.ErrWriter, "note: lines are remembered for this talk only: %v\n", err)
		e.history = nil
	}
}

// twice is how soon one Ctrl-C must follow another to end the talk: the editor does not say whether there was a line
// that the second was to discard, and nobody writes one this fast.
const twice = 2 * time.Second

func (e *editedLines) next(ctx context.Context, prompt string) (string, error) {
	for {
		e.prompt = prompt
		line, err := e.read(ctx)
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			if time.Since(e.lastDiscarded) < twice {
				return "", errInterrupted
			}
			e.lastDiscarded = time.Now()
			fmt.Fprintln(e.c.App.ErrWriter, "(Ctrl-C again at once, Ctrl-D or /quit ends)")
			continue
		case err != nil:
			return "", err
		}
		if strings.TrimSpace(line) != "" {
			e.state.AppendHistory(line)
			if e.history != nil {
				e.withoutHistory(e.history.add(line))
			}
		}
		return line, nil
	}
}

// close gives the terminal back.
func (e *editedLines) close() { e.state.Close() }

// historyPlace is where the history lies, for people.
const historyPlace = "~/.config/ggtune/chat-history (or where your system keeps settings; --no-history: nowhere)"

// A history is a file of the lines that were typed in earlier talks, oldest first. Talks at the same time add to it
// in turn.
type history struct {
	path string
	last string
}

// open reads the lines, the newest of a file that has too many, and cuts that file down to them.
func (h *history) open() ([]string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, err
	}
	h.path = filepath.Join(dir, "ggtune", "chat-history")
	b, err := regular.Read(h.path, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, os.MkdirAll(filepath.Dir(h.path), 0o700)
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(strings.ToValidUTF8(string(b), "\uFFFD"), "\n"), "\n")
	if more := len(lines) - liner.HistoryLimit; more > 0 {
		lines = lines[more:]
		err = atomicfile.WriteFile(nil, h.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
	}
	h.last = lines[len(lines)-1]
	return lines, err
}

// add writes a line to the file's end, unless it is the one before once more.
func (h *history) add(line string) error {
	if line == h.last {
		return nil
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	h.last = line
	return errors.Join(err, f.Close())
}

// readLines gives a function that reads the next line of r.
func readLines(r io.Reader) func(ctx context.Context) (string, error) {
	b := bufio.NewReader(r)
	return asked(func() (string, error) {
		text, err := b.ReadString('\n')
		if text != "" {
			err = nil // it comes again
		}
		return text, err
	})
}

// asked gives a function that reads once, or returns context.Cause(ctx) once ctx ends. The reading is in a goroutine:
// a read from a terminal cannot be cancelled, and Ctrl-C must not wait for one. It reads only when asked, so that
// another program may have the terminal in between, and ends with the process.
func asked(read func() (string, error)) func(ctx context.Context) (string, error) {
	type result struct {
		text string
		err  error
	}
	ask, out := make(chan struct{}), make(chan result)
	go func() {
		for range ask {
			text, err := read()
			out <- result{text, err}
		}
	}()
	return func(ctx context.Context) (string, error) {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case ask <- struct{}{}:
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case l := <-out:
			return l.text, l.err
		}
	}
}
