// Package corpus makes rows: data and a chat template become tokens, tokens share rows, and what became of the
// examples is counted and noted. It knows no loss and computes nothing with the model.
package corpus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
)

// A Reader turns the data of a configuration into rows, as a method needs them. It is not safe for concurrent use.
type Reader struct {
	// Progress is told how many examples of a pass are read; nil: nobody asks.
	Progress func(done, total int)
	// AnyKind accepts examples that a mask of turns says nothing about: the mask is an adapter's, not the user's.
	AnyKind bool

	cfg   *config.Config
	how   *method.Method
	text  *text
	limit encode.Limits
	all   bool // every token counts
	// context is how many tokens the model was trained to read at once. Where positions are learned there are no more.
	context int
	embd    int // numbers of the reference's vectors
	// other encodes texts for another model, whose vectors are the reference's; nil: they are the model's.
	other *Texts
	// invocation is that which an adapter waits for, nil for none; mayLack says that an example may lack it.
	invocation []int32
	mayLack    bool
	// tasks are those of the dataset that was encoded last, of methods of Rollouts.
	tasks []Task
	// Of tasks whose answers in the data may be learned from: those that have none, and those whose answer was cut.
	unanswered, cutAnswers int
	// cutBeside counts the answers of other examples that were cut to fit beside verdicts.
	cutBeside int
}

// onLongOf says what becomes of examples that are too long.
func onLongOf(cfg *config.Config) (encode.OnLong, error) {
	if cfg.Strict {
		return encode.Refuse, nil
	}
	return encode.ParseOnLong(cfg.OnLong)
}

// Open opens the tokenizer in the model file.
func Open(cfg *config.Config, m *engine.Model, how *method.Method) (*Reader, error) {
	mask, err := template.ParseMask(cfg.Mask)
	if err != nil {
		return nil, err
	}
	onLong, err := onLongOf(cfg)
	if err != nil {
		return nil, err
	}
	if how.AllTokens {
		mask = template.MaskAll
	}
	r := &Reader{cfg: cfg, how: how, all: how.AllTokens || mask == template.MaskAll,
		limit: encode.Limits{SeqLen: cfg.SeqLen, OnLong: onLong}, context: m.HParams().NCtxTrain}
	if how.Need == method.Rollouts {
		r.limit.Answer = cfg.MaxCompletion
	}
	r.limit.Positions, r.embd = m.HParams().Positions, m.HParams().NEmbd
	r.text, err = openText(m, cfg.Template, template.Options{Mask: mask, DropReasoning: cfg.DropReasoning}, cfg.Strict)
	if err != nil {
		return nil, err
	}
	r.text.enc.Plain = cfg.PlainControl()
	return r, nil
}

// Close frees the tokenizer; it may be called again and on nil.
func (r *Reader) Close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.text.vocab.Close(), r.other.Close())
}

// Other has texts encoded for another model too, whose vectors are the reference's. Of one that is too long for it the
// end is cut off.
func (r *Reader) Other(m *engine.Model) (err error) {
	r.embd = m.HParams().NEmbd
	r.other, err = openTexts(r.cfg, m, encode.Truncate)
	return err
}

// Template is the chat template in use, nil if no example needed one. Of two it is that of conversations without tools.
func (r *Reader) Template() *template.Template {
	if r.text.tmpl == nil {
		return r.text.toolsT
	}
	return r.text.tmpl
}

// TemplateName says where it came from, "" if no example needed one.
func (r *Reader) TemplateName() string { return r.text.templateName() }

// Bytes is the length of the text that a token stands for, 0 of a control token.
func (r *Reader) Bytes(token int32) int { return r.text.enc.Bytes(token) }

// Answered encodes the prompt of x with an answer, of which the tokens count.
func (r *Reader) Answered(x *data.Example, a *data.Answer) (encode.Item, error) {
	return r.text.answered(x, a)
}

// Literal encodes a text of which every token counts, in items of at most window tokens.
func (r *Reader) Literal(name, text string, window int) ([]encode.Item, error) {
	if p := r.limit.Positions; p > 0 {
		window = min(window, p)
	}
	return r.text.enc.Text(data.Source{File: name, Line: 1}, text, encode.Part{}, window)
}

// Spelled is Literal of a text that is not the user's, without those of its lines that the vocabulary has no tokens
// for; what says how many there are.
func (r *Reader) Spelled(name, text string, window int) (items []encode.Item, what string, err error) {
	if items, err = r.Literal(name, text, window); err == nil {
		return items, name, nil
	}
	lines := strings.SplitAfter(text, "\n")
	kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		_, err := r.Literal(name, line, window)
		return err != nil
	})
	rest := strings.Join(kept, "")
	if left := len(lines) - len(kept); left > 0 && strings.TrimSpace(rest) != "" {
		items, err = r.Literal(name, rest, window)
		name = fmt.Sprintf("%s, without the %d of its %d lines that the vocabulary cannot spell", name, left,
			len(lines))
	}
	return items, name, err
}

// wants is what data is read as, for what a method needs.
var wants = map[method.Need]data.Want{method.Answers: data.WantAnswers, method.Pairs: data.WantPairs,
	method.Verdicts: data.WantVerdicts, method.Labels: data.WantVerdicts, method.Rollouts: data.WantPrompts,
	method.Groups: data.WantGroups, method.Likenesses: data.WantLikenesses, method.Views: data.WantAnswers}

// wanted is what of data a method reads.
func wanted(cfg *config.Config, how *method.Method) data.Options {
	margin, _ := cfg.Settings.Get(method.Margin)
	return data.Options{Want: wants[how.Need], Each: how.Value == method.AtEnds && how.Loss == nil,
		Margins: how.Weighs && margin > 0 || how.Other == method.Taught && !how.Reference}
}

