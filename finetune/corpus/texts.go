package corpus

import (
	"context"
	"fmt"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/internal/count"
)

// Texts encodes whole texts, of each of which a vector is made. It is not safe for concurrent use.
type Texts struct {
	vocab  *llama.Vocab
	wholes *encode.Wholes
	most   int  // tokens of a text
	all    bool // the model can read no more
	onLong encode.OnLong
	cut    []string // where the texts are from that were cut
}

// OpenTexts opens the tokenizer in the model file. A text longer than a row, or than the model can read, is cut, or
// refused where the configuration says so.
func OpenTexts(cfg *config.Config, m *engine.Model) (*Texts, error) {
	onLong, err := onLongOf(cfg)
	if err != nil {
		return nil, err
	}
	return openTexts(cfg, m, onLong)
}

func openTexts(cfg *config.Config, m *engine.Model, onLong encode.OnLong) (t *Texts, err error) {
	t = &Texts{most: cfg.SeqLen, onLong: onLong}
	if p := m.HParams().Positions; p > 0 && p <= t.most {
		t.most, t.all = p, true
	}
	if t.vocab, err = loadVocab(m.File()); err != nil {
		return nil, err
	}
	t.wholes = encode.NewWholes(t.vocab)
	return t, nil
}

// Close frees the tokenizer; it may be called again and on nil.
func (t *Texts) Close() error {
	if t == nil {
		return nil
	}
	return t.vocab.Close()
}

// Tokens encodes a text with a prefix before it; from says where it is from, for messages.
func (t *Texts) Tokens(from, prefix, text string) ([]int32, error) {
	tokens, long, err := t.wholes.Encode(prefix, text, t.most)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", from, err)
	case long == 0:
	case t.onLong != encode.Truncate:
		cure := "raise --seq-len,"
		if t.all {
			cure = "for the model can read no more,"
		}
		return nil, fmt.Errorf("%s: the text has %d tokens, and %d are read; shorten it, %s or let such texts be cut "+
			"(--on-long truncate, without --strict)", from, long, t.most, cure)
	default:
		t.cut = append(t.cut, from)
	}
	return tokens, nil
}

// Notes says what was cut since it was asked last.
func (t *Texts) Notes() []string {
	if len(t.cut) == 0 {
		return nil
	}
	why := "--seq-len says how many are read"
	if t.all {
		why = "the model can read no more"
	}
	note := fmt.Sprintf("%s cut to %d tokens, the first is %s; %s", count.Of(len(t.cut), "text"), t.most, t.cut[0], why)
	t.cut = nil
	return []string{note}
}

// A Text is a text of the data, with its place there.
type Text struct{ Source, Text string }

// ReadTexts reads examples of plain text, of the files with those paths, and the documents of BEIR's folders; the notes
// say what was left out.
func ReadTexts(ctx context.Context, cfg *config.Config, paths []string) (out []Text, notes []string, err error) {
	var others []string
	for _, path := range paths {
		if !data.IsBEIR(path) {
			others = append(others, path)
			continue
		}
		documents, err := data.OpenBEIRDocuments(ctx, path, data.Options{ReplaceInvalid: cfg.ReplaceInvalid})
		if err != nil {
			return nil, nil, err
		}
		for _, d := range documents {
			out = append(out, Text{d.Source.String(), d.Text})
		}
		notes = append(notes, fmt.Sprintf("of the folder %s the %s are read, and not its queries", path,
			count.Of(len(documents), "document")))
	}
	if len(others) == 0 && len(paths) > 0 {
		return out, notes, nil
	}
	texts, more, err := readTexts(ctx, cfg, others)
	return append(out, texts...), append(notes, more...), err
}

// needText refuses an example that is no plain text. The error wraps a *data.UnsuitedError.
func needText(x *data.Example, format string) error {
	if x.Kind == data.KindText {
		return nil
	}
	return fmt.Errorf("%s: %w", x.Source, &data.UnsuitedError{Gives: data.WantAnswers, Reason: fmt.Sprintf("the "+
		"example is of %v (format %q); expected texts: records with the field \"text\" (--columns text=FIELD names "+
		"another), or plain text (--text-split line: one on each line)", x.Kind, format)})
}

func readTexts(ctx context.Context, cfg *config.Config, paths []string) (out []Text, notes []string, err error) {
	ds, err := openData(ctx, cfg, paths, data.Options{Want: data.WantAnswers})
	if err != nil {
		return nil, nil, err
	}
	defer ds.Close()
	for i := range ds.Len() {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		x, err := ds.At(i)
		if err != nil {
			return nil, nil, err
		}
		if err := needText(&x, ds.Format()); err != nil {
			return nil, nil, err
		}
		out = append(out, Text{x.Source.String(), x.Text})
	}
	return out, dropNotes(ds), nil
}
