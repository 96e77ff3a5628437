package template

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ggtune/ggtune/internal/jinja"
)

// A Template is a parsed chat template. It is safe for concurrent use.
type Template struct {
	name   string
	source string
	jinja  *jinja.Template
	caps   capabilities

	mu      sync.Mutex
	prompts map[string]prompt // by the JSON of Options.Vars
}

// Options of one rendering. The zero value is ready to use.
type Options struct {
	// Mask says which turns are trained on. Default MaskAssistant.
	Mask Mask
	// EndOfTurn lists the texts of the model's end-of-generation tokens ("<|im_end|>", "</s>"): what a turn can end
	// with. The first of them after an assistant's content ends that turn and is trained with it.
	EndOfTurn []string
	// Vars are further variables for the template, such as enable_thinking; values are what encoding/json can encode.
	Vars map[string]any
	// Now is the date that templates which print one are shown. Default DefaultDate.
	Now time.Time
	// DropReasoning leaves out Message.Reasoning. Without it, reasoning that the template has no place for is an error.
	DropReasoning bool
	// Limits bound the work of the template. Default: see jinja.Limits.
	Limits jinja.Limits
}

// DefaultDate is the date that Llama 3's own template falls back to: equal data gives equal text on every day.
var DefaultDate = time.Date(2024, 7, 26, 0, 0, 0, 0, time.UTC)

func (o Options) now() time.Time {
	if o.Now.IsZero() {
		return DefaultDate
	}
	return o.Now
}

// Parse parses a chat template. The name (a file, "built into MODEL.gguf", the name of a fallback) is used in messages.
// The template is tried on small conversations to learn how it wants tool calls; that a template fails on them all is
// no error here.
func Parse(source, name string) (*Template, error) {
	if strings.TrimSpace(source) == "" {
		return nil, fmt.Errorf("chat template %s is empty; name another with --template: a file, or one of %s",
			name, strings.Join(Names(), ", "))
	}
	j, err := jinja.Parse(name, source)
	if err != nil {
		return nil, mend(err)
	}
	t := &Template{name: name, source: source, jinja: j, prompts: map[string]prompt{}}
	t.caps = t.probe()
	return t, nil
}

// Name gives the name that Parse was told.
func (t *Template) Name() string { return t.name }

// Source gives the template's text.
func (t *Template) Source() string { return t.source }

// SHA256 gives the hash of the template's text, in hex: what an adapter records.
func (t *Template) SHA256() string {
	sum := sha256.Sum256([]byte(t.source))
	return hex.EncodeToString(sum[:])
}

// MarksGeneration says that the template marks with {% generation %} what an assistant writes; the mask follows it.
func (t *Template) MarksGeneration() bool { return t.jinja.HasGeneration() }

// An Error is a conversation that the template cannot render, or not so that its mask is certain.
type Error struct {
	Template string
	Message  int // index of the message at fault, or -1 where it is not known
	Reason   string
	Err      error // the jinja.Error behind it, or nil
}

func (e *Error) Error() string {
	where := ""
	if e.Message >= 0 {
		where = fmt.Sprintf("message %d: ", e.Message+1)
	}
	return where + e.Reason
}

func (e *Error) Unwrap() error { return e.Err }

func (t *Template) errorf(message int, format string, args ...any) error {
	return &Error{Template: t.name, Message: message, Reason: fmt.Sprintf(format, args...)}
}

// mend adds to a fault of the template itself how to get around it.
func mend(err error) error {
	return fmt.Errorf("%w; mend it, or name another with --template: a file, or one of %s", err,
		strings.Join(Names(), ", "))
}

// Render renders a conversation into spans. The mask is not guessed from the text: every piece of it knows which
// message it was written by (see package jinja). An error is an *Error.
func (t *Template) Render(conv Conversation, opts Options) (*Rendering, error) {
	pieces, err := t.run(conv, opts, false)
	if err != nil {
		return nil, err
	}
	return t.spans(conv, opts, pieces)
}

// RenderPrompt renders a conversation and the opening of the assistant's next turn: what a model is given to answer.
// Nothing of it is trained on: it is one span.
func (t *Template) RenderPrompt(conv Conversation, opts Options) (*Rendering, error) {
	m, err := t.ask(conv, opts)
	if err != nil {
		return nil, err
	}
	return m.whole(), nil
}