// openData opens data files with the run's options and those of o.
func openData(ctx context.Context, cfg *config.Config, paths []string, o data.Options) (*data.Dataset, error) {
	columns, unwanted, err := cfg.ColumnNames()
	if err != nil {
		return nil, err
	}
	examples := cfg.TaskExamples
	if examples == 0 {
		examples = -1 // data.Options means none by it
	}
	o.Format, o.Columns, o.Ignore, o.Split = cfg.Format, columns, unwanted, cfg.TextSplit
	o.ReplaceInvalid, o.Strict = cfg.ReplaceInvalid, cfg.Strict
	o.BestWorst = cfg.RankedPairs == "best-worst"
	o.Instructions = data.InstructionOptions{Examples: examples, Chat: cfg.TaskChat}
	return data.Open(ctx, paths, o)
}

// A share says what of some data is held out.
type share uint8

const (
	nothing share = iota
	part          // a part that is split off
	allOfIt
)

// readInto opens data and hands it to use.
func (r *Reader) readInto(ctx context.Context, paths []string, held share, use func(in *input) error) error {
	o := wanted(r.cfg, r.how)
	o.Held = held == allOfIt
	ds, err := openData(ctx, r.cfg, paths, o)
	if err != nil {
		return err
	}
	defer ds.Close()
	in := &input{ds: ds, all: make([]int, ds.Len()), dropped: ds.Stats().Read - ds.Stats().Kept}
	for i := range in.all {
		in.all[i] = i
	}
	if n := r.how.Need; n == method.Verdicts || held == part && (n == method.Pairs || n == method.Labels || n.Pools()) {
		if err := r.look(ctx, in); err != nil {
			return err
		}
	}
	return use(in)
}

// encode turns the examples of in with the given indices into items. Dropped is how many are told as left out in
// reading.
func (r *Reader) encode(ctx context.Context, in *input, which []int, dropped int) (*encode.Dataset, error) {
	out, err := encode.NewDataset(r.how.Need, r.limit)
	if err != nil {
		return nil, err
	}
	out.Invoke(r.invocation, r.mayLack)
	r.tasks = nil
	for n := 0; n < len(which); {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		list := which[n : n+r.joined(in, which[n:])]
		if err := r.add(out, in, list...); err != nil {
			return nil, err
		}
		for range list {
			n++
			r.tell(n, len(which))
		}
	}
	out.Counts.Examples += dropped
	out.Counts.DroppedRead = dropped
	return out, out.Check()
}

// add encodes the examples of in with the given indices, several of which are the pairs of one list, into d.
func (r *Reader) add(d *encode.Dataset, in *input, list ...int) error {
	items, err := r.example(in, list...)
	switch {
	case errors.Is(err, encode.ErrBare) && len(list) > 1: // perhaps not all of its pairs
		for _, i := range list {
			if err := r.add(d, in, i); err != nil {
				return err
			}
		}
	case errors.Is(err, encode.ErrBare) && !r.cfg.Strict:
		d.DropBare(in.ds.Source(list[0]))
	case err != nil:
		return err
	default:
		kept := len(d.Items)
		if d.AddOf(len(list), items...); r.how.Need == method.Rollouts && len(d.Items) > kept {
			return r.task(in, list[0])
		}
	}
	return nil
}

// often is after how many examples progress is told: a report for each would take longer than the example.
const often = 256

// tell tells of progress now and then.
func (r *Reader) tell(done, total int) {
	if r.Progress != nil && (done%often == 0 || done == total) {
		r.Progress(done, total)
	}
}

// example encodes an example of in, or the pairs of one list, with the given indices.
func (r *Reader) example(in *input, list ...int) ([]encode.Item, error) {
	i := list[0]
	x, err := in.ds.At(i)
	if err != nil {
		return nil, err
	}
	if r.how.Need == method.Views {
		return r.views(&x, in.ds.Format())
	}
	if (x.Kind == data.KindText || x.Kind == data.KindCompletion) && r.text.opts.Mask == template.MaskLast &&
		!r.AnyKind {
		return nil, &config.Error{Err: fmt.Errorf("--mask last: %s is an example of %v, which has no turns; "+
			"expected conversations; leave --mask out", x.Source, x.Kind)}
	}
	switch x.Kind {
	case data.KindText:
		part := encode.Part{Continues: x.Continues, Continued: x.Continued}
		return r.text.document(x.Source, x.Text, part, r.limit.Window())
	case data.KindCompletion:
		if r.all {
			return r.text.document(x.Source, x.Prompt+x.Completion, encode.Part{}, r.limit.Window())
		}
		return r.text.one(r.text.enc.Completion(x.Source, x.Prompt, x.Completion))
	case data.KindMessages:
		said, err := r.text.render(x.Source, x.Messages, x.Tools)
		if err != nil {
			return nil, err
		}
		it, err := r.text.enc.Conversation(x.Source, said)
		it.Whole = r.all
		return r.text.one(it, err)
	case data.KindPrompt:
		return r.text.one(r.text.prompt(&x))
	case data.KindGroup, data.KindLikeness:
		return r.texts(&x)
	case data.KindPair:
		return r.pairs(in, list)
	case data.KindVerdict:
		if r.how.Value == method.AtEnds {
			return r.scored(&x)
		}
		other, err := in.ds.At(in.others[i])
		if err != nil {
			return nil, err
		}
		it, err := r.verdict(&x, &other)
		return []encode.Item{it}, err
	}
	return nil, fmt.Errorf("%s: method %s cannot train on an example of %v", x.Source, r.how.Name, x.Kind)
}
