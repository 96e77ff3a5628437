package template

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ggtune/ggtune/internal/jinja"
)

// capabilities are what templates differ in without saying so. They are found by trying.
type capabilities struct {
	toolsUndefined  bool // fails on tools being none; works when it is not defined
	typedContent    bool // wants content as [{"type": "text", "text": …}]
	emptyContent    bool // wants "" rather than none as the content of a message with tool calls only
	objectArguments bool // wants the arguments of tool calls as an object: a string of JSON is parsed for it
	stringArguments bool // wants them as a string of JSON: an object is written as one for it
	calls           bool // writes tool calls
	date            bool // writes the date
	callIDs         bool // fails on tool calls without an id: those that the data leaves without one are numbered
}

// probeLimits keep a hostile template from taking long before it is even used.
var probeLimits = jinja.Limits{Steps: 100_000, Bytes: 8 << 20, Output: 1 << 20}

// try renders a conversation with the capabilities given; ok is false where the template fails.
func (t *Template) try(conv Conversation, caps capabilities, opts Options, addPrompt bool) (pieces []jinja.Piece,
	ok bool) {
	vars, err := t.vars(conv, opts, caps, addPrompt)
	if err != nil {
		return nil, false
	}
	pieces, err = t.jinja.Render(vars, opts.now(), probeLimits)
	return pieces, err == nil
}

const probeText = "probe-content"

var (
	probeChat = Conversation{BOS: "<s>", EOS: "</s>", Messages: []Message{
		{Role: "user", Content: "probe-question"},
		{Role: "assistant", Content: probeText},
	}}
	probeTools = json.RawMessage(
		`[{"type": "function", "function": {"name": "probe_name", "description": "d", "parameters":` +
			` {"type": "object", "properties": {"probe_key": {"type": "string", "description": "d"}}, ` +
			`"required": ["probe_key"]}}}]`)
)

func (t *Template) probe() capabilities {
	var caps capabilities
	pieces, ok := t.try(probeChat, caps, Options{}, false)
	if !ok {
		undefined := capabilities{toolsUndefined: true}
		if p, ok2 := t.try(probeChat, undefined, Options{}, false); ok2 {
			pieces, ok, caps = p, true, undefined
		}
	}
	if !ok || !says(pieces, 1) {
		typed := caps
		typed.typedContent = true
		p, ok := t.try(probeChat, typed, Options{}, false)
		// A template that prints the list itself, as Python does, does not want one.
		if ok && says(p, 1) && !strings.Contains(join(p), "'type'") && !strings.Contains(join(p), `"type"`) {
			caps = typed
		}
	}
	caps = t.probeCalls(caps)
	caps.date = t.probeDate(caps)
	return caps
}

// probeDate finds out whether the text depends on the date, with tools or without.
func (t *Template) probeDate(caps capabilities) bool {
	if !strings.Contains(t.source, "strftime_now") {
		return false
	}
	withTools := probeChat
	withTools.Tools = probeTools
	for _, conv := range []Conversation{probeChat, withTools} {
		one, ok1 := t.try(conv, caps, Options{Now: time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC)}, false)
		other, ok2 := t.try(conv, caps, Options{Now: time.Date(2012, 11, 14, 0, 0, 0, 0, time.UTC)}, false)
		if ok1 && ok2 && join(one) != join(other) {
			return true
		}
	}
	return false
}

// says reports whether words of a message's content are among the pieces.
func says(pieces []jinja.Piece, message int) bool {
	for _, p := range pieces {
		if p.Origin == origin(message, fieldContent) {
			return true
		}
	}
	return false
}

// probeCalls finds out which of none and "" the template takes as the content of a message with tool calls, and whether
// it prints arguments given as an object or as a string: neither escaped twice nor as Python prints a dictionary.
func (t *Template) probeCalls(caps capabilities) capabilities {
	for _, n := range []int{len(callMessages), 2} { // with what follows a call; where no form of that works, without
		c, ok := t.probeForms(caps, callMessages[:n])
		if !ok {
			continue
		}
		c.calls = true
		_, ok = t.tryMessages(withoutIDs(callMessages[:n]), c)
		c.callIDs = !ok
		return c
	}
	return caps
}

// probeForms tries the forms of a message with tool calls; ok is false where the call is written in none.
func (t *Template) probeForms(caps capabilities, messages []Message) (best capabilities, ok bool) {
	for _, form := range []capabilities{
		{objectArguments: true}, {objectArguments: true, emptyContent: true},
		{stringArguments: true}, {stringArguments: true, emptyContent: true},
	} {
		c := caps
		c.calls = true
		c.objectArguments, c.stringArguments, c.emptyContent = form.objectArguments, form.stringArguments,
			form.emptyContent
		pieces, rendered := t.tryMessages(messages, c)
		if !rendered {
			continue
		}
		call := callText(pieces)
		if !strings.Contains(call, "probe-value") {
			continue
		}
		clean := !strings.Contains(call, `\"probe_key`) && !strings.Contains(call, `'probe_key'`)
		if !c.emptyContent { // some templates print a content of none as "None"
			empty := c
			empty.emptyContent = true
			other, rendered := t.tryMessages(messages, empty)
			clean = clean && (!rendered || strings.Count(join(other), "None") == strings.Count(join(pieces), "None"))
		}
		if clean {
			return c, true
		}
		if !ok {
			best, ok = c, true
		}
	}
	return best, ok
}

