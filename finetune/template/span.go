package template

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Kind says what part of a turn a span is.
type Kind uint8

// The kinds of span.
const (
	Header  Kind = iota // template text before a message's content: role marks, BOS, the end of a turn nobody trains
	Content             // a message's text as the template wrote it, tool calls and reasoning included
	End                 // the end-of-turn text after an assistant's content
)

// String gives the kind's name.
func (k Kind) String() string {
	switch k {
	case Header:
		return "header"
	case Content:
		return "content"
	case End:
		return "end"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Span is one run of rendered text.
type Span struct {
	Text  string
	Train bool
	// index into Conversation.Messages of the turn it belongs to; a header belongs to the turn it opens; -1: none
	Message int
	Kind    Kind
}

// A Rendering is a conversation as text.
type Rendering struct {
	// Spans, concatenated, are exactly what the template renders for the conversation. No span is empty, and neighbours
	// differ in Train, Message or Kind.
	Spans []Span
	// Data lists, ascending, the bytes [start, end) of the text that the data wrote: words of messages, names, tool
	// definitions. All else is the template's own: only there is the text of a control token that token.
	Data [][2]int
	// Omitted lists what the data says and the template leaves out, in the order of the messages.
	Omitted []Omission
	// StartsWithBOS says that the text begins with Conversation.BOS: the tokenizer must not add a second one.
	StartsWithBOS bool
	// EndsTurn says that the last trained turn is followed by one of Options.EndOfTurn in the text: the end of the turn
	// is written, and no token need be added for it.
	EndsTurn bool
}

// An Omission is something that the data says and the template does not write.
type Omission struct {
	Message int // -1: of the conversation
	What    string
}

// Text gives the whole rendered text.
func (r *Rendering) Text() string {
	var b strings.Builder
	for _, s := range r.Spans {
		b.WriteString(s.Text)
	}
	return b.String()
}

// Own says that all bytes [start, end) of the text are the template's own.
func (r *Rendering) Own(start, end int) bool {
	i, _ := slices.BinarySearchFunc(r.Data, start+1, func(d [2]int, at int) int { return cmp.Compare(d[1], at) })
	return i == len(r.Data) || r.Data[i][0] >= end
}

// A Message is one turn as the template sees it.
type Message struct {
	Role       string // system, user, assistant, tool, developer
	Content    string
	Reasoning  string // shown to the template as reasoning_content and thinking; "" leaves both undefined
	ToolCalls  []ToolCall
	ToolCallID string
	Name       string
	Train      *bool // overrides the mask for this message; nil leaves it to Options.Mask
}

// A ToolCall is one function call of an assistant. Arguments is JSON: an object, or a string that holds one.
type ToolCall struct {
	ID, Type, Name string
	Arguments      json.RawMessage
}

// A Conversation is what a template renders.
type Conversation struct {
	Messages []Message
	Tools    json.RawMessage // JSON array of tool definitions, or nil
	BOS, EOS string          // the texts of the model's special tokens, as bos_token and eos_token
}

// A Mask says which turns are trained on.
type Mask uint8

// The masks.
const (
	MaskAssistant Mask = iota // every assistant turn, unless Message.Train says otherwise
	MaskLast                  // the last assistant turn only
	MaskAll                   // the whole text, prompts and headers included; Message.Train is not looked at
)

// String gives the mask's name as options and files write it.
func (m Mask) String() string {
	switch m {
	case MaskAssistant:
		return "assistant"
	case MaskLast:
		return "last"
	case MaskAll:
		return "all"
	}
	return fmt.Sprintf("mask %d", uint8(m))
}

// Masks lists the names of the masks.
func Masks() (names []string) {
	for m := MaskAssistant; m <= MaskAll; m++ {
		names = append(names, m.String())
	}
	return names
}

// ParseMask gives the mask of that name; the error lists the names.
func ParseMask(name string) (Mask, error) {
	names := Masks()
	if i := slices.Index(names, name); i >= 0 {
		return Mask(i), nil
	}
	return 0, fmt.Errorf("loss mask %q is unknown; known: %s", name, strings.Join(names, ", "))
}
