package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// roles maps the names that data uses for roles to ours.
var roles = map[string]Role{
	"system": System, "user": User, "assistant": Assistant, "tool": Tool, "developer": Developer,
	"human": User, "gpt": Assistant, "chatgpt": Assistant, "model": Assistant, "bot": Assistant, "bing": Assistant,
	"bard":     Assistant,
	"function": Tool, "observation": Tool, "function_response": Tool, "tool_response": Tool, "ipython": Tool,
	"function_call": Assistant, "tool_call": Assistant,
}

// parseMessages reads a list of messages in OpenAI's or ShareGPT's spelling.
func parseMessages(r *Record, field string) ([]Message, error) {
	items, err := r.list(field, "messages")
	if err != nil {
		return nil, err
	}
	out := make([]Message, 0, len(items))
	for i, item := range items {
		m, err := parseMessage(r, field+"[]", item)
		if err != nil {
			return nil, r.errorf("field %q, message %d: %v", field, i+1, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// parseMessage reads a message in the field of r that path names.
func parseMessage(r *Record, path string, doc json.RawMessage) (Message, error) {
	fields, err := parseObject(doc)
	if err != nil {
		return Message{}, err
	}
	rec := r.inner(path, fields)
	var m Message
	roleField, contentField := "role", "content"
	if !rec.Has("role") && rec.Has("from") {
		roleField, contentField = "from", "value"
	}
	name, ok := asText(mustGet(rec, roleField))
	if !ok || name == "" {
		return m, fmt.Errorf("found the fields %s; expected \"role\" and \"content\", or \"from\" and \"value\"",
			quoted(rec.Names()))
	}
	if m.Role, ok = roles[strings.ToLower(name)]; !ok {
		return m, fmt.Errorf("the role %q is unknown; known: %s", name, strings.Join(sortedKeys(roles), ", "))
	}
	if !rec.Has(contentField) && rec.Has("value") {
		contentField = "value"
	}
	if err := m.setContent(rec, contentField); err != nil {
		return m, err
	}
	if strings.EqualFold(name, "function_call") || strings.EqualFold(name, "tool_call") {
		calls, err := parseCalls(rec, contentField, []byte(m.Content))
		if err != nil {
			return m, fmt.Errorf("a message of role %q holds no call: %v", name, err)
		}
		m.ToolCalls, m.Content = calls, ""
	}
	if err := m.setRest(rec); err != nil {
		return m, err
	}
	rec.end()
	return m, nil
}

func mustGet(r *Record, name string) json.RawMessage {
	v, _ := r.Get(name)
	return v
}

// setContent reads a message's content: text, or a list of typed parts.
func (m *Message) setContent(r *Record, field string) error {
	v := mustGet(r, field)
	if s, ok := asText(v); ok {
		m.Content = s
		return nil
	}
	parts, err := listOf(v)
	if err != nil {
		return fmt.Errorf("the content: %w; expected a string or a list of parts", err)
	}
	var text strings.Builder
	for i, p := range parts {
		if s, ok := asText(p); ok {
			text.WriteString(s)
			continue
		}
		fields, err := parseObject(p)
		if err != nil {
			return fmt.Errorf("part %d of the content: %v", i+1, err)
		}
		rec := r.inner(field+"[]", fields)
		kind, _ := asText(mustGet(rec, "type"))
		valueField := firstOf(rec, []string{kind, "value", "text", "content", "thinking"})
		value := mustGet(rec, valueField)
		s, ok := asText(value)
		switch kind {
		case "text", "input_text", "output_text", "":
			text.WriteString(s)
		case "reasoning", "thinking":
			m.Reasoning += s
		case "tool_call", "function_call":
			if !ok {
				s = string(value)
			}
			calls, err := parseCalls(rec, valueField, []byte(s))
			if err != nil {
				return fmt.Errorf("part %d of the content: %v", i+1, err)
			}
			m.ToolCalls = append(m.ToolCalls, calls...)
			ok = true
		default:
			return fmt.Errorf(
				"part %d of the content is of type %q; this trains on text: expected text, reasoning or tool_call", i+1,
				kind)
		}
		if !ok {
			return fmt.Errorf("part %d of the content holds %s; expected a string", i+1, describe(value))
		}
		rec.end()
	}
	m.Content = text.String()
	return nil
}

// setRest reads a message's other fields. Those that it does not know are named as unread.
func (m *Message) setRest(rec *Record) error {
	for _, name := range rec.Names() {
		var err error
		switch {
		case slices.Contains([]string{"name", "tool_call_id", "reasoning_content", "reasoning", "thinking"}, name):
			err = m.setText(name, mustGet(rec, name))
		case name == "tool_calls" || name == "function_call":
			v := mustGet(rec, name)
			if s, isText := asText(v); isText && strings.TrimSpace(s) == "" { // null too
				continue
			}
			var calls []ToolCall
			calls, err = parseCalls(rec, name, embedded(v))
			m.ToolCalls = append(m.ToolCalls, calls...)
		case trainMarks[name] != 0:
			err = m.setTrain(mustGet(rec, name), trainMarks[name])
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

func (m *Message) setText(name string, v json.RawMessage) error {
	s, ok := asText(v)
	if !ok {
		return fmt.Errorf("found %s; expected a string", describe(v))
	}
	switch name {
	case "name":
		m.Name = s
	case "tool_call_id":
		m.ToolCallID = s
	default:
		m.Reasoning += s
	}
	return nil
}

// A trainMark is how a field of a message says whether the message is trained on.
type trainMark uint8

const (
	trainsIf  trainMark = iota + 1 // true or 1: it is
	maskedIf                       // true or 1: it is not
	ambiguous                      // programs do not agree on what it says, or it says it of a part of the message
)

// trainMarks are the fields that say whether a message is trained on, as other trainers write them: LLaMA-Factory and
// ms-swift (loss, loss_weight, loss_scale), OpenAI and Mistral (weight), axolotl (train, training, train_detail),
// torchtune (masked).
var trainMarks = map[string]trainMark{
	"loss": trainsIf, "loss_weight": trainsIf, "loss_scale": trainsIf, "loss_mask": trainsIf, "weight": trainsIf,
	"train": trainsIf, "training": trainsIf, "trainable": trainsIf, "trained": trainsIf, "masked": maskedIf,
	"ignore_loss": maskedIf,
	"mask":        ambiguous, "train_detail": ambiguous, "training_detail": ambiguous,
}

func (m *Message) setTrain(v json.RawMessage, mark trainMark) error {
	if !saysSomething(v) {
		return nil
	}
	if mark == ambiguous {
		return errors.New("this way to say what is trained on is not supported; write \"train\": true or false " +
			"for the whole message")
	}
	train, err := parseTrain(v)
	if err != nil {
		return err
	}
	train = train == (mark == trainsIf)
	if m.Train != nil && *m.Train != train {
		return errors.New("it contradicts another mark of the message on whether it is trained")
	}
	m.Train = &train
	return nil
}

// parseTrain reads whether a message is trained: a boolean, 0 or 1.
func parseTrain(v json.RawMessage) (bool, error) {
	var b bool
	if json.Unmarshal(v, &b) == nil {
		return b, nil
	}
	if b, ok := boolText(v); ok {
		return b, nil
	}
	var f float64
	if s, ok := asText(v); ok && json.Unmarshal([]byte(s), &f) == nil {
		switch f {
		case 0:
			return false, nil
		case 1:
			return true, nil
		}
		return false,
			fmt.Errorf("the weight is %s; a message is trained (1) or not (0), weights between are not supported", s)
	}
	return false, fmt.Errorf("found %s; expected true, false, 0 or 1", describe(v))
}

// boolText reads true or false from a string: tables have no booleans.
func boolText(v json.RawMessage) (b, ok bool) {
	s, _ := asText(v)
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// parseCalls reads one tool call or a list of them in the field of r that path names: {"name", "arguments"}, also
// within {"type": "function", "function": …}.
func parseCalls(r *Record, path string, doc json.RawMessage) ([]ToolCall, error) {
	doc = bytes.TrimSpace(doc)
	if len(doc) == 0 || doc[0] != '[' {
		c, err := parseCall(r, path, doc)
		return []ToolCall{c}, err
	}
	items, err := listOf(doc)
	if err != nil {
		return nil, fmt.Errorf("the list of tool calls is malformed: %v", err)
	}
	var calls []ToolCall
	for i, item := range items {
		c, err := parseCall(r, path+"[]", item)
		if err != nil {
			return nil, fmt.Errorf("tool call %d: %v", i+1, err)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

func parseCall(r *Record, path string, doc json.RawMessage) (ToolCall, error) {
	c := ToolCall{Type: "function"}
	fields, err := parseObject(embedded(doc))
	if err != nil {
		return c, err
	}
	outer := r.inner(path, fields)
	c.ID, _ = asText(mustGet(outer, "id"))
	if t, ok := asText(mustGet(outer, "type")); ok && t != "" {
		c.Type = t
	}
	call := outer
	if f, ok := outer.Get("function"); ok {
		fields, err := parseObject(f)
		if err != nil {
			return c, fmt.Errorf("\"function\": %v", err)
		}
		call = outer.inner("function", fields)
	}
	name, ok := asText(mustGet(call, "name"))
	if !ok || name == "" {
		return c, fmt.Errorf("found the fields %s; a tool call needs \"name\" and \"arguments\"", quoted(call.Names()))
	}
	c.Name = name
	c.Arguments = mustGet(call, firstOf(call, []string{"arguments", "parameters"}))
	if text, isText := asText(c.Arguments); isText && strings.TrimSpace(text) == "" { // null and absent too
		c.Arguments = json.RawMessage("{}")
	} else if at := loneSurrogate(c.Arguments); at >= 0 {
		return c, surrogateError(c.Arguments, at)
	} else if isText && !json.Valid([]byte(text)) {
		r.remark("the arguments of a tool call are no JSON; they are taken as they are")
	}
	outer.end()
	if call != outer {
		call.end()
	}
	return c, nil
}

// parseTools reads a list of tool definitions, which may be JSON within a string: "tools", or "functions", as
// OpenAI's API had it before; nil where there are none.
func parseTools(r *Record) (json.RawMessage, error) {
	field := "tools"
	if v, _ := r.Get(field); !saysSomething(embedded(v)) && r.Has("functions") {
		field = "functions"
	}
	v, _ := r.Get(field)
	v = embedded(v)
	if !saysSomething(v) {
		return nil, nil
	}
	items, err := r.list(field, "tool definitions")
	if err != nil {
		return nil, err
	}
	same := true
	for i, item := range items {
		tool := embedded(item)
		if describe(tool) != "an object" {
			return nil, r.errorf("field %q, tool %d is %s; expected a tool definition", field, i+1, describe(tool))
		}
		fields, err := parseObject(tool)
		if err != nil {
			return nil, r.errorf("field %q, tool %d: %v", field, i+1, err)
		}
		if field == "functions" && !(&Record{Fields: fields}).Has("function") {
			tool = slices.Concat([]byte(`{"type": "function", "function": `), tool, []byte("}"))
		}
		same = same && bytes.Equal(tool, item)
		items[i] = tool
	}
	if same { // as the data has it
		return v, nil
	}
	return slices.Concat([]byte("["), bytes.Join(asBytes(items), []byte(", ")), []byte("]")), nil
}

func asBytes(items []json.RawMessage) [][]byte {
	out := make([][]byte, len(items))
	for i, item := range items {
		out[i] = item
	}
	return out
}
