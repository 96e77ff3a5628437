// Package rate collects a person's choices between answers: what is asked, which pair is on show, what was chosen,
// and the file that holds it. It knows no model, no terminal and no browser.
package rate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Version is that of the newest records; a newer one is refused. A list of answers that were ranked or given stars is
// of version 2, a choice between two of version 1.
const Version = 2

// MaxAnswers is how many answers to a prompt can be judged: of more a person has forgotten the first.
const MaxAnswers = 4

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

// MostStars is how many stars the best answer has.
const MostStars = 5

// stopSkipped is the Stop of an answer that nobody waited for.
const stopSkipped = "skipped"

// Cut says that the text does not end where the model would have ended it.
func (a *Answer) Cut() bool { return a.Stop == "length" || a.Stop == "context" }

// A Choice is what a person says of two answers, or of several.
type Choice string

// The choices.
const (
	A     Choice = "a"    // of two: the first answer shown is better
	B     Choice = "b"    // of two: the second
	Tie   Choice = "tie"  // of two: equally good
	Bad   Choice = "bad"  // all bad
	Edit  Choice = "edit" // none: one of them, edited, is better than it was
	Skip  Choice = "skip"
	Rank  Choice = "rank"  // each has a rank
	Stars Choice = "stars" // each has one to five stars
)

// Choices lists all choices.
func Choices() []Choice { return []Choice{A, B, Tie, Bad, Edit, Skip, Rank, Stars} }

// A Record is one line of a file of choices, or of a file of prepared pairs, which have no choice yet.
type Record struct {
	Prompt     Prompt     `json:"prompt"`
	Answers    []Answer   `json:"answers"` // in the order shown, 2 to MaxAnswers
	Choice     Choice     `json:"choice,omitempty"`
	Ranks      []int      `json:"ranks,omitempty"`   // for rank: of each answer; 1 is best, equal ones are equally good
	Ratings    []int      `json:"ratings,omitempty"` // for stars: of each answer, 1 to 5
	Edited     *string    `json:"edited,omitempty"`
	EditedFrom *int       `json:"edited_from,omitempty"` // index into Answers
	Chosen     *Completed `json:"chosen,omitempty"`      // for a, b and edit; of a list the best
	Rejected   *Completed `json:"rejected,omitempty"`    // … the worst
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
	case Rank, Stars:
		worth := r.worth()
		best, worst := 0, 0
		for i, x := range worth {
			if x > worth[best] {
				best = i
			}
			if x < worth[worst] {
				worst = i
			}
		}
		if worth[best] > worth[worst] {
			put(r.Answers[best].Text, r.Answers[worst].Text)
		}
	}
}

// worth is what each answer of a list is worth, more being better; nil where no list was judged.
func (r *Record) worth() []int {
	switch r.Choice {
	case Rank:
		out := make([]int, len(r.Ranks))
		for i, rank := range r.Ranks {
			out[i] = -rank
		}
		return out
	case Stars:
		return r.Ratings
	}
	return nil
}

// pairs counts the pairs of a better and a worse answer.
func (r *Record) pairs() (n int) {
	worth := r.worth()
	if worth == nil && r.Chosen != nil && r.Rejected != nil {
		return 1
	}
	for i, x := range worth {
		for _, y := range worth[:i] {
			if x != y {
				n++
			}
		}
	}
	return n
}

// parseRecord reads a line. Whether it must hold a choice is the caller's to say.
func parseRecord(line []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, fmt.Errorf("not a record of answers: %v", err)
	}
	switch {
	case r.About.Version > Version:
		return r, fmt.Errorf("it is of version %d, and this ggtune knows up to %d; use a newer ggtune", r.About.Version,
			Version)
	case len(r.Answers) < 2 || len(r.Answers) > MaxAnswers:
		return r, fmt.Errorf("it has %d \"answers\", expected 2 to %d", len(r.Answers), MaxAnswers)
	case r.Prompt.Messages == nil && r.Prompt.Text == "":
		return r, errors.New("it has no \"prompt\"")
	}
	return r, nil
}

// checkChoice reports a record whose choice is none, or is incomplete.
func (r *Record) checkChoice() error {
	switch r.Choice {
	case Bad, Skip:
	case A, B, Tie:
		if len(r.Answers) != 2 {
			return fmt.Errorf("its choice is %q, between two, and it has %d answers", r.Choice, len(r.Answers))
		}
	case Rank, Stars:
		values, name, most := r.Ranks, "ranks", len(r.Answers)
		if r.Choice == Stars {
			values, name, most = r.Ratings, "ratings", MostStars
		}
		wrong := func(x int) bool { return x < 1 || x > most }
		if len(values) != len(r.Answers) || slices.ContainsFunc(values, wrong) {
			return fmt.Errorf("its choice is %q, and its %q are %v; expected a number from 1 to %d for each of %d "+
				"answers", r.Choice, name, values, most, len(r.Answers))
		}
	case Edit:
		if r.Edited == nil || r.EditedFrom == nil || *r.EditedFrom < 0 || *r.EditedFrom >= len(r.Answers) {
			return errors.New("its choice is \"edit\", and \"edited\" or \"edited_from\" (an answer, from 0) is " +
				"missing")
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
		About: About{Version: 1, ID: pairID(p, nil), Time: time.Now().UTC().Truncate(time.Second)}}
}
