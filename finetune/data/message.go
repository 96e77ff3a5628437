package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// roles maps the names that data uses for roles to ours.
var roles = map[string]Role{
	"system": System, "user": User, "assistant": Assistant, "tool": Tool, "developer": Developer,
	"human": User, "gpt": Assistant, "chatgpt": Assistant, "model": Assistant, "bot": Assistant, "bing": Assistant, "bard": Assistant,
	"function": Tool, "observation": Tool, "function_response": Tool, "tool_response": Tool, "ipython": Tool,
	"function_call": Assistant, "tool_call": Assistant,
}

// parseMessages reads a list of messages in OpenAI's or ShareGPT's spelling.
func parseMessages(r *Record, field string, v json.RawMessage) ([]Message, error) {
	var items []json.RawMessage
	v = embedded(v)
	if err := json.Unmarshal(v, &items); err != nil {
		return nil, r.errorf("field %q is %s; expected a list of messages", field, describe(v))
	}
	out := make([]Message, 0, len(items))
	for i, item := range items {
		m, err := parseMessage(item)
		if err != nil {
			return nil, r.errorf("field %q, message %d: %v", field, i+1, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMessage(doc json.RawMessage) (Message, error) {
	fields, err := parseObject(doc)
	if err != nil {
		return Message{}, err
	}
	rec := Record{Fields: fields}
	var m Message
	roleField, contentField := "role", "content"
	if !rec.Has("role") && rec.Has("from") {
		roleField, contentField = "from", "value"
	}
	name, ok := asText(mustGet(&rec, roleField))
	if !ok || name == "" {
		return m, fmt.Errorf("found the fields %s; expected \"role\" and \"content\", or \"from\" and \"value\"", quoted(rec.Names()))
	}
	if m.Role, ok = roles[strings.ToLower(name)]; !ok {
		return m, fmt.Errorf("the role %q is unknown; known: %s", name, strings.Join(sortedKeys(roles), ", "))
	}
	content := mustGet(&rec, contentField)
	if !rec.Has(contentField) && rec.Has("value") {
		content = mustGet(&rec, "value")
	}
	if err := m.setContent(content); err != nil {
		return m, err
	}
	if strings.EqualFold(name, "function_call") || strings.EqualFold(name, "tool_call") {
		calls, err := parseCalls([]byte(m.Content))
		if err != nil {
			return m, fmt.Errorf("a message of role %q holds no call: %v", name, err)
		}
		m.ToolCalls, m.Content = calls, ""
	}
	if err := m.setRest(&rec); err != nil {
		return m, err
	}
	return m, nil
}

func mustGet(r *Record, name string) json.RawMessage {
	v, _ := r.Get(name)
	return v
}

// setContent reads a message's content: text, or a list of typed parts.
func (m *Message) setContent(v json.RawMessage) error {
	if s, ok := asText(v); ok {
		m.Content = s
		return nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(v, &parts); err != nil {
		return fmt.Errorf("the content is %s; expected a string or a list of parts", describe(v))
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
		rec := Record{Fields: fields}
		kind, _ := asText(mustGet(&rec, "type"))
		value := mustGet(&rec, kind)
		for _, name := range []string{"value", "text", "content", "thinking"} {
			if value == nil {
				value = mustGet(&rec, name)
			}
		}
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
			calls, err := parseCalls([]byte(s))
			if err != nil {
				return fmt.Errorf("part %d of the content: %v", i+1, err)
			}
			m.ToolCalls = append(m.ToolCalls, calls...)
			ok = true
		default:
			return fmt.Errorf("part %d of the content is of type %q; this trains on text: expected text, reasoning or tool_call", i+1, kind)
		}
		if !ok {
			return fmt.Errorf("part %d of the content holds %s; expected a string", i+1, describe(value))
		}
	}
	m.Content = text.String()
	return nil
}

// setRest reads a message's other fields; unknown ones are left aside.
func (m *Message) setRest(rec *Record) error {
	for _, f := range rec.Fields {
		null := string(bytes.TrimSpace(f.Value)) == "null"
		s, isText := asText(f.Value)
		switch f.Name {
		case "name", "tool_call_id", "reasoning_content", "reasoning", "thinking":
			if !isText {
				return fmt.Errorf("%q is %s; expected a string", f.Name, describe(f.Value))
			}
			switch f.Name {
			case "name":
				m.Name = s
			case "tool_call_id":
				m.ToolCallID = s
			default:
				m.Reasoning += s
			}
		case "tool_calls", "function_call":
			if null || isText && strings.TrimSpace(s) == "" {
				continue
			}
			calls, err := parseCalls(embedded(f.Value))
			if err != nil {
				return fmt.Errorf("%q: %v", f.Name, err)
			}
			m.ToolCalls = append(m.ToolCalls, calls...)
		case "loss_weight", "weight", "train", "training", "trainable":
			if null {
				continue
			}
			train, err := parseTrain(f.Value)
			if err != nil {
				return fmt.Errorf("%q: %v", f.Name, err)
			}
			if m.Train != nil && *m.Train != train {
				return fmt.Errorf("%q contradicts another mark of the message on whether it is trained", f.Name)
			}
			m.Train = &train
		}
	}
	return nil
}

// parseTrain reads whether a message is trained: a boolean, 0 or 1.
func parseTrain(v json.RawMessage) (bool, error) {
	var b bool
	if json.Unmarshal(v, &b) == nil {
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
		return false, fmt.Errorf("the weight is %s; a message is trained (1) or not (0), weights between are not supported", s)
	}
	return false, fmt.Errorf("found %s; expected true, false, 0 or 1", describe(v))
}

// parseCalls reads one tool call or a list of them: {"name", "arguments"}, also within {"type": "function", "function": …}.
func parseCalls(doc json.RawMessage) ([]ToolCall, error) {
	doc = bytes.TrimSpace(doc)
	if len(doc) == 0 || doc[0] != '[' {
		c, err := parseCall(doc)
		return []ToolCall{c}, err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(doc, &items); err != nil {
		return nil, fmt.Errorf("the list of tool calls is malformed: %v", err)
	}
	var calls []ToolCall
	for i, item := range items {
		c, err := parseCall(item)
		if err != nil {
			return nil, fmt.Errorf("tool call %d: %v", i+1, err)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

func parseCall(doc json.RawMessage) (ToolCall, error) {
	c := ToolCall{Type: "function"}
	fields, err := parseObject(embedded(doc))
	if err != nil {
		return c, err
	}
	outer := Record{Fields: fields}
	c.ID, _ = asText(mustGet(&outer, "id"))
	if t, ok := asText(mustGet(&outer, "type")); ok && t != "" {
		c.Type = t
	}
	inner := outer
	if f, ok := outer.Get("function"); ok {
		if inner.Fields, err = parseObject(f); err != nil {
			return c, fmt.Errorf("\"function\": %v", err)
		}
	}
	name, ok := asText(mustGet(&inner, "name"))
	if !ok || name == "" {
		return c, fmt.Errorf("found the fields %s; a tool call needs \"name\" and \"arguments\"", quoted(inner.Names()))
	}
	c.Name = name
	c.Arguments = mustGet(&inner, "arguments")
	if c.Arguments == nil {
		c.Arguments = mustGet(&inner, "parameters")
	}
	if c.Arguments == nil || string(bytes.TrimSpace(c.Arguments)) == "null" {
		c.Arguments = json.RawMessage("{}")
	}
	return c, nil
}

// parseTools reads a list of tool definitions, which may be JSON within a string; nil where there are none.
func parseTools(r *Record, field string) (json.RawMessage, error) {
	v, ok := r.Get(field)
	if !ok {
		return nil, nil
	}
	v = embedded(v)
	if s, ok := asText(v); ok && strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal(v, &items); err != nil {
		return nil, r.errorf("field %q is %s; expected a list of tool definitions", field, describe(v))
	}
	if len(items) == 0 {
		return nil, nil
	}
	return v, nil
}
