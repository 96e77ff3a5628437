package corpus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/testdata"
)

// The templates of these tests. toolTemplate has a place for all that a conversation can hold.
const (
	toolTemplate = `{% if tools %}{{ tools | tojson }}|{% endif %}{% for m in messages %}[{{ m.role }}] {{ m.content ` +
		`or '' }}` +
		`{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}|{% ` +
		`endfor %}`
	dateTemplate  = `{{ strftime_now('%Y') }} ` + barTemplate
	thinkTemplate = `{% for m in messages %}[{{ m.role }}] {{ m.content.split('</think>')[-1] if not loop.last else ` +
		`m.content }}|{% endfor %}`
)

// chatModel writes a tiny model with SmolLM2's marks, and gives its path. Of templates the second is for tools.
func chatModel(t *testing.T, templates ...string) string {
	t.Helper()
	spec := synth.Tiny("llama", gguf.F32)
	spec.Tokenizer, spec.ChatTemplate = synth.SmolLM, templates[0]
	w, err := spec.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if len(templates) > 1 {
		w.SetString("tokenizer.chat_template.tool_use", templates[1])
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := w.WriteFile(t.Context(), atomicfile.OS, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// readData reads a file with a model as a run would.
func readData(t *testing.T, model, data string, change func(c *config.Config)) (*Reader, *Rows, error) {
	t.Helper()
	c := config.Default()
	c.Model, c.Data = model, []string{data}
	if change != nil {
		change(&c)
	}
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	how, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(&c, m, how)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { r.Close() })
	rows, err := r.Read(t.Context())
	return r, rows, err
}

// TestSaid: what a template leaves out or adds, and what literal text spells, is said once, with the number of
// examples; what would be left out is refused where that is asked for.
func TestSaid(t *testing.T) {
	const tools = `"tools": [{"type": "function", "function": {"name": "f"}}]`
	turns := func(user, assistant string) string {
		return `"messages": [{"role": "user", "content": ` + user + `}, {"role": "assistant", "content": ` + assistant +
			`}]`
	}
	for _, tc := range []struct {
		name     string
		template []string
		lines    []string
		note     string
		refused  bool // by --strict
	}{
		{"tools without a place", []string{synth.ChatML},
			[]string{`{` + turns(`"q"`, `"a"`) + `, ` + tools + `}`, `{` + turns(`"q"`, `"b"`) + `, ` + tools + `}`},
			"2 examples: chat template built into M leaves out: tool definitions; the first at D:1", true},
		{"tools with a place", []string{toolTemplate}, []string{`{` + turns(`"q"`, `"a"`) + `, ` + tools + `}`}, "",
			false},
		{"tools with a template of their own", []string{synth.ChatML, toolTemplate},
			[]string{`{` + turns(`"q"`, `"a"`) + `, ` + tools + `}`}, "", false},
		{"a date", []string{dateTemplate}, []string{`{` + turns(`"q"`, `"a"`) + `}`},
			"chat template built into M writes the date; every example is given 2024-07-26", false},
		{"earlier thinking", []string{thinkTemplate}, []string{`{"messages": [{"role": "assistant", "content": ` +
			`"<think>hm</think>a"}, {"role": "user", "content": "q"}, ` +
			`{"role": "assistant", "content": "<think>so</think>b"}]}`},
			"1 example: chat template built into M leaves out: reasoning of earlier turns; the first at D:1", true},
		{"a name", []string{synth.ChatML},
			[]string{`{"messages": [{"role": "user", "name": "Ann", "content": "q"}, ` +
				`{"role": "assistant", "content": "a"}]}`},
			"leaves out: names of speakers", true},
		{"a message", []string{`{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}] {{ m.content }}|{% ` +
			`endif %}{% endfor %}`},
			[]string{`{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, ` +
				`{"role": "assistant", "content": "a"}]}`}, "leaves out: part of a message", true},
		{"white space is the template's",
			[]string{`{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}|{% endfor %}`},
			[]string{`{` + turns(`" q "`, `"a b\n"`) + `}`}, "", false},
		{"marks that are no tokens",
			[]string{`{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|im_end|>{% endfor %}`},
			[]string{`{` + turns(`"q <|x|>"`, `"a"`) + `}`},
			`writes marks that are no tokens of this vocabulary, and are learned as ordinary text: "<|user|>" (7 ` +
				`tokens), "<|assistant|>" (12 tokens)`, false},
		{"control tokens in text", []string{""},
			[]string{`{"prompt": "<|im_start|>user q<|im_end|>", "completion": "a<|im_end|>"}`},
			`1 example of literal text: control tokens of this model are spelt in it, and are read as those tokens: ` +
				`"<|im_end|>" (2), "<|im_start|>" (1); the first at D:1; --control-tokens plain`, false},
		{"control tokens in messages", []string{synth.ChatML},
			[]string{`{` + turns(`"<|im_end|>"`, `"a<|im_start|>"`) + `}`}, "", false},
		{"fields", []string{""}, []string{`{"text": "a", "id": 1}`, `{"text": "b", "id": 2, "more": "x"}`},
			`left out: fields of the data that nothing reads, with the number of records that have them: "id" (2), ` +
				`"more" (1); --columns`, true},
		{"too long", []string{""},
			[]string{`{"prompt": "` + strings.Repeat("x", 600) + `", "completion": "a"}`,
				`{"prompt": "a", "completion": "b"}`}, "left out: 1 example whose prompt fills a row", true},
		{"cut", []string{""}, []string{`{"prompt": "a", "completion": "` + strings.Repeat("x", 600) + `"}`}, "", true},
		{"missing text", []string{""}, []string{`{"prompt": "a", "completion": "NaN"}`},
			`1 record: the field "completion" is the text "NaN"`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			model := chatModel(t, tc.template...)
			path := filepath.Join(t.TempDir(), "data.jsonl")
			if err := os.WriteFile(path, []byte(strings.Join(tc.lines, "\n")), 0o666); err != nil {
				t.Fatal(err)
			}
			_, rows, err := readData(t, model, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			notes := strings.NewReplacer(model, "M", path, "D").Replace(strings.Join(rows.Notes, "\n"))
			if strings.Count(notes, tc.note) != 1 && tc.note != "" || tc.note == "" &&
				strings.Contains(notes, "leaves out") {
				t.Errorf("got notes\n%s\nwant %s", notes, tc.note)
			}
			if tc.name == "control tokens in messages" && strings.Contains(notes, "control tokens") {
				t.Errorf("notes %s", notes)
			}
			if _, _, err := readData(t, model, path,
				func(c *config.Config) { c.Strict = true }); (err != nil) != tc.refused {
				t.Errorf("strict: got %v", err)
			} else if err != nil && !strings.Contains(err.Error(), path+":1: ") {
				t.Errorf("strict: %v has no place", err)
			}
		})
	}
}

// TestToolTemplate: conversations with tools go through the model's template for them, others through its plain one.
func TestToolTemplate(t *testing.T) {
	model := chatModel(t, barTemplate, toolTemplate)
	path := filepath.Join(t.TempDir(), "data.jsonl")
	turns := `"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]`
	if err := os.WriteFile(path, []byte(`{`+turns+`}`+"\n"+`{`+turns+`, "tools": [{"name": "f"}]}`),
		0o666); err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{"", "chatml"} {
		r, rows, err := readData(t, model, path, func(c *config.Config) { c.Template = named })
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for i := range rows.Train.Items {
			texts = append(texts, wholeText(r, rows.Train.Items[i].Tokens))
		}
		if hasTools := strings.Contains(texts[1], `"name": "f"`); strings.Contains(texts[0], "tools") ||
			hasTools != (named == "") {
			t.Errorf("template %q: got %q", named, texts)
		}
		if both := strings.Contains(r.TemplateName(), "and its tool_use"); both != (named == "") {
			t.Errorf("template %q is called %q", named, r.TemplateName())
		}
	}
}

func wholeText(r *Reader, tokens []int32) string {
	var b strings.Builder
	for _, id := range tokens {
		b.WriteString(r.text.enc.Piece(id))
	}
	return b.String()
}

// TestNoPlaceForCalls: a template that has none is named as the reason, whatever it does with such a message.
func TestNoPlaceForCalls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, []byte(`{"messages": [{"role": "user", "content": "q"}, `+
		`{"role": "assistant", "content": "", "weight": 0, "tool_calls": [{"function": {"name": "f", "arguments": `+
		`"{}"}}]},`+
		` {"role": "tool", "content": "1"}, {"role": "assistant", "content": "one"}]}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{synth.ChatML, barTemplate,
		`{% for m in messages %}{{ m.content | trim }}{% endfor %}`} {
		_, _, err := readData(t, chatModel(t, source), path, nil)
		if err == nil || !strings.Contains(err.Error(), "data.jsonl:1: message 2: chat template") ||
			!strings.Contains(err.Error(), "has no place for tool calls") {
			t.Errorf("%s: got %v", source, err)
		}
	}
}

// TestStraddles: a border within a token is said, with the token.
func TestStraddles(t *testing.T) {
	dir := testdata.Cases(t)
	model := testdata.Model(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path,
		[]byte(`{"prompt": "Question: 2+2? Answer: ", "completion": "four"}`+"\n"+
			`{"prompt": "Question: 2+2? Answer:", "completion": " four"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	_, rows, err := readData(t, model, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(rows.Notes, "\n"); !strings.Contains(notes,
		`1 example: what is given and what is to be written meet within a token, such as " four" in the first, at `+
			path+":1") {
		t.Errorf("notes %s", notes)
	}
	// Data that is in the chat format already reads as llama.cpp reads it, with one end.
	for _, file := range []string{"text.jsonl", "completion.jsonl", "dpo.jsonl"} {
		r, rows, err := readData(t, model, filepath.Join(dir, "control-tokens-in-literal-text", file),
			func(c *config.Config) {
				if file == "dpo.jsonl" {
					c.Method = "dpo"
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		it := &rows.Train.Items[0]
		tokens := it.Tokens
		if len(it.Segments) > 1 {
			tokens = tokens[:it.Segments[0].Len+it.Segments[1].Len]
		}
		want, err := r.text.vocab.Encode(
			"<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi there.<|im_end|>"+
				map[bool]string{true: "\n"}[file == "text.jsonl"], false, true)
		if err != nil || !slices.Equal(tokens, want) {
			t.Errorf("%s: got %v, want %v, %v", file, tokens, want, err)
		}
	}
}

// TestCases reads with a chat model what went wrong for people.
func TestCases(t *testing.T) {
	dir := testdata.Cases(t)
	plain, tools := chatModel(t, synth.ChatML), chatModel(t, synth.ChatML, toolTemplate)
	for _, tc := range []struct {
		name, model, file string
		strict            bool
		note, err         string
	}{
		{"calls", plain, "tool-calls-plain-template/data.jsonl", false, "",
			"data.jsonl:1: message 2: chat template built into " + plain + " has no place for tool calls"},
		{"tools", plain, "tools-dropped-silently/data.jsonl", false, "leaves out: tool definitions", ""},
		{"tools with a template", tools, "tools-dropped-silently/data.jsonl", true, "", ""},
		{"strict", plain, "strict-does-not-refuse-long/data.jsonl", true, "", "data.jsonl:1: "},
		{"columns", plain, "unread-columns/orca.jsonl", false,
			`nothing reads, with the number of records that have them: "id" (2)`, ""},
		{"text in a chat format", plain, "control-tokens-in-literal-text/text.jsonl", false,
			`"<|im_end|>" (2), "<|im_start|>" (2)`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, rows, err := readData(t, tc.model, filepath.Join(dir, tc.file),
				func(c *config.Config) { c.Strict = tc.strict })
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("got %v, want %q", err, tc.err)
			}
			if err == nil && !strings.Contains(strings.Join(rows.Notes, "\n"), tc.note) {
				t.Errorf("notes %q lack %q", rows.Notes, tc.note)
			}
		})
	}
}
