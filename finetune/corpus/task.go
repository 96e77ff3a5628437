package corpus

import (
	"encoding/json"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/template"
)

// A Task is a prompt that the model in training writes answers to, as those see it who judge these.
type Task struct {
	Source   data.Source
	Text     string                     // as the model reads it, with control tokens
	Messages []data.Message             // a conversation; nil: literal text
	Tools    json.RawMessage            // that it has; nil: none
	Row      map[string]json.RawMessage // of the data, with all columns
}

// task keeps example i of in as a task.
func (r *Reader) task(in *input, i int) error {
	x, err := in.ds.At(i)
	if err != nil {
		return err
	}
	it, err := r.text.prompt(&x)
	if err != nil {
		return err
	}
	q := Task{Source: x.Source, Messages: x.Messages, Tools: x.Tools}
	if q.Text, err = r.text.vocab.Decode(it.Tokens, true); err != nil {
		return err
	}
	if q.Row, err = in.ds.Row(i); err != nil {
		return err
	}
	r.tasks = append(r.tasks, q)
	return nil
}

// prompt encodes a prompt up to where its answer begins. Nothing of it counts.
func (t *text) prompt(x *data.Example) (it encode.Item, err error) {
	if x.Messages == nil {
		it, err = t.enc.Completion(x.Source, x.Prompt, "")
	} else if it.Tokens, err = t.asks(x); err != nil {
		err = fmt.Errorf("%s: %w", x.Source, err)
	}
	if err != nil {
		return it, err
	}
	if len(it.Tokens) == 0 {
		return it, fmt.Errorf("%s: the prompt gives the model nothing to read; give it a text, or remove it", x.Source)
	}
	it.Source, it.Counted = x.Source, make([]bool, len(it.Tokens))
	it.Segments = []engine.Segment{{Len: len(it.Tokens), Parent: -1}}
	return it, nil
}

// asks encodes a conversation with the opening of its answer.
func (t *text) asks(x *data.Example) ([]int32, error) {
	tmpl, err := t.template(len(x.Tools) > 0)
	if err != nil {
		return nil, err
	}
	said, err := tmpl.RenderPrompt(t.conversation(x.Messages, x.Tools),
		template.Options{DropReasoning: t.opts.DropReasoning})
	if err != nil {
		return nil, err
	}
	return t.enc.Prompt(said)
}

// conversation is one as templates read it.
func (t *text) conversation(messages []data.Message, tools json.RawMessage) template.Conversation {
	return template.Conversation{Messages: turns(messages), Tools: tools, BOS: t.bos, EOS: t.eos}
}

// Asks gives the tokens of a conversation with the opening of the model's next turn.
func (r *Reader) Asks(messages []data.Message, tools json.RawMessage) ([]int32, error) {
	return r.text.asks(&data.Example{Messages: messages, Tools: tools})
}

// Follows gives, of a conversation with the opening of the model's next turn, the tokens behind the end of its turn
// that is message turn. Of that nothing is read but that it is there: its tokens are those that the model wrote.
func (r *Reader) Follows(messages []data.Message, turn int, tools json.RawMessage) ([]int32, error) {
	tmpl, err := r.text.template(len(tools) > 0)
	if err != nil {
		return nil, err
	}
	conv := r.text.conversation(messages, tools)
	// A turn without a word could not be found in the text, nor one that a template takes apart (</think>).
	conv.Messages[turn].Content = "turn"
	said, from, err := tmpl.RenderAfter(conv, turn, template.Options{EndOfTurn: r.text.opts.EndOfTurn,
		DropReasoning: r.text.opts.DropReasoning})
	if err != nil {
		return nil, err
	}
	return r.text.enc.After(said, from)
}

// Shows gives the text of tokens, with control tokens.
func (r *Reader) Shows(tokens []int32) (string, error) { return r.text.vocab.Decode(tokens, true) }

// Ends says whether the model has a token that ends an answer.
func (r *Reader) Ends() bool { return len(r.text.opts.EndOfTurn) > 0 }
