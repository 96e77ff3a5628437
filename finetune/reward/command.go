package reward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/ggtune/ggtune/finetune/program"
	"github.com/ggtune/ggtune/internal/visible"
)

// A command is a Reward that a program of the user's gives. For each answer it is given a line of JSON (asked), and
// prints a line with a number, or an object with the number as "reward".
type command struct{ *program.Program }

func newCommand(line string, o *Options) (command, error) {
	p, err := program.New(program.Config{Line: line, Name: "reward program", Timeout: o.Timeout,
		Option: "--reward-cmd", TimeoutOption: "--reward-timeout", Note: o.Note})
	return command{p}, err
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

// Score implements Reward.
func (c command) Score(ctx context.Context, samples []Sample) ([]float64, error) {
	out := make([]float64, len(samples))
	err := c.Ask(ctx, program.Call{
		N: len(samples),
		Line: func(i int) any {
			s := &samples[i]
			a := asked{Prompt: s.Prompt, Answer: s.Answer, Tokens: s.Tokens, Ended: s.Ended, Row: s.Row,
				Left: len(samples) - 1 - i}
			for _, m := range s.Messages {
				a.Messages = append(a.Messages, message{string(m.Role), m.Content})
			}
			return a
		},
		About: func(i int) string {
			return fmt.Sprintf("%s with the answer %s", samples[i].Source, visible.Excerpt(samples[i].Answer))
		},
		Take: func(i int, line string) (err error) {
			out[i], err = parseReward(line)
			return err
		},
	})
	return out, err
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
