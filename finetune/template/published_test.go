package template_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/jinja"
	"github.com/ggtune/ggtune/internal/testdata"
)

// eot is what ends a turn in the published templates.
var eot = []string{"</s>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<｜end▁of▁sentence｜>",
	"<|END_OF_TURN_TOKEN|>",
	"<|end|>", "<|return|>", "<|call|>", "<|user|>", "<|observation|>", "<|end_of_text|>", "<seed:eos>",
	"<|assistant_end|>", "[e~[",
	"<SPECIAL_12>"}

type rawMessage struct {
	Role, Name string
	Content    *string
	Reasoning  string `json:"reasoning_content"`
	ToolCallID string `json:"tool_call_id"`
	ToolCalls  []struct {
		ID, Type string
		Function struct {
			Name      string
			Arguments json.RawMessage
		}
	} `json:"tool_calls"`
}

type rawConversation struct {
	Name     string
	Messages json.RawMessage
	Tools    json.RawMessage
}

func conversations(t testing.TB) map[string]template.Conversation {
	t.Helper()
	b, err := os.ReadFile("../../internal/jinja/testdata/conversations.json")
	if err != nil {
		t.Fatal(err)
	}
	var raw []rawConversation
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	out := map[string]template.Conversation{}
	for _, r := range raw {
		var ms []rawMessage
		if err := json.Unmarshal(r.Messages, &ms); err != nil {
			t.Fatal(err)
		}
		c := template.Conversation{BOS: "<s>", EOS: "</s>", Tools: r.Tools}
		for _, m := range ms {
			x := template.Message{Role: m.Role, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID, Name: m.Name}
			if m.Content != nil {
				x.Content = *m.Content
			}
			for _, k := range m.ToolCalls {
				x.ToolCalls = append(x.ToolCalls,
					template.ToolCall{ID: k.ID, Type: k.Type, Name: k.Function.Name, Arguments: k.Function.Arguments})
			}
			c.Messages = append(c.Messages, x)
		}
		out[r.Name] = c
	}
	return out
}