// RenderAfter is RenderPrompt of a conversation that goes on behind a turn of the assistant, message turn, and says at
// which byte of the text that begins: behind what ends the turn, or where the template writes no such, behind its last
// word. The turn must say something.
func (t *Template) RenderAfter(conv Conversation, turn int, opts Options) (r *Rendering, from int, err error) {
	m, err := t.ask(conv, opts)
	if err != nil {
		return nil, 0, err
	}
	g, ok := m.turn(turn)
	if !ok {
		return nil, 0, t.errorf(turn, "chat template %s writes nothing of this turn, so it is not certain where what "+
			"follows begins; name another template with --template", t.name)
	}
	if g.ended {
		from = g.end
	} else {
		from = g.mid
	}
	for i := turn + 1; i < len(conv.Messages); i++ {
		if strings.TrimSpace(conv.Messages[i].Content) != "" && m.first[i] < from {
			return nil, 0, t.errorf(i, "chat template %s does not write this %s message behind the turn that it "+
				"answers; let it be of another role, or name another template with --template", t.name,
				conv.Messages[i].Role)
		}
	}
	return m.whole(), from, nil
}

// ask lays out a conversation with the opening of the assistant's next turn.
func (t *Template) ask(conv Conversation, opts Options) (*masker, error) {
	pieces, err := t.run(conv, opts, true)
	if err != nil {
		return nil, err
	}
	m := &masker{t: t, conv: conv, opts: opts}
	m.lay(pieces)
	return m, nil
}

func join(pieces []jinja.Piece) string {
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.Text)
	}
	return b.String()
}

// run renders the conversation to pieces of text.
func (t *Template) run(conv Conversation, opts Options, addPrompt bool) ([]jinja.Piece, error) {
	if len(conv.Messages) == 0 {
		return nil, t.errorf(-1, "the conversation has no messages")
	}
	vars, err := t.vars(conv, opts, t.caps, addPrompt)
	if err != nil {
		return nil, err
	}
	pieces, err := t.jinja.Render(vars, opts.now(), opts.Limits)
	if err == nil {
		return pieces, nil
	}
	var je *jinja.Error
	if !errors.As(err, &je) {
		return nil, err
	}
	i := slices.IndexFunc(conv.Messages, func(m Message) bool { return len(m.ToolCalls) > 0 })
	if i >= 0 && !je.Raised && !strings.Contains(t.source, "tool_calls") { // it failed on what only such a message has
		return nil, t.noCalls(i)
	}
	e := &Error{Template: t.name, Message: t.culprit(conv, opts, je), Reason: mend(err).Error(), Err: err}
	if je.Raised {
		e.Reason = fmt.Sprintf("%v; change the conversation, or name another template with --template", err)
	}
	return nil, e
}

func (t *Template) noCalls(message int) error {
	return t.errorf(message, "chat template %s has no place for tool calls; leave them out, or name another "+
		"template with --template", t.name)
}

// WritesDate says that the template writes the date, which is Options.Now.
func (t *Template) WritesDate() bool { return t.caps.date }

// culprit finds the message at which the template raised its exception: the last of the shortest beginning of the
// conversation that it refuses for the same reason. -1: not found.
func (t *Template) culprit(conv Conversation, opts Options, want *jinja.Error) int {
	const most = 64 // messages tried; longer conversations fail without the index
	if !want.Raised {
		return -1
	}
	for n := 1; n <= min(len(conv.Messages), most); n++ {
		part := conv
		part.Messages = conv.Messages[:n]
		vars, err := t.vars(part, opts, t.caps, false)
		if err != nil {
			return -1
		}
		_, err = t.jinja.Render(vars, opts.now(), opts.Limits)
		var je *jinja.Error
		if errors.As(err, &je) && je.Raised && je.Message == want.Message {
			return n - 1
		}
	}
	return -1
}

// Origins of text: 1 + 4·message + field, and toolsOrigin for the tool definitions.
const (
	fieldContent = iota
	fieldReasoning
	fieldToolCall
	fieldName // written by the data, but no part of what the message says; so is the id of the call that is answered
	fieldCallID
	fields

	toolsOrigin = -1
)

func origin(message, field int) int { return 1 + fields*message + field }

