package export

import (
	"errors"
	"fmt"
	"strings"
	gotemplate "text/template"

	"github.com/ggtune/ggtune/finetune/template"
)

// A form is a chat format in Ollama's language, which is Go's text/template. %s is what stands before the first message
// where that is not a system's, as text.
var forms = []struct{ name, source string }{
	{"chatml", `{{ range $i, $m := .Messages }}{{ if and (eq $i 0) (ne .Role "system") }}%s{{ end }}<|im_start|>` +
		"{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"},
	{"llama3", `{{ range $i, $m := .Messages }}{{ if and (eq $i 0) (ne .Role "system") }}%s{{ end }}` +
		"<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}" +
		"<|start_header_id|>assistant<|end_header_id|>\n\n"},
	{"plain", `{{ range $i, $m := .Messages }}{{ if eq .Role "system" }}{{ .Content }}{{ else if eq .Role "user" }}` +
		"User: {{ .Content }}{{ else }}Assistant: {{ .Content }}</s>{{ end }}\n{{ end }}Assistant:"},
}

// Translate gives a template in Ollama's language that renders the conversations below byte for byte as t does, but for
// a BOS before them if the model adds one (addBOS), which Ollama then does. Where there is none the error says where
// those that were tried differ.
func Translate(t *template.Template, bos, eos string, addBOS bool) (string, error) {
	want := make([]string, 0, len(conversations))
	for _, c := range conversations {
		r, err := t.RenderPrompt(template.Conversation{Messages: c, BOS: bos, EOS: eos}, template.Options{})
		if err != nil {
			return "", err
		}
		text := r.Text()
		if addBOS {
			text = strings.TrimPrefix(text, bos)
		}
		want = append(want, text)
	}
	var nearest []string
	for _, f := range forms {
		source := f.source
		if f.name == "plain" {
			source = strings.ReplaceAll(source, "</s>", literal(eos))
		} else {
			source = fmt.Sprintf(source, literal(opening(f.source, want[0])))
		}
		if i, err := agrees(source, want); err != nil {
			return "", err
		} else if i >= 0 {
			nearest = append(nearest, fmt.Sprintf("%s's differs at conversation %d of %d", f.name, i+1, len(want)))
			continue
		}
		return source, nil
	}
	return "", errors.New(strings.Join(nearest, ", "))
}

// opening is what a template writes before the first conversation, which has no system message.
func opening(form, rendered string) string {
	first := conversations[0][0]
	mark := "<|im_start|>" + first.Role + "\n"
	if strings.Contains(form, "<|start_header_id|>") {
		mark = "<|start_header_id|>" + first.Role + "<|end_header_id|>\n\n"
	}
	before, _, _ := strings.Cut(rendered, mark)
	if before == rendered {
		return ""
	}
	return before
}

// literal writes a text so that text/template gives it as it is.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{ "{{" }}`) }

// agrees renders all conversations, and gives the index of the first that came out otherwise, or -1.
func agrees(source string, want []string) (int, error) {
	t, err := gotemplate.New("").Parse(source)
	if err != nil {
		return 0, err
	}
	for i, c := range conversations {
		var b strings.Builder
		if err := t.Execute(&b, map[string]any{"Messages": c}); err != nil {
			return 0, err
		}
		if b.String() != want[i] {
			return i, nil
		}
	}
	return -1, nil
}

func user(s string) template.Message      { return template.Message{Role: "user", Content: s} }
func assistant(s string) template.Message { return template.Message{Role: "assistant", Content: s} }
func system(s string) template.Message    { return template.Message{Role: "system", Content: s} }

// conversations are what translations are compared on. Messages of one role do not follow each other: Ollama joins
// them before its template sees them.
var conversations = [][]template.Message{
	{user("Hello!")},
	{system("You are brief."), user("Hello!")},
	{user("Hello!"), assistant("Hi."), user("How are you?")},
	{system("You are brief."), user("Hello!"), assistant("Hi."), user("Bye.")},
	{system("Be kind.\nBe brief."), user("One\ntwo\n\nthree")},
	{user("Braces {{ .Role }} and {% if %} and \"quotes\"")},
	{user("  blanks around  ")},
	{user("a newline behind\n")},
	{user("\ta tab"), assistant(" a blank before"), user("x")},
	{system(" blanks around "), user("x")},
	{user("")},
	{user("Grüße, 我想 🙂")},
	{user("<b>bold</b> & 'more'")},
	{user("def f(x):\n    return x\n"), assistant("```python\nf(1)\n```"), user("And f(2)?")},
	{user("1"), assistant("2"), user("3"), assistant("4"), user("5"), assistant("6"), user("7")},
	{system(""), user("an empty system message")},
	{user("<think>not a thought</think> a")},
	{user("a"), assistant("<think>\na thought\n</think>\n\nan answer"), user("b")},
	{user("a"), assistant(""), user("b")},
	{system("You write JSON."), user("{\"a\": [1, 2]}"), assistant("{\"b\": null}"), user("again")},
}