// tryMessages renders messages with tools.
func (t *Template) tryMessages(messages []Message, caps capabilities) ([]jinja.Piece, bool) {
	return t.try(Conversation{BOS: "<s>", EOS: "</s>", Tools: probeTools, Messages: messages}, caps, Options{}, false)
}

// withoutIDs gives the messages without the ids of tool calls.
func withoutIDs(messages []Message) []Message {
	out := append([]Message(nil), messages...)
	for i := range out {
		out[i].ToolCallID = ""
		out[i].ToolCalls = append([]ToolCall(nil), out[i].ToolCalls...)
		for k := range out[i].ToolCalls {
			out[i].ToolCalls[k].ID = ""
		}
	}
	return out
}

// numbered gives ids to tool calls that have none, and to the answers to them in turn. Nine digits satisfy the
// templates that insist on a form (Mistral's).
func numbered(messages []Message) []Message {
	out := append([]Message(nil), messages...)
	var open []string
	n := 0
	for i := range out {
		if len(out[i].ToolCalls) > 0 {
			open = nil
			out[i].ToolCalls = append([]ToolCall(nil), out[i].ToolCalls...)
		}
		for k := range out[i].ToolCalls {
			c := &out[i].ToolCalls[k]
			if n++; c.ID == "" {
				c.ID = fmt.Sprintf("%09d", n)
			}
			open = append(open, c.ID)
		}
		if out[i].Role == "tool" && out[i].ToolCallID == "" && len(open) > 0 {
			out[i].ToolCallID, open = open[0], open[1:]
		}
	}
	return out
}

// callMessages are a conversation with a tool call. Its id has nine letters and digits, on which Mistral's templates
// insist.
var callMessages = []Message{
	{Role: "user", Content: "probe-question"},
	{Role: "assistant", ToolCalls: []ToolCall{{ID: "probe0001", Type: "function", Name: "probe_name",
		Arguments: json.RawMessage(`{"probe_key": "probe-value"}`)}}},
	{Role: "tool", Content: "probe-result", ToolCallID: "probe0001", Name: "probe_name"},
	{Role: "assistant", Content: probeText},
	{Role: "user", Content: "probe-question"},
	{Role: "assistant", Content: probeText},
}

// callText gives the text between the first and the last word of the probe's tool call; the tool definitions, which
// hold the same names, are not in it.
func callText(pieces []jinja.Piece) string {
	first, last := -1, -1
	for i, p := range pieces {
		if p.Origin == origin(1, fieldToolCall) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return ""
	}
	// A quote or backslash around the first and last word is in the neighbouring pieces.
	return join(pieces[max(0, first-1):min(len(pieces), last+2)])
}

// A prompt is how the template opens an assistant's turn.
type prompt struct {
	added string // the text that add_generation_prompt adds, "" where the template ignores it
	tail  string // the text after the user's words with add_generation_prompt
}

// Opening is the text with which the template opens an assistant's turn: what add_generation_prompt adds. "": it does
// not say.
func (t *Template) Opening(opts Options) string { return t.prompt(opts).added }

// prompt finds how the template opens an assistant's turn, with the variables of opts. It is looked for in template
// text only, so a wrong answer moves no border into a message's words.
func (t *Template) prompt(opts Options) prompt {
	key, err := json.Marshal(opts.Vars)
	if err != nil {
		return prompt{}
	}
	t.mu.Lock()
	p, ok := t.prompts[string(key)]
	t.mu.Unlock()
	if ok {
		return p
	}
	conv := Conversation{BOS: "<s>", EOS: "</s>", Messages: probeChat.Messages[:1]}
	with, ok1 := t.try(conv, t.caps, opts, true)
	without, ok2 := t.try(conv, t.caps, opts, false)
	if ok1 && ok2 {
		a, b := join(with), join(without)
		if strings.HasPrefix(a, b) {
			p.added = a[len(b):]
		}
		if n := len(with); n > 0 && with[n-1].Origin == 0 {
			p.tail = with[n-1].Text
		}
	}
	t.mu.Lock()
	t.prompts[string(key)] = p
	t.mu.Unlock()
	return p
}

// opening gives the text that opens an assistant's turn, or "".
func (p prompt) opening(endOfTurn []string) string {
	if p.added != "" {
		return p.added
	}
	if i, n := firstOf(p.tail, endOfTurn); i >= 0 {
		return p.tail[i+n:]
	}
	return p.tail
}

// firstOf finds the first of the texts in s: its offset and length; of several at one place, the longest.
func firstOf(s string, texts []string) (at, length int) {
	at = -1
	for _, t := range texts {
		if t == "" {
			continue
		}
		if i := strings.Index(s, t); i >= 0 && (at < 0 || i < at || i == at && len(t) > length) {
			at, length = i, len(t)
		}
	}
	return at, length
}
