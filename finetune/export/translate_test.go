package export

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/template"
)

// TestTranslate: templates that can be said in Ollama's language are, with the default system message of the model's;
// one that cuts blanks cannot, and none is made up.
func TestTranslate(t *testing.T) {
	if len(conversations) != 20 {
		t.Errorf("%d conversations, and 20 are promised", len(conversations))
	}
	defaulted := `{% for m in messages %}{% if loop.first and m['role'] != 'system' %}` +
		"{{ '<|im_start|>system\nYou are {{Qwen}}.<|im_end|>\n' }}{% endif %}" +
		"{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
	for name, tt := range map[string]struct {
		source string
		want   string // in the translation; "": there is none
	}{
		"chatml":            {template.ChatML, "<|im_start|>assistant\n"},
		"a default":         {defaulted, `You are {{ "{{" }}Qwen}}.`},
		"plain":             {template.Plain, "Assistant: {{ .Content }}</s>"},
		"blanks cut":        {template.Llama3, ""},
		"another wording":   {`{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}`, ""},
		"it asks for turns": {template.Llama2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := template.Parse(tt.source, name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Translate(tmpl, "<s>", "</s>", true)
			switch {
			case tt.want == "" && err == nil:
				t.Errorf("translated as %q, want none", got)
			case tt.want != "" && (err != nil || !strings.Contains(got, tt.want)):
				t.Errorf("got %q (%v), want one with %q", got, err, tt.want)
			}
		})
	}
}

// TestTranslateBOS: SmolLM2's BOS is what begins a turn, and the model does not add it.
func TestTranslateBOS(t *testing.T) {
	tmpl, err := template.Parse(template.ChatML, "chatml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Translate(tmpl, "<|im_start|>", "<|im_end|>", false); err != nil {
		t.Errorf("not added: %v", err)
	}
	if _, err := Translate(tmpl, "<|im_start|>", "<|im_end|>", true); err == nil {
		t.Error("added before the text, which begins with it, it would be there twice")
	}
}

// TestCreateWithoutOllama: where the program is not there, the folder stays, and what to do with it is said.
func TestCreateWithoutOllama(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Create(context.Background(), "cow", "folder", io.Discard)
	if !errors.Is(err, ErrNoOllama) || !strings.Contains(err.Error(), "ollama create cow -f folder/Modelfile") {
		t.Errorf("got %v, want one that says how", err)
	}
}
