package generate

import (
	"encoding/json"
	"fmt"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/template"
)

// A Chat turns conversations into prompts for a Generator.
type Chat struct {
	g        *Generator
	template *template.Template
	enc      *encode.Encoder
	bos, eos string
	// Notes say which template stands in where the model brings none, and whether it is another than the adapter's.
	Notes []string
}

// Chat makes a Chat with the template of that name: a file, or a built-in one; "" takes the one that
// the adapter in use was trained with, if it is built in, else the model's own, or the fallback where it has none.
func (g *Generator) Chat(name string) (*Chat, error) {
	c := &Chat{g: g}
	adapter := g.origin()
	if name == "" && adapter != nil {
		name = adapter.Template()
	}
	t, note, err := template.Find(name, g.ownTemplate, g.model.Path())
	if err != nil {
		return nil, err
	}
	c.template = t
	if note != "" {
		c.Notes = append(c.Notes, note)
	}
	if adapter != nil {
		c.Notes = append(c.Notes, adapter.Differs(origin.Use{Template: t})...)
	}
	v := g.model.Vocab()
	if c.enc, err = encode.New(v); err != nil {
		return nil, err
	}
	if id := v.BOS(); id >= 0 {
		c.bos = c.enc.Piece(id)
	}
	if id := v.EOS(); id >= 0 {
		c.eos = c.enc.Piece(id)
	}
	return c, nil
}

// Template is the template in use.
func (c *Chat) Template() *template.Template { return c.template }

// Prompt gives the tokens of a conversation with the opening of the assistant's next turn. The names of control tokens
// in the messages are plain text.
func (c *Chat) Prompt(messages []template.Message) ([]int32, error) {
	return c.PromptWith(messages, nil)
}

// PromptWith is Prompt of a conversation with tools.
func (c *Chat) PromptWith(messages []template.Message, tools json.RawMessage) ([]int32, error) {
	r, err := c.template.RenderPrompt(template.Conversation{Messages: messages, Tools: tools, BOS: c.bos, EOS: c.eos},
		template.Options{DropReasoning: true})
	if err != nil {
		return nil, err
	}
	tokens, err := c.enc.Prompt(r)
	if err == nil && len(tokens) == 0 {
		err = fmt.Errorf("chat template %s renders nothing for this conversation", c.template.Name())
	}
	return tokens, err
}
