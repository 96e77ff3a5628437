package corpus

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/count"
)

// InvokeTrained is Invoke for the adapter that a run of cfg trains: with the invocation of the one that it starts
// from, or cfg's ALoRA. Every example must have it.
func (r *Reader) InvokeTrained(net *arch.Net) error {
	tokens, err := r.asked()
	if err == nil && r.cfg.InitAdapter != "" {
		var a *adapter.Adapter
		if a, err = adapter.Load(r.cfg.InitAdapter, net); err == nil {
			tokens = a.Invocation
		}
	}
	r.Invoke(tokens, false)
	return err
}

// asked gives the tokens of cfg's ALoRA: of its text, or of that with which the chat template opens an answer. The
// error is a *config.Error.
func (r *Reader) asked() ([]int32, error) {
	text := r.cfg.ALoRA
	if text == "" {
		return nil, nil
	}
	fail := func(format string, args ...any) ([]int32, error) {
		return nil, &config.Error{Err: fmt.Errorf("--alora: "+format, args...)}
	}
	if text == "auto" {
		if err := r.text.needTemplate(); err != nil {
			return fail("%w", err)
		}
		if text = r.text.tmpl.Opening(r.text.opts); text == "" {
			return fail("chat template %s does not say how it opens an answer (add_generation_prompt adds nothing); "+
				"give the text of an invocation", r.text.tmpl.Name())
		}
	}
	tokens, err := r.text.within(text)
	if err != nil {
		return fail("%q: %w", text, err)
	}
	if len(tokens) == 0 {
		return fail("%q has no token in this model; give another text", text)
	}
	return tokens, nil
}

// Invoke has rows know where an adapter begins to act that waits for an invocation; none is for all others. mayLack
// says that an example may lack it: there the adapter does nothing.
func (r *Reader) Invoke(invocation []int32, mayLack bool) {
	r.invocation, r.mayLack = invocation, mayLack
}

// invocationNotes says how an adapter leaves that waits for an invocation, and what that leaves out.
func (t *text) invocationNotes(rows *Rows) (notes []string) {
	if rows.Train != nil && len(rows.Invocation) > 0 {
		text := ""
		for _, id := range rows.Invocation {
			text += t.enc.Piece(id)
		}
		notes = append(notes, fmt.Sprintf("the adapter acts from %q on (%s), and leaves so: beside the base, for "+
			"llama-server and ggtune; merged, or in Ollama, it would act on every token", text,
			count.Of(len(rows.Invocation), "token")))
	}
	if rows.Train != nil && rows.Train.BeforeInvocation() > 0 {
		notes = append(notes, fmt.Sprintf("%s before the last invocation not counted: the base alone predicts what "+
			"comes before it (--alora)", count.Of(rows.Train.BeforeInvocation(), "token")))
	}
	if rows.Held == nil {
		return notes
	}
	if n, first := rows.Held.Uninvoked(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s without the adapter's invocation, such as %s: there it does "+
			"nothing", n, count.Of(len(rows.Held.Items), "example"), first))
	}
	return notes
}

// within gives the tokens that a text has within another: of a vocabulary that puts a space before a text, without it.
func (t *text) within(text string) ([]int32, error) {
	tokens, err := t.vocab.Encode(text, false, true)
	if err != nil {
		return nil, err
	}
	joined := ""
	for _, id := range tokens {
		joined += t.enc.Piece(id)
	}
	if joined != " "+text {
		return tokens, nil
	}
	const before = "\n" // which joins no text's first token
	line, err := t.vocab.Encode(before, false, true)
	if err != nil {
		return nil, err
	}
	behind, err := t.vocab.Encode(before+text, false, true)
	if err != nil || len(behind) <= len(line) || !slices.Equal(behind[:len(line)], line) {
		return tokens, err
	}
	return behind[len(line):], nil
}
