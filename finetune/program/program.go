// Package program runs a program of the user's that is asked in lines and answers in lines: for each line that it reads
// it prints one, in the same order. It sees to it that one that dies or hangs is started again and asked anew, once,
// and that whatever else it does wrong is told as it was. It does not know what lines say.
package program

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/visible"
)

// A Config says which program is run, and how it is spoken of.
type Config struct {
	Line string // as the shell reads it
	Name string // what it is to the user: "reward program"
	// Timeout is how long it may take over the lines of one call. Default DefaultTimeout.
	Timeout time.Duration
	// Option and TimeoutOption are those that give Line and Timeout, for messages.
	Option, TimeoutOption string
	// Note is told what a person should know meanwhile. Default: nobody is.
	Note func(string)
}

// DefaultTimeout is how long a program may take over the lines of one call.
const DefaultTimeout = time.Minute

// A Program runs as long as it is asked, so that what it loads it loads once. It is used by one goroutine at a time.
// Close it.
type Program struct {
	Config
	running *process // nil: none is
}

// New gives a program, which is started when it is first asked.
func New(c Config) (*Program, error) {
	if strings.TrimSpace(c.Line) == "" {
		return nil, fmt.Errorf("the %s (%s) is an empty command", c.Name, c.Option)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("the %s may take %v (%s); expected more than 0", c.Name, c.Timeout, c.TimeoutOption)
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	return &Program{Config: c}, nil
}

// A Call is what a program is asked at once.
type Call struct {
	N     int                              // lines
	Line  func(i int) any                  // what line i says, as JSON
	About func(i int) string               // what it is about, for messages
	Take  func(i int, answer string) error // takes the answer to it; asked anew, answers are taken anew
}

// errEnded says that a program ended, as it should, after it had answered an earlier call and before it saw this one.
var errEnded = errors.New("the program has ended")

// misbehaved is what a program did that it should not have.
type misbehaved struct {
	what  string
	again bool   // it may have been bad luck
	said  string // the end of its standard error
}

func (e *misbehaved) Error() string {
	said := "; it wrote nothing to its standard error"
	if e.said != "" {
		said = "; the end of its standard error:\n" + e.said
	}
	return e.what + said
}

// Ask has the program answer all lines of a call. One that dies or hangs is started again, once for each call, and
// asked all of it anew. An answer that is not taken ends the work: a second try would be a guess. When ctx is done it
// returns its cause.
func (p *Program) Ask(ctx context.Context, c Call) error {
	if c.N == 0 {
		return nil
	}
	for try := 0; ; try++ {
		err := p.once(ctx, &c)
		if err == nil {
			p.running.answered = true
			return nil
		}
		if errors.Is(err, errEnded) {
			p.running = nil
			try--
			continue
		}
		p.stop()
		bad := (*misbehaved)(nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.As(err, &bad) || !bad.again || try > 0 {
			return fmt.Errorf("the program `%s` %w", p.Line, err)
		}
		p.Note(fmt.Sprintf("the %s `%s` %v\nit is started again, and asked for these answers once more", p.Name, p.Line,
			err))
	}
}

func (c *Call) write(w io.Writer) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i := range c.N {
		if err := enc.Encode(c.Line(i)); err != nil {
			return err
		}
	}
	return b.Flush()
}

// once asks a program, which it starts if none is running, all lines.
func (p *Program) once(ctx context.Context, c *Call) error {
	if err := p.start(); err != nil {
		return err
	}
	r := p.running
	wrote := make(chan error, 1)
	go func() { wrote <- c.write(r.stdin) }()
	defer func() {
		if wrote != nil {
			r.kill() // its pipe is closed, so that the writing ends
			<-wrote
		}
	}()
	late := time.NewTimer(p.Timeout)
	defer late.Stop()
	for got := 0; got < c.N || wrote != nil; {
		lines := r.lines
		if got == c.N {
			lines = nil // all that is left is to see that it was told everything
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return r.hung(fmt.Sprintf("%v, the most it may take (%s)", p.Timeout, p.TimeoutOption), got, c.N,
				wrote != nil)
		case err := <-wrote:
			// A program that no longer listens has ended, or will be waited for.
			if wrote = nil; err != nil && got == c.N {
				return r.bad(false, "answered before it had read all: %v", err)
			}
		case line, ok := <-lines:
			if !ok {
				return r.died(got, c.N)
			}
			err := line.fault
			if err == nil {
				err = c.Take(got, line.text)
			}
			if err != nil {
				return r.bad(false, "printed %s in line %d of %d, for %s: %v", visible.Excerpt(line.text), got+1, c.N,
					c.About(got), err)
			}
			got++
		}
	}
	return r.quiet(ctx, c.N)
}

// start sees to it that a program is running, and that it has said nothing unasked.
func (p *Program) start() error {
	if r := p.running; r != nil {
		select {
		case line, ok := <-r.lines:
			if ok {
				return r.bad(false, "printed %s, which nobody asked for; expected a line for each that it reads and "+
					"no other (messages go to standard error)", visible.Excerpt(line.text))
			}
			// It ended between two calls, as a program may that answers one and no more.
			if err := r.end(); err != nil {
				p.Note(fmt.Sprintf("the %s `%s` ended between two calls (%v) and is started again", p.Name, p.Line,
					err))
			}
			p.running = nil
		default:
			return nil
		}
	}
	r, err := startProcess(p.Line)
	if err != nil {
		return fmt.Errorf("could not be started: %w", err)
	}
	p.running = r
	return nil
}

func (p *Program) stop() {
	if p.running != nil {
		p.running.kill()
		p.running = nil
	}
}

// Close implements io.Closer: the program sees the end of its input, and has a moment to end by itself. It may be
// called again, and on nil.
func (p *Program) Close() error {
	if p == nil || p.running == nil {
		return nil
	}
	r := p.running
	p.running = nil
	r.stdin.Close()
	late := time.After(patience)
	extra := 0
	for {
		select {
		case _, ok := <-r.lines:
			if ok {
				extra++
				continue
			}
		case <-late:
			p.Note(fmt.Sprintf("the %s `%s` did not end when its input did; it was killed", p.Name, p.Line))
		}
		break
	}
	r.kill()
	if extra > 0 {
		p.Note(fmt.Sprintf("the %s `%s` printed %s at its end that nobody asked for", p.Name, p.Line,
			count.Of(extra, "line")))
	}
	return nil
}
