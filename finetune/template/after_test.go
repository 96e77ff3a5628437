package template_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/template"
)

// exchange is a conversation in which others answer the assistant, as role.
func exchange(role string) template.Conversation {
	return template.Conversation{BOS: "<s>", EOS: "</s>", Messages: []template.Message{
		{Role: "user", Content: "Guess a number."}, {Role: "assistant", Content: "Is it 7?"},
		{Role: role, Content: "Higher."}, {Role: "assistant", Content: "Then 9."}, {Role: role, Content: "Lower."}}}
}

// written is what the assistant writes in a turn: what would be trained of it.
func written(r *template.Rendering, turn int) (text string) {
	for _, s := range r.Spans {
		if s.Train && s.Message == turn {
			text += s.Text
		}
	}
	return text
}

// rewrites are the templates that write what is past in another way than when it was new, by who answers.
var rewrites = map[string]string{
	"CohereForAI-c4ai-command-r-plus-tool_use user":      "instructions for the newest turn alone",
	"CohereForAI-c4ai-command-r-plus-tool_use tool":      "the same",
	"Apertus-8B-Instruct tool":                           "the assistant's turn goes on behind a tool",
	"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use tool": "a line end behind the last answer of a tool is missing",
	"NousResearch-Hermes-3-Llama-3.1-8B-tool_use tool":   "the same",
}

// unplaced are those that leave out what a tool says.
var unplaced = []string{"llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct"}

// TestRenderAfter: a prompt, what the assistant writes, what comes after it, and so on, make the text that the template
// writes for the whole conversation, whatever stands in for the turns; but for a <think> with which some templates open
// a new turn, and not one of the past.
func TestRenderAfter(t *testing.T) {
	opts := template.Options{EndOfTurn: eot}
	for _, role := range []string{"user", "tool"} {
		tried := 0
		for name, tmpl := range published(t) {
			whole := exchange(role)
			want, err := tmpl.RenderPrompt(whole, opts)
			if err != nil {
				continue // not every template has a place for tools that nobody has called
			}
			spans, err := tmpl.Render(whole, opts)
			if err != nil {
				continue
			}
			got, err := laid(tmpl, whole, spans, opts)
			if left := role == "tool" && slices.Contains(unplaced, name); left != (err != nil) || left &&
				!strings.Contains(err.Error(), "does not write this tool message behind the turn") {
				t.Errorf("%s, answered by %s: %v", name, role, err)
			}
			if err != nil {
				continue
			}
			tried++
			plain := strings.NewReplacer("<think>\n", "")
			a, b := plain.Replace(got), plain.Replace(want.Text())
			if _, other := rewrites[name+" "+role]; other != (a != b) {
				t.Errorf("%s, answered by %s:\n%q, want\n%q", name, role, a, b)
			}
		}
		if tried < 25 {
			t.Errorf("answered by %s: %d templates, want at least 25", role, tried)
		}
	}
}

// laid puts a conversation together turn by turn; spans say what the assistant wrote.
func laid(tmpl *template.Template, whole template.Conversation, spans *template.Rendering, opts template.Options) (
	text string, err error) {
	part := whole
	part.Messages = whole.Messages[:1]
	begin, err := tmpl.RenderPrompt(part, opts)
	if err != nil {
		return "", err
	}
	text = begin.Text()
	for _, turn := range []int{1, 3} {
		part.Messages = slices.Clone(whole.Messages[:turn+2])
		for i := 1; i <= turn; i += 2 {
			part.Messages[i].Content = "something else"
		}
		r, from, err := tmpl.RenderAfter(part, turn, opts)
		if err != nil {
			return "", err
		}
		if k := strings.LastIndex(r.Text(), whole.Messages[turn+1].Content); k < from || r.Own(k, k+1) {
			return "", fmt.Errorf("what is answered is at byte %d of %q, from %d on, or the template's own", k,
				r.Text(), from)
		}
		text += written(spans, turn) + r.Text()[from:]
	}
	return text, nil
}