// vars makes the variables of a rendering, the same as transformers' apply_chat_template passes.
func (t *Template) vars(conv Conversation, opts Options, caps capabilities, addPrompt bool) (*jinja.Dict, error) {
	d := jinja.NewDict()
	for k, v := range opts.Vars {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, t.errorf(-1, "template variable %q: %v", k, err)
		}
		val, err := jinja.FromJSON(b, 0)
		if err != nil {
			return nil, t.errorf(-1, "template variable %q: %v", k, err)
		}
		d.Set(k, val)
	}
	messages := &jinja.List{}
	turns := conv.Messages
	if caps.callIDs {
		turns = numbered(turns)
	}
	for i, m := range turns {
		v, err := t.message(i, m, opts, caps)
		if err != nil {
			return nil, err
		}
		messages.Items = append(messages.Items, v)
	}
	d.Set("messages", messages)
	if len(conv.Tools) > 0 {
		tools, err := jinja.FromJSON(conv.Tools, toolsOrigin)
		if err != nil {
			return nil, t.errorf(-1, "the tool definitions are not JSON: %v", err)
		}
		d.Set("tools", tools)
	} else if !caps.toolsUndefined {
		d.Set("tools", nil)
	}
	d.Set("documents", nil)
	d.Set("add_generation_prompt", addPrompt)
	d.Set("bos_token", jinja.Marked(conv.BOS, 0))
	d.Set("eos_token", jinja.Marked(conv.EOS, 0))
	return d, nil
}

// message makes the dictionary of message i.
func (t *Template) message(i int, m Message, opts Options, caps capabilities) (*jinja.Dict, error) {
	d := jinja.NewDict()
	d.Set("role", jinja.Marked(m.Role, 0))
	content := jinja.Value(jinja.Marked(m.Content, origin(i, fieldContent)))
	switch {
	case m.Content == "" && len(m.ToolCalls) > 0 && caps.calls && !caps.emptyContent:
		content = nil
	case caps.typedContent:
		part := jinja.NewDict()
		part.Set("type", jinja.Marked("text", 0))
		part.Set("text", content)
		content = &jinja.List{Items: []jinja.Value{part}}
	}
	d.Set("content", content)
	if m.Name != "" {
		d.Set("name", jinja.Marked(m.Name, origin(i, fieldName)))
	}
	if m.ToolCallID != "" {
		d.Set("tool_call_id", jinja.Marked(m.ToolCallID, origin(i, fieldCallID)))
	}
	if m.Reasoning != "" && !opts.DropReasoning {
		key := t.reasoningKey()
		if key == "" {
			return nil, t.errorf(i,
				"it has reasoning apart from its content, for which chat template %s has no place; "+
					"write it into the content, or drop it with the option for that", t.name)
		}
		d.Set(key, jinja.Marked(m.Reasoning, origin(i, fieldReasoning)))
	}
	if len(m.ToolCalls) == 0 {
		return d, nil
	}
	calls := &jinja.List{}
	for _, c := range m.ToolCalls {
		v, err := t.toolCall(i, c, caps)
		if err != nil {
			return nil, err
		}
		calls.Items = append(calls.Items, v)
	}
	d.Set("tool_calls", calls)
	return d, nil
}

// reasoningKey is the key under which the template looks for reasoning: it must name it, so its source tells.
func (t *Template) reasoningKey() string {
	for _, key := range []string{"reasoning_content", "thinking"} {
		if strings.Contains(t.source, "."+key) || strings.Contains(t.source, "'"+key+"'") ||
			strings.Contains(t.source, `"`+key+`"`) {
			return key
		}
	}
	return ""
}

// toolCall makes the dictionary of a tool call, its arguments an object or a string as the template wants them.
func (t *Template) toolCall(i int, c ToolCall, caps capabilities) (*jinja.Dict, error) {
	o := origin(i, fieldToolCall)
	d, fn := jinja.NewDict(), jinja.NewDict()
	if c.ID != "" {
		d.Set("id", jinja.Marked(c.ID, o))
	}
	kind := c.Type
	if kind == "" {
		kind = "function"
	}
	d.Set("type", jinja.Marked(kind, 0))
	args := c.Arguments
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	v, err := jinja.FromJSON(args, o)
	if err != nil {
		return nil, t.errorf(i, "the arguments of the call of %q are not JSON: %v", c.Name, err)
	}
	text, isText := v.(jinja.Str)
	switch {
	case isText && caps.objectArguments:
		if obj, err := jinja.FromJSON([]byte(text.String()), o); err == nil {
			v = obj
		}
	case !isText && caps.stringArguments:
		v = jinja.Marked(jinja.ToJSON(v), o)
	}
	fn.Set("name", jinja.Marked(c.Name, o))
	fn.Set("arguments", v)
	d.Set("function", fn)
	return d, nil
}
