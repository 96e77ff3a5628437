// Package rate collects a person's choices between two answers: what is asked, which pair is on show, what was chosen,
// and the file that holds it. It knows no model, no terminal and no browser.
package rate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Version is that of a record; a newer one is refused.
const Version = 1

// A Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// A Prompt is what is answered: a conversation, or literal text without a template. In JSON it is a list of messages,
// or a string.
type Prompt struct {
	Messages []Message // nil: Text
	Text     string
}

// MarshalJSON implements json.Marshaler.
func (p Prompt) MarshalJSON() ([]byte, error) {
	if p.Messages != nil {
		return marshal(p.Messages)
	}
	return marshal(p.Text)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Prompt) UnmarshalJSON(b []byte) error {
	*p = Prompt{}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '"' && b[0] != '[' {
		return errors.New("the prompt is neither a string nor a list of messages")
	}
	if b[0] == '"' {
		return json.Unmarshal(b, &p.Text)
	}
	if err := json.Unmarshal(b, &p.Messages); err != nil {
		return fmt.Errorf("the prompt is no list of messages with \"role\" and \"content\": %v", err)
	}
	if len(p.Messages) == 0 {
		return errors.New("the prompt is an empty list of messages")
	}
	for i, m := range p.Messages {
		if m.Role == "" {
			return fmt.Errorf("message %d of the prompt has no \"role\"", i+1)
		}
	}
	return nil
}

// marshal is json.Marshal that leaves <, > and & as they are: the files are read by people too.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// An Answer is a text and what made it.
type Answer struct {
	Text string `json:"text"`
	Name string `json:"name,omitempty"` // of the adapter's file, or "base": for people, the hashes decide

	ModelSHA256   string   `json:"model_sha256"`
	AdapterSHA256 *string  `json:"adapter_sha256"` // null: the model as it is
	AdapterScale  *float32 `json:"adapter_scale,omitempty"`
	Template      string   `json:"template,omitempty"`        // the chat template's name; "" for literal text
	TemplateHash  string   `json:"template_sha256,omitempty"` // of its text

	Seed          uint32  `json:"seed"`
	Temp          float32 `json:"temp"`
	TopK          int     `json:"top_k"`
	TopP          float32 `json:"top_p"`
	MinP          float32 `json:"min_p"`
	RepeatPenalty float32 `json:"repeat_penalty"`
	RepeatLastN   int     `json:"repeat_last_n"`
	MaxTokens     int     `json:"max_tokens"`
	Tokens        int     `json:"tokens"` // written
	// end: the model ended it; length, context: it is cut off; skipped: nobody waited for its end
	Stop string `json:"stop"`
}

// stopSkipped is the Stop of an answer that nobody waited for.
const stopSkipped = "skipped"

// Cut says that the text does not end where the model would have ended it.
func (a *Answer) Cut() bool { return a.Stop == "length" || a.Stop == "context" }

// A Choice is what a person says of two answers.
type Choice string

// The choices.
const (
	A    Choice = "a"    // the first answer shown is better
	B    Choice = "b"    // the second
	Tie  Choice = "tie"  // equally good
	Bad  Choice = "bad"  // both bad
	Edit Choice = "edit" // neither: one of them, edited, is better than it was
	Skip Choice = "skip"
)

// Choices lists all choices.
func Choices() []Choice { return []Choice{A, B, Tie, Bad, Edit, Skip} }

// A Record is one line of a file of choices, or of a file of prepared pairs, which have no choice yet.
type Record struct {
	Prompt     Prompt     `json:"prompt"`
	Answers    [2]Answer  `json:"answers"` // in the order shown
	Choice     Choice     `json:"choice,omitempty"`
	Edited     *string    `json:"edited,omitempty"`
	EditedFrom *int       `json:"edited_from,omitempty"` // index into Answers
	Chosen     *Completed `json:"chosen,omitempty"`      // for a, b and edit
	Rejected   *Completed `json:"rejected,omitempty"`
	About      About      `json:"ggtune"`
}

// About is what a record says of itself.
type About struct {
	Version int       `json:"version"`
	ID      string    `json:"id"` // of the prompt, and of the answers where they were prepared elsewhere
	Time    time.Time `json:"time"`
}

// A Completed answer is written as TRL reads it: one assistant message after a conversation, a string after literal
// text.
type Completed struct {
	Text           string
	Conversational bool
}

// MarshalJSON implements json.Marshaler.
func (c Completed) MarshalJSON() ([]byte, error) {
	if c.Conversational {
		return marshal([]Message{{Role: "assistant", Content: c.Text}})
	}
	return marshal(c.Text)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Completed) UnmarshalJSON(b []byte) error {
	*c = Completed{}
	if err := json.Unmarshal(b, &c.Text); err == nil {
		return nil
	}
	var m []Message
	if err := json.Unmarshal(b, &m); err != nil || len(m) != 1 {
		return errors.New("expected a string, or a list of one assistant message")
	}
	c.Text, c.Conversational = m[0].Content, true
	return nil
}

// settle fills in what follows from the choice.
func (r *Record) settle() {
	r.Chosen, r.Rejected = nil, nil
	put := func(chosen, rejected string) {
		r.Chosen = &Completed{chosen, r.Prompt.Messages != nil}
		r.Rejected = &Completed{rejected, r.Prompt.Messages != nil}
	}
	switch r.Choice {
	case A:
		put(r.Answers[0].Text, r.Answers[1].Text)
	case B:
		put(r.Answers[1].Text, r.Answers[0].Text)
	case Edit:
		put(*r.Edited, r.Answers[*r.EditedFrom].Text)
	}
}

// parseRecord reads a line. Whether it must hold a choice is the caller's to say.
func parseRecord(line []byte) (Record, error) {
	var raw struct {
		Record
		Answers []Answer `json:"answers"` // an array of another length would be filled up or cut in silence
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return Record{}, fmt.Errorf("not a record of two answers: %v", err)
	}
	r := raw.Record
	switch {
	case r.About.Version > Version:
		return r, fmt.Errorf("it is of version %d, and this ggtune knows up to %d; use a newer ggtune", r.About.Version,
			Version)
	case len(raw.Answers) != 2:
		return r, fmt.Errorf("it has %d \"answers\", expected 2", len(raw.Answers))
	case r.Prompt.Messages == nil && r.Prompt.Text == "":
		return r, errors.New("it has no \"prompt\"")
	}
	r.Answers = [2]Answer(raw.Answers)
	return r, nil
}

// checkChoice reports a record whose choice is none, or is incomplete.
func (r *Record) checkChoice() error {
	switch r.Choice {
	case A, B, Tie, Bad, Skip:
	case Edit:
		if r.Edited == nil || r.EditedFrom == nil || *r.EditedFrom < 0 || *r.EditedFrom > 1 {
			return errors.New("its choice is \"edit\", and \"edited\" or \"edited_from\" (0 or 1) is missing")
		}
	case "":
		return errors.New("it has no \"choice\": these are pairs to be rated (-d), not choices")
	default:
		return fmt.Errorf("its choice is %q, expected one of %q", r.Choice, Choices())
	}
	if r.About.ID == "" {
		return errors.New("it has no \"id\" in \"ggtune\"; `ggtune rate` writes one")
	}
	return nil
}

// NewRecord is a record of a prompt whose answers are to come.
func NewRecord(p Prompt) Record {
	return Record{Prompt: p,
		About: About{Version: Version, ID: pairID(p, nil), Time: time.Now().UTC().Truncate(time.Second)}}
}
