package template

import (
	"strings"
	"unicode"
)

// The kinds of Omission.
const (
	omittedTools    = "tool definitions"
	omittedThinking = "reasoning of earlier turns"
	omittedContent  = "part of a message"
	omittedName     = "names of speakers"
)

// omitted lists what the template leaves out. That it puts words of its own around the data's, or white space, is its
// business. The id of a call, and the name of the tool that answers, only link messages.
func (m *masker) omitted() []Omission {
	var out []Omission
	add := func(message int, what string) { out = append(out, Omission{message, what}) }
	if len(m.conv.Tools) > 0 && !m.tools {
		add(-1, omittedTools)
	}
	for i, msg := range m.conv.Messages {
		if msg.Reasoning != "" && !m.opts.DropReasoning && m.written[i][fieldReasoning] == 0 &&
			inked(msg.Reasoning) > 0 {
			add(i, omittedThinking)
		}
		if said := inked(withoutMarks(msg.Content)); m.written[i][fieldContent] < said {
			what := omittedContent
			if strings.Contains(msg.Content, thinkEnd) {
				what = omittedThinking
			}
			add(i, what)
		}
		if msg.Name != "" && msg.Role != "tool" && m.written[i][fieldName] == 0 {
			add(i, omittedName)
		}
	}
	return out
}

// What parts thinking from the answer in a message's content. Templates that look for these marks write them anew.
const (
	thinkBegin = "<think>"
	thinkEnd   = "</think>"
)

func withoutMarks(content string) string {
	if !strings.Contains(content, thinkEnd) {
		return content
	}
	return strings.NewReplacer(thinkBegin, "", thinkEnd, "").Replace(content)
}

// inked counts the bytes that are not white space.
func inked(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsSpace(r) {
			n += len(string(r))
		}
	}
	return n
}
