package corpus

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/template"
)

// A text is how messages become tokens: a model's tokenizer and, where an example needs one, a chat template.
type text struct {
	vocab  *llama.Vocab
	enc    *encode.Encoder
	wholes *encode.Wholes
	model  string // path
	named  string // the template that the user asks for, or ""
	own    string // the model's own, or ""
	tools  string // the model's own for conversations with tools, or ""
	tmpl   *template.Template
	toolsT *template.Template // of tools, once an example needed it
	note   string             // which template stands in for a missing one
	opts   template.Options
	strict bool // what a template leaves out is refused
	said   said

	bos, eos string
	ends     bool // the vocabulary has a token that ends a text
}

// toolUse is the name under which a model's file has a second chat template, for conversations with tools.
// transformers and llama.cpp take it for them too.
const toolUse = "tool_use"

// openText opens the tokenizer in the model file. Of opts it fills in what the tokenizer says.
func openText(m *engine.Model, named string, opts template.Options, strict bool) (*text, error) {
	f := m.File()
	own, err := f.StringOr("tokenizer.chat_template", "")
	if err != nil {
		return nil, err
	}
	tools, err := f.StringOr("tokenizer.chat_template."+toolUse, "")
	if err != nil {
		return nil, err
	}
	eos, err := f.IntOr("tokenizer.ggml.eos_token_id", -1)
	if err != nil {
		return nil, err
	}
	v, err := loadVocab(f)
	if err != nil {
		return nil, err
	}
	t := &text{vocab: v, wholes: encode.NewWholes(v), model: m.Path(), named: named, own: own, tools: tools, opts: opts,
		strict: strict, ends: v.Ends(eos)}
	if err := t.open(); err != nil {
		v.Close()
		return nil, err
	}
	return t, nil
}

func (t *text) open() error {
	var err error
	if t.enc, err = encode.New(t.vocab); err != nil {
		return err
	}
	if id := t.vocab.BOS(); id >= 0 {
		t.bos = t.enc.Piece(id)
	}
	if id := t.vocab.EOS(); id >= 0 {
		t.eos = t.enc.Piece(id)
	}
	for id := range int32(t.vocab.N()) {
		if t.vocab.IsEOG(id) {
			t.opts.EndOfTurn = append(t.opts.EndOfTurn, t.enc.Piece(id))
		}
	}
	// A template the user names is looked at even if no example needs it: a wrong name should not go unseen.
	if t.named != "" {
		return t.needTemplate()
	}
	return nil
}

// needTemplate finds the chat template, once.
func (t *text) needTemplate() error {
	if t.tmpl != nil {
		return nil
	}
	var err error
	if t.tmpl, t.note, err = template.Find(t.named, t.own, t.model); err == nil {
		t.said.template(t.tmpl)
	}
	return err
}

// template gives the chat template of a conversation.
func (t *text) template(withTools bool) (*template.Template, error) {
	if !withTools || t.named != "" || t.tools == "" {
		return t.tmpl, t.needTemplate()
	}
	if t.toolsT == nil {
		var err error
		if t.toolsT, err = template.ParseOwn(t.tools, t.model, toolUse); err != nil {
			return nil, err
		}
		t.said.template(t.toolsT)
	}
	return t.toolsT, nil
}

// templateName says where the templates in use came from, "" if no example needed one.
func (t *text) templateName() string {
	switch {
	case t.tmpl == nil && t.toolsT == nil:
		return ""
	case t.tmpl == nil:
		return t.toolsT.Name()
	case t.toolsT != nil:
		return t.tmpl.Name() + ", and its " + toolUse + " for conversations with tools"
	}
	return t.tmpl.Name()
}

// render renders the messages of the example from src.
func (t *text) render(src data.Source, messages []data.Message, tools json.RawMessage) (*template.Rendering, error) {
	tmpl, err := t.template(len(tools) > 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src, err)
	}
	r, err := tmpl.Render(t.conversation(messages, tools), t.opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src, err)
	}
	if len(r.Omitted) > 0 && t.strict {
		o := r.Omitted[0]
		return nil, fmt.Errorf("%s: %schat template %s leaves out: %s; leave them out of the data, name another "+
			"template with --template, or do without --strict",
			src, turnOf(o.Message), tmpl.Name(), o.What)
	}
	t.said.omitted(src, tmpl, r.Omitted)
	t.said.marks(tmpl, t.enc.NoTokens(r))
	return r, nil
}

func turnOf(message int) string {
	if message < 0 {
		return ""
	}
	return fmt.Sprintf("message %d: ", message+1)
}

// look notes what is peculiar to an encoded example, which need not keep it.
func (t *text) look(it *encode.Item) {
	if len(it.Straddling) > 0 {
		t.said.straddle(it.Source, t.enc.Piece(it.Straddling[0]))
	}
	for id, n := range it.Control {
		t.said.control(it.Source, t.enc.Piece(id), n)
	}
	it.Straddling, it.Control = nil, nil
}

// one is an example of one item.
func (t *text) one(it encode.Item, err error) ([]encode.Item, error) {
	if err != nil {
		return nil, err
	}
	t.look(&it)
	return []encode.Item{it}, nil
}

// document encodes literal text of which every token counts.
func (t *text) document(src data.Source, text string, part encode.Part, window int) ([]encode.Item, error) {
	items, err := t.enc.Text(src, text, part, window)
	if len(items) > 0 {
		t.look(&items[0])
	}
	for i := range items {
		items[i].Whole = true
	}
	return items, err
}

// answered encodes the prompt of x with an answer. The end of one that was cut off does not count: it would teach to
// stop in the middle.
func (t *text) answered(x *data.Example, a *data.Answer) (encode.Item, error) {
	if a.Messages == nil {
		it, err := t.enc.Completion(x.Source, x.Prompt+a.Given, a.Text)
		if n := len(it.Tokens); err == nil && a.CutOff && t.vocab.IsEOG(it.Tokens[n-1]) {
			it.Counted[n-1] = false
		}
		return it, err
	}
	r, err := t.render(x.Source, slices.Concat(x.Messages, a.Messages), x.Tools)
	if err != nil {
		return encode.Item{}, err
	}
	if a.CutOff {
		leaveOpen(r)
	}
	return t.enc.Conversation(x.Source, r)
}

// leaveOpen leaves the end of the last trained turn untrained.
func leaveOpen(r *template.Rendering) {
	for i := len(r.Spans) - 1; i >= 0; i-- {
		if sp := &r.Spans[i]; sp.Train {
			sp.Train = sp.Kind != template.End
			break
		}
	}
	r.EndsTurn = true // none is added
}
