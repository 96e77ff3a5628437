package merge

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/template"
)

// Metadata keys of a model's chat.
const (
	keyTemplate  = "tokenizer.chat_template" // others for special uses stand below it
	keyTemplates = "tokenizer.chat_templates"
	keyEOS       = "tokenizer.ggml.eos_token_id"
)

// A chat is what makes a base model one that converses.
type chat struct {
	template *template.Template
	// eos is the token that ends an assistant's turn, and that training taught to end it with.
	eos int32
}

// openTemplate reads the template that the merged file is to bring, and finds how it ends a turn.
func (m *merging) openTemplate() (err error) {
	if m.Template == "" {
		m.adviseTemplate()
		return nil
	}
	c := &chat{}
	if c.template, _, err = template.Find(m.Template, "", m.Model); err != nil {
		return fmt.Errorf("--set-template: %w", err)
	}
	v, err := llama.LoadVocab(m.Model)
	if err != nil {
		return err
	}
	defer v.Close()
	if c.eos, err = endOfTurn(c.template, v); err != nil {
		return fmt.Errorf("--set-template %s: %w", m.Template, err)
	}
	if c.eos < 0 {
		c.eos = v.EOS() // which training puts behind a turn that the template does not end
		m.note("chat template %s ends no turn with a token by which %s ends a text; its own end-of-text token stays",
			m.Template, m.Model)
	}
	m.chat = c
	return nil
}

// adviseTemplate names the template that an adapter was trained with, where the model brings none.
func (m *merging) adviseTemplate() {
	own, err := m.model.File().StringOr(keyTemplate, "")
	if err != nil || own != "" {
		return
	}
	for i, a := range m.adapters {
		made := &origin.Origin{Adapter: m.result.Adapters[i].Path, Info: a.Info}
		if name := made.Template(); name != "" {
			m.note("%s was trained with chat template %s, and the model has none; --set-template %s writes it into "+
				"the merged file", made.Adapter, name, name)
			return
		}
	}
}

// endOfTurn is the end-of-generation token that a template writes behind an assistant's words, or -1.
func endOfTurn(t *template.Template, v *llama.Vocab) (int32, error) {
	ids := map[string]int32{}
	var opts template.Options
	for id := range int32(v.N()) {
		if v.IsEOG(id) {
			text, err := v.Piece(id, true)
			if err != nil {
				return -1, err
			}
			ids[text] = id
			opts.EndOfTurn = append(opts.EndOfTurn, text)
		}
	}
	conv := template.Conversation{Messages: []template.Message{{Role: "user", Content: "Hello."},
		{Role: "assistant", Content: "Good day."}}}
	for _, special := range []struct {
		id int32
		to *string
	}{{v.BOS(), &conv.BOS}, {v.EOS(), &conv.EOS}} {
		if special.id < 0 {
			continue
		}
		text, err := v.Piece(special.id, true)
		if err != nil {
			return -1, err
		}
		*special.to = text
	}
	r, err := t.Render(conv, opts)
	if err != nil {
		return -1, err
	}
	first, found := -1, int32(-1)
	for _, s := range r.Spans {
		if s.Kind != template.End {
			continue
		}
		for text, id := range ids {
			if at := strings.Index(s.Text, text); at >= 0 && (first < 0 || at < first) {
				first, found = at, id
			}
		}
	}
	return found, nil
}

// write puts a chat into the metadata. Templates of the base for special uses are of another conversation.
func (c *chat) write(w *gguf.Writer, base *gguf.File) {
	for _, kv := range base.KVs() {
		if strings.HasPrefix(kv.Key, keyTemplate+".") || kv.Key == keyTemplates {
			w.Delete(kv.Key)
		}
	}
	w.SetString(keyTemplate, c.template.Source())
	if c.eos >= 0 {
		w.SetUint32(keyEOS, uint32(c.eos))
	}
}
