package reward

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/finetune/match"
	"github.com/ggtune/ggtune/internal/visible"
)

// Columns are the names under which data holds the right answer. The first that a row has is taken.
func Columns() []string {
	return []string{"answer", "solution", "target", "output", "reference", "completion", "response", "label",
		"messages"}
}

// compared is a Reward of 1 for an answer that matches a right one of its row, and of 0 for another.
type compared struct {
	match  *match.Match
	column string
}

func newCompared(name, arg string, o *Options) (Reward, error) {
	m, err := match.New(name, arg)
	if err != nil {
		return nil, err
	}
	return &compared{m, o.Column}, nil
}

// Check implements checker.
func (c *compared) Check(s *Sample) error {
	_, err := c.wanted(s)
	return err
}

// Score implements Reward.
func (c *compared) Score(ctx context.Context, samples []Sample) ([]float64, error) {
	return each(c.score).Score(ctx, samples)
}

func (c *compared) score(s *Sample) (float64, error) {
	wanted, err := c.wanted(s)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(wanted, func(want string) bool { return c.match.Right(s.Answer, want) }) {
		return 1, nil
	}
	return 0, nil
}

// wanted gives what right answers hold.
func (c *compared) wanted(s *Sample) ([]string, error) {
	right, err := Reference(s.Row, c.column)
	if err != nil {
		return nil, err
	}
	wanted := make([]string, len(right))
	for i, text := range right {
		if wanted[i], err = c.match.Wanted(text); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}

// Reference gives the right answers of a row, at least one: the texts in a column, or in the first of Columns that it
// has.
func Reference(row map[string]json.RawMessage, column string) ([]string, error) {
	if column == "" {
		for _, name := range Columns() {
			if _, ok := row[name]; ok {
				column = name
				break
			}
		}
	}
	v, ok := row[column]
	if !ok {
		names := slices.Sorted(maps.Keys(row))
		have := "it has " + strings.Join(names, ", ")
		if len(names) == 0 {
			have = "it has none"
		}
		if column == "" {
			return nil, fmt.Errorf("the row has no column with the right answer (%s); say which it is "+
				"(--reward-column); %s", strings.Join(Columns(), ", "), have)
		}
		return nil, fmt.Errorf("the row has no column %q (--reward-column); %s", column, have)
	}
	texts, ok := texts(v)
	if !ok || len(texts) == 0 {
		return nil, fmt.Errorf("the column %q holds no right answer: %s; expected a text, a number, or a list of them",
			column, visible.Excerpt(string(v)))
	}
	return texts, nil
}

// texts gives the texts that a value holds: itself, those of its list, or of a list of messages the last one's.
func texts(v json.RawMessage) ([]string, bool) {
	v = bytes.TrimSpace(v)
	if len(v) == 0 || string(v) == "null" {
		return nil, false
	}
	switch v[0] {
	case '"':
		var s string
		return []string{s}, json.Unmarshal(v, &s) == nil
	case '[':
		return listed(v)
	case '{':
		return nil, false
	}
	return []string{string(v)}, true // a number, true or false
}

func listed(v json.RawMessage) (out []string, ok bool) {
	var items []json.RawMessage
	if json.Unmarshal(v, &items) != nil {
		return nil, false
	}
	for i, item := range items {
		if item = bytes.TrimSpace(item); len(item) > 0 && item[0] == '{' {
			if i < len(items)-1 {
				continue // the conversation before the answer
			}
			var m struct {
				Role, From     string
				Content, Value *string
			}
			if json.Unmarshal(item, &m) != nil || m.Content == nil && m.Value == nil ||
				m.Role != "assistant" && m.From != "gpt" {
				return nil, false
			}
			if m.Content == nil {
				m.Content = m.Value
			}
			return []string{*m.Content}, true
		}
		if len(item) > 0 && item[0] == '[' {
			return nil, false
		}
		one, ok := texts(item)
		if !ok {
			return nil, false
		}
		out = append(out, one...)
	}
	return out, len(out) > 0
}
