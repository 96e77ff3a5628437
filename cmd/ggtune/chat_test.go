package main

import (
	"testing"

	"github.com/ggtune/ggtune/finetune/template"
)

// Answers that the model ended are learned from; others are marked.
func TestTalkAsLine(t *testing.T) {
	for _, tc := range []struct {
		name, system string
		messages     []template.Message
		want         string
		unfinished   int
	}{
		{"nothing said", "terse", nil, "", 0},
		{"a whole answer and one that was stopped", "", []template.Message{
			{Role: "user", Content: "<q>"}, {Role: "assistant", Content: "a"},
			{Role: "user", Content: "r"}, {Role: "assistant", Content: "b", Train: new(bool)}},
			`{"messages":[{"role":"user","content":"<q>"},{"role":"assistant","content":"a"},` +
				`{"role":"user","content":"r"},{"role":"assistant","content":"b","weight":0}]}` + "\n", 1},
		{"with a system message", "terse", []template.Message{
			{Role: "user", Content: "q"}, {Role: "assistant", Content: "a"}},
			`{"messages":[{"role":"system","content":"terse"},{"role":"user","content":"q"},{"role":"assistant",` +
				`"content":"a"}]}` + "\n", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, unfinished, err := (&talk{system: tc.system, messages: tc.messages}).asLine()
			if err != nil || string(got) != tc.want || unfinished != tc.unfinished {
				t.Errorf("got %s, %d unfinished, %v, want %s, %d", got, unfinished, err, tc.want, tc.unfinished)
			}
		})
	}
}
