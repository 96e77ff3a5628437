package generate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/template"
)

// A Chat turns conversations into prompts for a Generator.
type Chat struct {
	g        *Generator
	template *template.Template
	enc      *encode.Encoder
	bos, eos string
	// Note says which template stands in where the model brings none; "" where it does.
	Note string
}

// Chat makes a Chat with the template of that name: a file, or a built-in one; "" takes the model's own, or the fallback
// where it has none.
func (g *Generator) Chat(name string) (*Chat, error) {
	c := &Chat{g: g}
	var err error
	switch {
	case name != "":
		c.template, err = namedTemplate(name)
	case g.ownTemplate != "":
		c.template, err = template.Parse(g.ownTemplate, "built into "+g.model.Path())
	default:
		c.template, err = template.Builtin(template.Fallback)
		c.Note = fmt.Sprintf("%s has no chat template; %q stands in for it (--template names another)", g.model.Path(), template.Fallback)
	}
	if err != nil {
		return nil, err
	}
	v := g.model.Vocab()
	if c.enc, err = encode.New(v); err != nil {
		return nil, err
	}
	for _, special := range []struct {
		id   int32
		text *string
	}{{v.BOS(), &c.bos}, {v.EOS(), &c.eos}} {
		if special.id < 0 {
			continue
		}
		if *special.text, err = v.Piece(special.id, true); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// namedTemplate is a built-in template, or one in a file.
func namedTemplate(name string) (*template.Template, error) {
	t, err := template.Builtin(name)
	if err == nil {
		return t, nil
	}
	source, readErr := os.ReadFile(name)
	switch {
	case errors.Is(readErr, fs.ErrNotExist):
		return nil, fmt.Errorf("%w; nor is there a file of that name", err)
	case readErr != nil:
		return nil, fmt.Errorf("chat template: %w", readErr)
	}
	return template.Parse(string(source), name)
}

// Template is the template in use.
func (c *Chat) Template() *template.Template { return c.template }

// Prompt gives the tokens of a conversation with the opening of the assistant's next turn. The names of control tokens in
// the messages are plain text.
func (c *Chat) Prompt(messages []template.Message) ([]int32, error) {
	r, err := c.template.RenderPrompt(template.Conversation{Messages: messages, BOS: c.bos, EOS: c.eos}, template.Options{DropReasoning: true})
	if err != nil {
		return nil, err
	}
	tokens, err := c.enc.Prompt(r)
	if err == nil && len(tokens) == 0 {
		err = fmt.Errorf("chat template %s renders nothing for this conversation", c.template.Name())
	}
	return tokens, err
}
