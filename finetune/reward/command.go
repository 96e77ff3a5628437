package reward

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ggtune/ggtune/internal/count"
)

// DefaultTimeout is how long a program may take over the answers of one call.
const DefaultTimeout = time.Minute

// A command is a Reward that a program of the user's gives. The program runs as long as it is asked, so that what it
// loads it loads once. For each answer it is given a line of JSON (asked), and prints a line with a number, or an
// object with the number as "reward", in the same order. One that dies or hangs is started again, once for each call,
// and asked for all of the call's answers anew. What it prints that is no reward ends the work: a second try would be a
// guess.
type command struct {
	line    string // as the shell reads it
	timeout time.Duration
	note    func(string)
	running *process // nil: none is
}

func newCommand(line string, o *Options) (*command, error) {
	c := &command{line: line, timeout: o.Timeout, note: o.Note}
	if strings.TrimSpace(line) == "" {
		return nil, errors.New("the reward program (--reward-cmd) is an empty command")
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.timeout < 0 {
		return nil, fmt.Errorf("the reward program may take %v (--reward-timeout); expected more than 0", c.timeout)
	}
	if c.note == nil {
		c.note = func(string) {}
	}
	return c, nil
}

// asked is what a program is given for an answer.
type asked struct {
	Prompt   string                     `json:"prompt"` // as the model reads it
	Messages []message                  `json:"messages,omitempty"`
	Answer   string                     `json:"answer"`
	Tokens   int                        `json:"tokens"`
	Ended    bool                       `json:"ended"`
	Row      map[string]json.RawMessage `json:"row"`
	// Left is how many lines are still to come before answers are waited for: a program may collect them.
	Left int `json:"left"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func ask(w io.Writer, samples []Sample) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i := range samples {
		s := &samples[i]
		a := asked{Prompt: s.Prompt, Answer: s.Answer, Tokens: s.Tokens, Ended: s.Ended, Row: s.Row,
			Left: len(samples) - 1 - i}
		for _, m := range s.Messages {
			a.Messages = append(a.Messages, message{string(m.Role), m.Content})
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
	return b.Flush()
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

// Score implements Reward.
func (c *command) Score(ctx context.Context, samples []Sample) ([]float64, error) {
	if len(samples) == 0 {
		return nil, nil
	}
	for try := 0; ; try++ {
		got, err := c.once(ctx, samples)
		if err == nil {
			c.running.answered = true
			return got, nil
		}
		if errors.Is(err, errEnded) {
			c.running = nil
			try--
			continue
		}
		c.stop()
		bad := (*misbehaved)(nil)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !errors.As(err, &bad) || !bad.again || try > 0 {
			return nil, fmt.Errorf("the program `%s` %w", c.line, err)
		}
		c.note(fmt.Sprintf("the reward program `%s` %v\nit is started again, and asked for these answers once more",
			c.line, err))
	}
}

// once asks a program, which it starts if none is running, for all samples.
func (c *command) once(ctx context.Context, samples []Sample) ([]float64, error) {
	if err := c.start(); err != nil {
		return nil, err
	}
	p := c.running
	wrote := make(chan error, 1)
	go func() { wrote <- ask(p.stdin, samples) }()
	defer func() {
		if wrote != nil {
			p.kill() // its pipe is closed, so that the writing ends
			<-wrote
		}
	}()
	late := time.NewTimer(c.timeout)
	defer late.Stop()
	got := make([]float64, 0, len(samples))
	for len(got) < len(samples) || wrote != nil {
		lines := p.lines
		if len(got) == len(samples) {
			lines = nil // all that is left is to see that it was told everything
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-late.C:
			return nil, p.hung(c.timeout, len(got), len(samples), wrote != nil)
		case err := <-wrote:
			// A program that no longer listens has ended, or will be waited for.
			if wrote = nil; err != nil && len(got) == len(samples) {
				return nil, p.bad(false, "answered before it had read all: %v", err)
			}
		case line, ok := <-lines:
			if !ok {
				return nil, p.died(len(got), len(samples))
			}
			x, err := parseReward(line)
			if err != nil {
				s := &samples[len(got)]
				return nil, p.bad(false, "printed %s in line %d of %d, for %s with the answer %s: %v", excerpt(line),
					len(got)+1, len(samples), s.Source, excerpt(s.Answer), err)
			}
			got = append(got, x)
		}
	}
	return got, p.quiet(ctx, len(samples))
}

// start sees to it that a program is running, and that it has said nothing unasked.
func (c *command) start() error {
	if p := c.running; p != nil {
		select {
		case line, ok := <-p.lines:
			if ok {
				return p.bad(false, "printed %s, which nobody asked for; expected a line for each answer and no other "+
					"(messages go to standard error)", excerpt(line))
			}
			// It ended between two calls, as a program may that answers one and no more.
			if err := p.end(); err != nil {
				c.note(fmt.Sprintf("the reward program `%s` ended between two calls (%v) and is started again", c.line,
					err))
			}
			c.running = nil
		default:
			return nil
		}
	}
	p, err := startProcess(c.line)
	if err != nil {
		return fmt.Errorf("could not be started: %w", err)
	}
	c.running = p
	return nil
}

func (c *command) stop() {
	if c.running != nil {
		c.running.kill()
		c.running = nil
	}
}

// Close implements io.Closer: the program sees the end of its input, and has a moment to end by itself.
func (c *command) Close() error {
	p := c.running
	if p == nil {
		return nil
	}
	c.running = nil
	p.stdin.Close()
	late := time.After(patience)
	extra := 0
	for {
		select {
		case _, ok := <-p.lines:
			if ok {
				extra++
				continue
			}
		case <-late:
			c.note(fmt.Sprintf("the reward program `%s` did not end when its input did; it was killed", c.line))
		}
		break
	}
	p.kill()
	if extra > 0 {
		c.note(fmt.Sprintf("the reward program `%s` printed %s at its end that nobody asked for", c.line,
			count.Of(extra, "line")))
	}
	return nil
}

// parseReward reads a line that a program printed.
func parseReward(line string) (float64, error) {
	text := strings.TrimSpace(line)
	if strings.HasPrefix(text, "{") {
		var o struct {
			Reward json.RawMessage `json:"reward"`
		}
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			return 0, fmt.Errorf("malformed JSON (%v)", err)
		}
		if o.Reward == nil {
			return 0, errors.New(`the object has no "reward"`)
		}
		text = string(o.Reward)
	}
	var x *float64
	switch err := json.Unmarshal([]byte(text), &x); {
	case err == nil && x != nil && !math.IsInf(*x, 0):
		return *x, nil
	case text == "":
		return 0, errors.New("an empty line is no reward")
	case isNotFinite(text):
		return 0, errors.New("a reward is a finite number")
	}
	return 0, errors.New(`expected a number, or an object with a number as "reward" (messages go to standard error)`)
}

// isNotFinite says whether a text is what programs print for infinities and for no number.
func isNotFinite(text string) bool {
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "nan", "inf", "infinity":
		return true
	}
	return false
}