// published gives the published templates, and the built-in ones.
func published(t *testing.T) map[string]*template.Template {
	t.Helper()
	out := map[string]*template.Template{}
	files, err := filepath.Glob(filepath.Join(testdata.Path(t, "templates"), "*.jinja"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates found (%v)", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".jinja")
		if out[name], err = template.Parse(string(b), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range template.Names() {
		tmpl, err := template.Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = tmpl
	}
	return out
}

// TestMaskOfPublished holds every template to what a mask must be, on every conversation it renders.
func TestMaskOfPublished(t *testing.T) {
	convs := conversations(t)
	for name, tmpl := range published(t) {
		t.Run(name, func(t *testing.T) {
			rendered := 0
			for cname, conv := range convs {
				r, err := tmpl.Render(conv, template.Options{EndOfTurn: eot, DropReasoning: cname == "reasoning"})
				if err != nil {
					continue
				}
				rendered++
				checkMask(t, cname, conv, r)
				prompt, err := tmpl.RenderPrompt(conv, template.Options{DropReasoning: cname == "reasoning"})
				if err != nil || prompt.Text() == "" {
					t.Errorf("%s: the prompt: %v", cname, err)
				}
			}
			if rendered == 0 && name != "fireworks-ai-llama-3-firefunction-v2" { // needs a variable "functions"
				t.Error("it renders none of the conversations")
			}
		})
	}
}

func checkMask(t *testing.T, name string, conv template.Conversation, r *template.Rendering) {
	t.Helper()
	trained := make([]string, len(conv.Messages))
	ends := make([]int, len(conv.Messages))
	for i, s := range r.Spans {
		switch {
		case s.Text == "":
			t.Errorf("%s: span %d is empty", name, i)
		case i > 0 && r.Spans[i-1].Train == s.Train && r.Spans[i-1].Message == s.Message && r.Spans[i-1].Kind == s.Kind:
			t.Errorf("%s: spans %d and %d are alike", name, i-1, i)
		case s.Train && (s.Message < 0 || conv.Messages[s.Message].Role != "assistant"):
			t.Errorf("%s: span %d of message %d is trained: %q", name, i, s.Message, s.Text)
		case s.Train && s.Kind == template.Header:
			t.Errorf("%s: the header %q is trained", name, s.Text)
		}
		if s.Train {
			trained[s.Message] += s.Text
			if s.Kind == template.End {
				ends[s.Message]++
				if n := countEnds(s.Text); n > 1 {
					t.Errorf("%s: the end %q holds %d end-of-turn tokens", name, s.Text, n)
				}
			}
		}
	}
	for i, m := range conv.Messages {
		if m.Role != "assistant" {
			continue
		}
		if ends[i] > 1 {
			t.Errorf("%s: message %d ends %d times", name, i, ends[i])
		}
		want := strings.TrimSpace(m.Content)
		if k := strings.LastIndex(want, "</think>"); k >= 0 { // templates drop the reasoning of earlier turns
			want = strings.TrimSpace(want[k+len("</think>"):])
		}
		if len(m.ToolCalls) > 0 { // some write the calls only
			want = m.ToolCalls[0].Name
			if strings.Contains(trained[i], "abcdef123") || strings.Contains(trained[i], "Bern") {
				want = "" // Kimi names calls by their id
			}
		}
		if !strings.Contains(trained[i], want) {
			t.Errorf("%s: message %d trains %q, which lacks %q", name, i, trained[i], want)
		}
	}
	for i, m := range conv.Messages {
		for j, text := range trained {
			if m.Role == "user" && i != j && len(m.Content) > 6 &&
				strings.Contains(text, strings.TrimSpace(m.Content)) {
				t.Errorf("%s: the words of user message %d are trained with message %d", name, i, j)
			}
		}
	}
}

func countEnds(s string) int {
	n := 0
	for _, e := range eot {
		n += strings.Count(s, e)
	}
	return n
}

// TestRendersAsJinja compares the spans put together with a plain rendering of the same messages: marking text and
// cutting it into spans changes nothing.
func TestRendersAsJinja(t *testing.T) {
	b, err := os.ReadFile("../../internal/jinja/testdata/conversations.json")
	if err != nil {
		t.Fatal(err)
	}
	var raw []rawConversation
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	convs := conversations(t)
	now := time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)
	compared := 0
	for name, tmpl := range published(t) {
		j, err := jinja.Parse(name, tmpl.Source())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range raw {
			if strings.HasPrefix(c.Name, "tools") || c.Name == "reasoning" {
				continue // tool calls and reasoning are brought into the form the template wants
			}
			vars := jinja.NewDict()
			messages, err := jinja.FromJSON(c.Messages, 0)
			if err != nil {
				t.Fatal(err)
			}
			vars.Set("messages", messages)
			vars.Set("tools", nil)
			vars.Set("documents", nil)
			vars.Set("add_generation_prompt", false)
			vars.Set("bos_token", jinja.Marked("<s>", 0))
			vars.Set("eos_token", jinja.Marked("</s>", 0))
			pieces, err := j.Render(vars, now, jinja.Limits{})
			if err != nil {
				continue
			}
			var want strings.Builder
			for _, p := range pieces {
				want.WriteString(p.Text)
			}
			r, err := tmpl.Render(convs[c.Name], template.Options{Now: now, EndOfTurn: eot, DropReasoning: false})
			if err != nil {
				t.Errorf("%s, %s: %v", name, c.Name, err)
				continue
			}
			compared++
			if r.Text() != want.String() {
				t.Errorf("%s, %s:\ngot  %q\nwant %q", name, c.Name, r.Text(), &want)
			}
		}
	}
	if compared < 250 {
		t.Errorf("only %d renderings were compared", compared)
	}
}
