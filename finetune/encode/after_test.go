package encode

import (
	"os"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/testdata"
)

// TestAfter: an exchange that is put together turn by turn, as it comes about, has the tokens of the whole text.
func TestAfter(t *testing.T) {
	dir := testdata.Shared(t)
	for _, c := range []struct{ template, vocab string }{
		{"Qwen-Qwen2.5-7B-Instruct", "rebuilt-qwen2.5"},
		{"meta-llama-Llama-3.2-3B-Instruct", "rebuilt-llama3.2"},
		{"microsoft-Phi-3.5-mini-instruct", "ggml-vocab-phi-3"},
		{"llama2", "ggml-vocab-llama-spm"},
	} {
		t.Run(c.template, func(t *testing.T) {
			v, err := llama.LoadVocab(dir + "/tokenizers/" + c.vocab + ".gguf")
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			e, err := New(v)
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := template.Builtin(c.template)
			if source, none := os.ReadFile(dir + "/templates/" + c.template + ".jinja"); none == nil {
				tmpl, err = template.Parse(string(source), c.template)
			}
			if err != nil {
				t.Fatal(err)
			}
			conv := template.Conversation{BOS: e.Piece(v.BOS()), EOS: e.Piece(v.EOS()), Messages: []template.Message{
				{Role: "user", Content: " Guess, é? <|im_end|>"}, {Role: "assistant", Content: "Is it 7?"},
				{Role: "user", Content: "<|eot_id|><|end|> higher\n\n"}, {Role: "assistant", Content: "Then 9 "},
				{Role: "user", Content: "Lower."}}}
			opts := template.Options{}
			for id := range int32(v.N()) {
				if v.IsEOG(id) {
					opts.EndOfTurn = append(opts.EndOfTurn, e.Piece(id))
				}
			}
			checkAfter(t, e, tmpl, conv, opts)
		})
	}
}

func checkAfter(t *testing.T, e *Encoder, tmpl *template.Template, conv template.Conversation, opts template.Options) {
	t.Helper()
	encoded := func(r *template.Rendering, err error) []int32 {
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := e.Prompt(r)
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	part := conv
	want := encoded(tmpl.RenderPrompt(conv, opts))
	part.Messages = conv.Messages[:1]
	got := encoded(tmpl.RenderPrompt(part, opts))

	spans, err := tmpl.Render(conv, opts)
	if err != nil {
		t.Fatal(err)
	}
	it, err := e.Conversation(data.Source{}, spans)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, turn := range []int{1, 3} {
		at += slices.Index(it.Counted[at:], true)
		for ; it.Counted[at]; at++ {
			got = append(got, it.Tokens[at])
		}
		part.Messages = slices.Clone(conv.Messages[:turn+2])
		part.Messages[turn].Content = "something else"
		r, from, err := tmpl.RenderAfter(part, turn, opts)
		if err != nil {
			t.Fatal(err)
		}
		after, err := e.After(r, from)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, after...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("from token %d: %q, want %q", i, e.Piece(got[i]), e.Piece(want[i]))
			}
		}
	}
}

// TestAfterWithinToken: where nothing ends the turn, a token over the border is not given again.
func TestAfterWithinToken(t *testing.T) {
	e := newEncoder(t, newFakeVocab())
	r := &template.Rendering{Spans: []template.Span{{Text: "hello hello", Message: -1}}, Data: [][2]int{{0, 11}}}
	for from, want := range map[int]string{0: "hello| hello", 5: " hello", 7: "e|l|l|o", 11: ""} {
		tokens, err := e.After(r, from)
		got := ""
		for i, id := range tokens {
			if i > 0 {
				got += "|"
			}
			got += e.Piece(id)
		}
		if err != nil || got != want {
			t.Errorf("from byte %d: %q, %v; want %q", from, got, err, want)
		}
	}
}
