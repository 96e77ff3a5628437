package export

import (
	"errors"
	"fmt"
	"strings"
	gotemplate "text/template"

	"github.com/ggtune/ggtune/finetune/template"
)

// A form is what a template writes around messages: text that depends on who speaks and who spoke before.
type form struct {
	system               string // before a system message, which is the first
	user                 string // before a user's that is the first
	afterSystem, another string // before a user's behind the system's, behind an answer
	answer               string // before an answer
	end                  string // behind the last user's message: the opening of the answer
}

// trimmed are the roles whose messages a template cuts the blanks from, at both ends, and whether an empty system
// message is none to it.
type trimmed struct{ system, user, assistant, skip bool }

// trim is a template that gives its text without the blanks of ASCII at its ends. Ollama's language has no word for it.
const trim = `{{ define "trim" }}{{ if . }}{{ $n := len (slice . 1) }}{{ if eq (index . 0) 32 9 10 11 12 13 }}` +
	`{{ template "trim" (slice . 1) }}{{ else if eq (index . $n) 32 9 10 11 12 13 }}` +
	`{{ template "trim" (slice . 0 $n) }}{{ else }}{{ . }}{{ end }}{{ end }}{{ end }}`

// Translate gives a template in Ollama's language, which is Go's text/template, that renders the conversations below
// byte for byte as t does, but for a BOS before them if the model adds one (addBOS), which Ollama then does. Where
// there is none the error says why.
func Translate(t *template.Template, bos, eos string, addBOS bool) (string, error) {
	render := func(c []template.Message) (string, error) {
		r, err := t.RenderPrompt(template.Conversation{Messages: c, BOS: bos, EOS: eos}, template.Options{})
		if err != nil {
			return "", err
		}
		if addBOS {
			return strings.TrimPrefix(r.Text(), bos), nil
		}
		return r.Text(), nil
	}
	f, err := readForm(render)
	if err != nil {
		return "", err
	}
	want := make([]string, len(conversations))
	for i, c := range conversations {
		if want[i], err = render(c); err != nil {
			return "", err
		}
	}
	furthest := 0
	for i := range 16 {
		source := f.source(trimmed{system: i&1 > 0, user: i&2 > 0, assistant: i&4 > 0, skip: i&8 > 0})
		i, err := agrees(source, want)
		switch {
		case err != nil:
			return "", err
		case i < 0 && strings.Contains(source, `"""`): // by which a Modelfile ends it
			return "", errors.New(`it writes """, which ends a template in a Modelfile`)
		case i < 0:
			return source, nil
		}
		furthest = max(furthest, i)
	}
	return "", fmt.Errorf("what it writes around messages depends on more than who speaks: the nearest translation "+
		"differs at conversation %d of %d", furthest+1, len(want))
}

// readForm renders two conversations and reads what stands around their messages.
func readForm(render func([]template.Message) (string, error)) (form, error) {
	marks := []string{"qzsystem", "qzquestion", "qzanswer", "qzagain"}
	with := []template.Message{system(marks[0]), user(marks[1]), assistant(marks[2]), user(marks[3])}
	around := func(c []template.Message, marks []string) ([]string, error) {
		text, err := render(c)
		if err != nil {
			return nil, err
		}
		var out []string
		for _, m := range marks {
			before, rest, ok := strings.Cut(text, m)
			if !ok || strings.Contains(rest, m) {
				return nil, errors.New("it does not write each message once, in their order")
			}
			out, text = append(out, before), rest
		}
		return append(out, text), nil
	}
	a, err := around(with, marks)
	if err != nil {
		return form{}, err
	}
	b, err := around(with[1:], marks[1:])
	if err != nil {
		return form{}, err
	}
	return form{system: a[0], afterSystem: a[1], user: b[0], answer: a[2], another: a[3], end: a[4]}, nil
}

// source writes the form in Ollama's language.
func (f form) source(cut trimmed) string {
	content := func(cut bool) string {
		if cut {
			return `{{ template "trim" .Content }}{{ $before = .Role }}`
		}
		return "{{ .Content }}{{ $before = .Role }}"
	}
	var before string
	first, behind, another := literal(f.user), literal(f.afterSystem), literal(f.another)
	switch {
	case behind != another:
		before = `{{ if eq $before "system" }}` + behind + "{{ else if $before }}" + another + "{{ else }}" + first +
			"{{ end }}"
	case first != another:
		before = "{{ if $before }}" + another + "{{ else }}" + first + "{{ end }}"
	default:
		before = first
	}
	role := `eq .Role "system"`
	if cut.skip {
		role = `and (eq .Role "system") .Content`
	}
	out := `{{ $before := "" }}{{ range .Messages }}{{ if ` + role + " }}" + literal(f.system) + content(cut.system) +
		`{{ else if eq .Role "user" }}` + before + content(cut.user) +
		`{{ else if eq .Role "assistant" }}` + literal(f.answer) + content(cut.assistant) + `{{ end }}{{ end }}` +
		literal(f.end)
	if cut.system || cut.user || cut.assistant {
		out = trim + out
	}
	return out
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
