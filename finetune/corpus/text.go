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
	vocab *llama.Vocab
	enc   *encode.Encoder
	model string // path
	named string // the template that the user asks for, or ""
	own   string // the model's own, or ""
	tmpl  *template.Template
	note  string // which template stands in for a missing one
	opts  template.Options

	bos, eos string
}

// openText opens the tokenizer in the model file. Of opts it fills in what the tokenizer says.
func openText(m *engine.Model, named string, opts template.Options) (*text, error) {
	f := m.File()
	if err := f.CheckTokenizer(); err != nil {
		return nil, err
	}
	own, err := f.StringOr("tokenizer.chat_template", "")
	if err != nil {
		return nil, err
	}
	v, err := llama.LoadVocab(m.Path())
	if err != nil {
		return nil, err
	}
	t := &text{vocab: v, model: m.Path(), named: named, own: own, opts: opts}
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
	t.tmpl, t.note, err = template.Find(t.named, t.own, t.model)
	return err
}

// templateName says where the template came from, "" if no example needed one.
func (t *text) templateName() string {
	if t.tmpl == nil {
		return ""
	}
	return t.tmpl.Name()
}

func (t *text) render(messages []data.Message, tools json.RawMessage) (*template.Rendering, error) {
	if err := t.needTemplate(); err != nil {
		return nil, err
	}
	conv := template.Conversation{Tools: tools, BOS: t.bos, EOS: t.eos,
		Messages: make([]template.Message, len(messages))}
	for i, m := range messages {
		turn := template.Message{Role: string(m.Role), Content: m.Content, Reasoning: m.Reasoning,
			ToolCallID: m.ToolCallID, Name: m.Name, Train: m.Train}
		for _, c := range m.ToolCalls {
			turn.ToolCalls = append(turn.ToolCalls, template.ToolCall{ID: c.ID, Type: c.Type, Name: c.Name,
				Arguments: c.Arguments})
		}
		conv.Messages[i] = turn
	}
	return t.tmpl.Render(conv, t.opts)
}

// answered encodes the prompt of x with an answer. The end of one that was cut off does not count: it would teach to
// stop in the middle.
func (t *text) answered(x *data.Example, a *data.Answer) (encode.Item, error) {
	if a.Messages == nil {
		it, err := t.enc.Completion(x.Source, x.Prompt, a.Text)
		if n := len(it.Tokens); err == nil && a.CutOff && t.vocab.IsEOG(it.Tokens[n-1]) {
			it.Counted[n-1] = false
		}
		return it, err
	}
	r, err := t.render(slices.Concat(x.Messages, a.Messages), x.Tools)
	if err != nil {
		return encode.Item{}, fmt.Errorf("%s: %w", x.Source, err)
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
