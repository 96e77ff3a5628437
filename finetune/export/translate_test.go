package export

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/template"
)

// TestTranslate: templates that can be said in Ollama's language are, with the default system message of the model's
// and the blanks that it cuts; of others none is made up.
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
		"chatml":    {template.ChatML, "<|im_start|>assistant\n"},
		"a default": {defaulted, `You are {{ "{{" }}Qwen}}.`},
		"plain":     {template.Plain, "Assistant: {{ .Content }}"},
		"llama2":    {template.Llama2, `[INST] <<SYS>>` + "\n" + `{{ template "trim" .Content }}`},
		"llama3":    {template.Llama3, `<|end_header_id|>` + "\n\n" + `{{ template "trim" .Content }}`},
		"alpaca":    {template.Alpaca, "### Response:\n"},
		"blanks cut of questions": {`{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim if m['role'] == ` +
			`'user' else m['content'] }}{% endfor %}`, `[user]{{ template "trim" .Content }}`},
		"one to a role": {`{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}`, "[assistant] "},
		"by the length": {`{% for m in messages %}{{ m['content'] | length }}{{ m['content'] }}{% endfor %}`, ""},
		"no answers":    {`{% for m in messages if m['role'] != 'assistant' %}{{ m['content'] }}{% endfor %}`, ""},
		"no system messages": {`{% for m in messages %}{{ raise_exception('no') if m['role'] == 'system' }}` +
			`{{ m['content'] }}{% endfor %}`, ""},
		"three quotes": {`{% for m in messages %}"""{{ m['content'] }}{% endfor %}`, ""},
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

// TestTranslatePublished: of templates as models have them, those that Ollama's users run most.
func TestTranslatePublished(t *testing.T) {
	const dir = "../../../shared/data/templates/"
	for name, can := range map[string]bool{"meta-llama-Llama-3.1-8B-Instruct": true, "Qwen-Qwen2.5-7B-Instruct": true,
		"meta-llama-Llama-3.2-3B-Instruct": true, "microsoft-Phi-3.5-mini-instruct": true, "llama-cpp-lfm2": true,
		"ibm-granite-granite-3.3-2B-Instruct": true, "Mistral-Small-3.2-24B-Instruct-2506": true,
		"Qwen-Qwen3-0.6B": false /* cuts past thoughts */, "google-gemma-2-2b-it": false /* refuses systems */} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(dir + name + ".jinja")
			if errors.Is(err, fs.ErrNotExist) {
				t.Skipf("%s is not here", dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := template.Parse(string(b), name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Translate(tmpl, "<s>", "</s>", false); (err == nil) != can {
				t.Errorf("got %v, want a translation: %v", err, can)
			}
		})
	}
}

// TestTranslateBOS: SmolLM2's BOS is what begins a turn, and the model does not add it; another might.
func TestTranslateBOS(t *testing.T) {
	tmpl, err := template.Parse(template.ChatML, "chatml")
	if err != nil {
		t.Fatal(err)
	}
	for add, want := range map[bool]string{false: `{{ if eq .Role "system" }}<|im_start|>system`,
		true: `{{ if eq .Role "system" }}system`} { // where it is added it must not be there twice
		got, err := Translate(tmpl, "<|im_start|>", "<|im_end|>", add)
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("added is %v: got %q (%v), want %q", add, got, err, want)
		}
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
