package data

import (
	"encoding/json"
	"fmt"
)

// A Kind says which fields of an Example are set, and so how it becomes text.
type Kind uint8

// The kinds of example.
const (
	KindMessages   Kind = iota + 1 // Messages (and Tools): rendered by a chat template
	KindCompletion                 // Prompt and Completion: literal text, no template
	KindText                       // Text: literal text, every token counts
	KindPair                       // a prompt and two Answers, the chosen one and the rejected one
	KindVerdict                    // a prompt and one of Answers, which is Desirable or not
	KindChoice                     // a question and Answers, of which one is Right
	KindPrompt                     // what is to be answered: Messages (and Tools), or literal Prompt
	KindGroup                      // Texts: an anchor, one that belongs to it, and any that do not
	KindLikeness                   // Texts: two, and Score, how much they are alike
)

// String gives the kind's name in messages and reports.
func (k Kind) String() string {
	switch k {
	case KindMessages:
		return "messages"
	case KindCompletion:
		return "completion"
	case KindText:
		return "text"
	case KindPair:
		return "pair"
	case KindVerdict:
		return "verdict"
	case KindChoice:
		return "choice"
	case KindPrompt:
		return "prompt"
	case KindGroup:
		return "group of texts"
	case KindLikeness:
		return "two texts with a score"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Source is the place an Example was read from.
type Source struct {
	File string // path as it was given or found
	// Line is the 1-based line the record starts on. For a container without lines (Parquet) it is the 1-based row
	// number.
	Line int
	// Sub is the 1-based index of the example within its record where one record gives several (the instances of a
	// Natural Instructions task), 0 otherwise.
	Sub int
}

// String gives "file:line", the form every data error begins with; an example within a record adds " (example n)".
func (s Source) String() string {
	if s.Sub > 0 {
		return fmt.Sprintf("%s:%d (example %d)", s.File, s.Line, s.Sub)
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}

// An Example is one item of training data, before any template or tokenizer has seen it.
type Example struct {
	Source Source
	Kind   Kind

	// KindMessages: the conversation, in order; KindPair, KindVerdict, KindPrompt: the prompt of a conversation
	Messages []Message
	Tools    json.RawMessage // JSON array of tool definitions for the template, or nil

	// KindCompletion: not counted; KindPair, KindVerdict, KindPrompt: the prompt where all is literal text
	Prompt     string
	Completion string // KindCompletion: counted

	// KindPair: chosen, rejected; KindVerdict: one; KindChoice: all; KindPrompt: the good answer that the data has, or
	// none
	Answers   []Answer
	Desirable bool // KindVerdict
	// KindPair: by how much the data scores the chosen answer above the rejected one, 0 unless Options.Margins; and
	// one over the number of pairs that its list of answers gives.
	Margin, Weight float64
	Right          int // KindChoice: index into Answers

	Texts []string // KindGroup, KindLikeness
	Score float64  // KindLikeness
	// KindGroup: by how much a teacher scores the second text above each of those behind it; nil unless
	// Options.Margins.
	Margins []float64

	Text string // KindText
	// A long document is cut into several examples. Continues says that this one begins where the example before it in
	// the data ended, Continued that the next one goes on: no beginning or end of text belongs there.
	Continues, Continued bool

	drop string // nothing can be learned from it, for this reason; such an example does not leave the package
}

// An Answer is one continuation of a prompt: Messages, of which the assistant's turns count, or, where they are nil,
// literal Text, which counts whole. The answers of one example are of one form.
type Answer struct {
	Messages []Message
	Text     string
	// Given is literal text between the prompt and Text that is given too: what fills a blank before what follows it.
	Given string
	// CutOff says that whoever wrote it was stopped: it has no end that could be learned.
	CutOff bool
}

// A Role is who speaks.
type Role string

// The roles. Formats with names of their own (human, gpt, observation) are mapped to these.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	Tool      Role = "tool"
	Developer Role = "developer"
)

// A Message is one turn of a conversation.
type Message struct {
	Role       Role
	Content    string     // text; the parts of a typed content list are joined
	Reasoning  string     // an assistant's chain of thought, where the data keeps it apart from Content
	ToolCalls  []ToolCall // calls an assistant makes
	ToolCallID string     // for Role Tool: the call this is the answer to, or ""
	Name       string     // the speaker's or the tool's name, or ""
	// Train is the data's own word on whether this message is trained on (loss_weight, weight, train): nil leaves it to
	// the mask that the run asks for.
	Train *bool
}

// A ToolCall is one call of a function by an assistant.
type ToolCall struct {
	ID   string // or ""
	Type string // "function" where the data does not say
	Name string // the function's name
	// Arguments is JSON: an object as a rule, or a string holding JSON as OpenAI's API writes it, just as the data had
	// it.
	Arguments json.RawMessage
}
