// Package environment has a program of the user's answer what a model says, turn by turn: a game, or tools. It knows
// what the program is asked and what it may answer; no model, no tokens, no training.
//
//	e, err := environment.Open(environment.Config{Command: "python3 game.py"})
//	replies, err := e.Ask(ctx, questions)       // a line of JSON for each, and one back
//	err = e.Close()
//
// Each line holds all that has been said, so that a program needs no memory, and one that was started again goes on.
package environment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/program"
	"github.com/ggtune/ggtune/internal/visible"
)

// A Message is one turn of an exchange. As JSON it is what the program reads and writes.
type Message struct {
	Role       data.Role `json:"role"`
	Content    string    `json:"content"`
	Name       string    `json:"name,omitempty"`
	ToolCallID string    `json:"tool_call_id,omitempty"`
}

// An Over says why the model gets no further turn although the environment has not ended the exchange.
type Over string

// What ends an exchange beside the environment.
const (
	Turns  Over = "turns"  // the model has had as many as it may
	Length Over = "length" // its turn was cut off: there was no room for more of it
	Room   Over = "room"   // there is no room for what the environment says, and a turn behind it
)

// A Question is a line that the program reads. Those of one prompt have one Group and one Seed.
type Question struct {
	Source string `json:"-"` // file:line of the prompt, for messages

	Group  string `json:"group"`  // which prompt, and when it is answered
	Sample *int   `json:"sample"` // which of the answers to it, from 0; nil at turn 0, which is for all of them
	Seed   int    `json:"seed"`
	Turn   int    `json:"turn"`   // of the model, from 1; 0: it has not said anything yet
	Answer string `json:"answer"` // what it says in this turn
	Tokens int    `json:"tokens"`
	Ended  bool   `json:"ended"` // it ended its turn; else that was cut off
	Over   Over   `json:"over"`
	// Messages are the prompt, Exchange is all that was said since: what the environment said at turn 0, too.
	Messages []Message                  `json:"messages"`
	Exchange []Message                  `json:"exchange"`
	Row      map[string]json.RawMessage `json:"row"` // of the data, all columns
	// Left is how many lines are still to come before answers are waited for: a program may collect them.
	Left int `json:"left"`
}

// A Reply is what the program answers.
type Reply struct {
	Messages []Message // what it says; at the end of an exchange nobody but people read it
	Done     bool      // the exchange has come to its end
	Reward   *float64  // what the turn was worth; nil: it does not say
}

// A Config says which program is asked.
type Config struct {
	Command string // as the shell reads it
	// Timeout is how long it may take over the lines of one call. Default program.DefaultTimeout.
	Timeout time.Duration
	// Note is told what a person should know meanwhile. Default: nobody is.
	Note func(string)
}

// An Environment is a program that runs as long as it is asked. It is used by one goroutine at a time.
type Environment struct{ program *program.Program }

// Open gives an environment, whose program is started when it is first asked. Close it.
func Open(c Config) (*Environment, error) {
	p, err := program.New(program.Config{Line: c.Command, Name: "environment", Timeout: c.Timeout,
		Option: "--env-cmd", TimeoutOption: "--env-timeout", Note: c.Note})
	if err != nil {
		return nil, err
	}
	return &Environment{p}, nil
}

// Close ends the program. It may be called again, and on nil.
func (e *Environment) Close() error {
	if e == nil {
		return nil
	}
	return e.program.Close()
}

// Ask asks all questions together, and gives the replies in their order. When ctx is done it returns its cause.
func (e *Environment) Ask(ctx context.Context, questions []Question) ([]Reply, error) {
	out := make([]Reply, len(questions))
	err := e.program.Ask(ctx, program.Call{
		N: len(questions),
		Line: func(i int) any {
			q := questions[i]
			q.Left = len(questions) - 1 - i
			return q
		},
		About: func(i int) string {
			q := &questions[i]
			if q.Turn == 0 {
				return q.Source + " at the beginning (turn 0)"
			}
			return fmt.Sprintf("%s, turn %d, in which the model says %s", q.Source, q.Turn, visible.Excerpt(q.Answer))
		},
		Take: func(i int, line string) (err error) {
			out[i], err = parse(&questions[i], line)
			return err
		},
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("environment: %w", err)
	}
	return out, err
}

// notFinite matches what programs print for a reward that is no number.
var notFinite = regexp.MustCompile(`"reward"\s*:\s*[-+]?(?i:nan|inf)`)

// parse reads a line that the program printed.
func parse(q *Question, line string) (r Reply, err error) {
	var o struct {
		Message json.RawMessage `json:"message"`
		Done    *bool           `json:"done"`
		Reward  *float64        `json:"reward"`
		Info    json.RawMessage `json:"info"` // the program's own
	}
	text := strings.TrimSpace(line)
	if !strings.HasPrefix(text, "{") {
		return r, errors.New(`expected a JSON object with "message", "done" or "reward" (what else there is to say ` +
			`goes to standard error)`)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		if notFinite.MatchString(text) {
			return r, errors.New("a reward is a finite number")
		}
		return r, fmt.Errorf(`%s; expected "message", "done", "reward", and "info" for what is its own`, told(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return r, errors.New("something stands behind the object; expected one on each line")
	}
	if o.Reward != nil && (math.IsNaN(*o.Reward) || math.IsInf(*o.Reward, 0)) {
		return r, errors.New("a reward is a finite number")
	}
	if r.Messages, err = messages(o.Message); err != nil {
		return r, err
	}
	r.Reward, r.Done = o.Reward, o.Done != nil && *o.Done
	switch {
	case q.Turn == 0 && (r.Done || r.Reward != nil):
		return r, errors.New(`"done" or "reward" before the model has said anything`)
	case q.Turn > 0 && !r.Done && q.Over == "" && len(r.Messages) == 0:
		return r, errors.New(`an exchange goes on with a "message", or ends with "done": true`)
	}
	return r, nil
}

// told is what is wrong with a line, without the names of Go's types.
func told(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("%q is a %s", wrong.Field, wrong.Value)
	}
	return "malformed JSON (" + strings.TrimPrefix(err.Error(), "json: ") + ")"
}

// messages reads what an environment says: a text, which is a user's turn, or a message, or several.
func messages(doc json.RawMessage) (out []Message, err error) {
	doc = bytes.TrimSpace(doc)
	switch {
	case len(doc) == 0 || string(doc) == "null":
		return nil, nil
	case doc[0] == '"':
		out = []Message{{Role: data.User}}
		err = json.Unmarshal(doc, &out[0].Content)
	case doc[0] == '{':
		out = make([]Message, 1)
		err = strictly(doc, &out[0])
	case doc[0] == '[':
		err = strictly(doc, &out)
	default:
		return nil, errors.New(`"message" is neither a text nor an object, nor a list of objects`)
	}
	if err != nil {
		return nil, fmt.Errorf(`"message": %s; expected "role" and "content", and "name" or "tool_call_id"`, told(err))
	}
	for i := range out {
		m := &out[i]
		switch {
		case m.Role == "":
			m.Role = data.User
		case m.Role == data.Assistant:
			return nil, errors.New(`a message of role "assistant" is the model's, not the environment's; expected ` +
				`user or tool`)
		case m.Role != data.User && m.Role != data.Tool && m.Role != data.System && m.Role != data.Developer:
			return nil, fmt.Errorf("a message of role %q; expected user or tool", m.Role)
		}
	}
	return out, nil
}

func strictly(doc []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Turn is m as templates read it.
func (m Message) Turn() data.Message {
	return data.Message{Role: m.Role, Content: m.Content, Name: m.Name, ToolCallID: m.ToolCallID}
}
