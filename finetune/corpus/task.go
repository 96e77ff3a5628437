package corpus

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/count"
)

// A Task is a prompt that the model in training writes answers to, as those see it who judge these.
type Task struct {
	Source   data.Source
	Text     string                     // as the model reads it, with control tokens
	Messages []data.Message             // a conversation; nil: literal text
	Tools    json.RawMessage            // that it has; nil: none
	Row      map[string]json.RawMessage // of the data, with all columns
	// Answer is that of the data, as the model would have written it; nil where there is none, or nobody asks.
	Answer []int32
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
	if r.cfg.Lmbda < 1 {
		if q.Answer, err = r.text.given(&x, it.Tokens); err != nil {
			return err
		}
		if most := r.cfg.MaxCompletion; len(q.Answer) > most {
			q.Answer = q.Answer[:most:most]
			r.cutAnswers++
		}
		if q.Answer == nil {
			r.unanswered++
		}
	}
	r.tasks = append(r.tasks, q)
	return nil
}

// given encodes the answer that the data has to a prompt of these tokens: what counts behind them where the two are
// encoded together. It is nil where there is none, or where it begins within the prompt's last token.
func (t *text) given(x *data.Example, prompt []int32) ([]int32, error) {
	if len(x.Answers) == 0 || x.Answers[0].Given != "" {
		return nil, nil
	}
	it, err := t.answered(x, &x.Answers[0])
	if err != nil || len(it.Tokens) <= len(prompt) || !slices.Equal(it.Tokens[:len(prompt)], prompt) {
		return nil, err
	}
	end := len(prompt)
	for end < len(it.Tokens) && it.Counted[end] {
		end++
	}
	if end == len(prompt) {
		return nil, nil
	}
	return slices.Clone(it.Tokens[len(prompt):end]), nil
}

// ownNotes says what the answers of the data are of which some are learned from, and refuses data that has none.
func (r *Reader) ownNotes(rows *Rows) (notes []string, err error) {
	all := len(rows.Tasks) + len(rows.HeldTasks)
	switch {
	case r.unanswered == all && all > 0:
		return nil, &config.Error{Err: fmt.Errorf("--lmbda is %g, and the data has no answer that goes on behind its "+
			"prompt; expected 1, with which the model answers all prompts itself, or data with answers", r.cfg.Lmbda)}
	case r.unanswered > 0:
		notes = append(notes, fmt.Sprintf("%d of %s have no answer in the data that goes on behind them: the model "+
			"answers them itself every time", r.unanswered, count.Of(all, "prompt")))
	}
	if r.cutAnswers > 0 {
		notes = append(notes, fmt.Sprintf("%s of the data cut to %d tokens (--max-completion-length)",
			count.Of(r.cutAnswers, "answer"), r.cfg.MaxCompletion))
	}
	return notes, nil
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

// Ends says whether the model has a token that ends an answer. Where it has none, answers end with word, which
// llama.cpp takes for one; "": with none.
func (r *Reader) Ends() (ends bool, word string) { return r.text.ends, r.text.eos }
