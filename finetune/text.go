package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/finetune/config"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/count"
)

// A textSide is how a model's examples become tokens: its tokenizer and its chat template.
type textSide struct {
	vocab  *llama.Vocab
	enc    *encode.Encoder
	cfg    *config.Config
	need   method.Need
	method string // its name
	all    bool   // every token counts
	limit  encode.Limits
	// anyKind accepts examples that a mask of turns says nothing about: the mask is an adapter's, not the user's.
	anyKind bool
	// cutBeside counts the answers of other examples that were cut to fit beside verdicts.
	cutBeside int
	// context is how many tokens the model was trained to read at once. Where positions are learned there are no more.
	context int

	// progress is told how many examples of a pass are read; nil: nobody asks.
	progress func(done, total int)

	model    string // path
	own      string // the model's own template, or ""
	tmpl     *template.Template
	note     string // which template stands in for a missing one
	opts     template.Options
	bos, eos string
}

// openText opens the tokenizer in the model file.
func openText(cfg *config.Config, m *engine.Model, how *method.Method) (*textSide, error) {
	f := m.File()
	if err := f.CheckTokenizer(); err != nil {
		return nil, err
	}
	own, err := f.StringOr("tokenizer.chat_template", "")
	if err != nil {
		return nil, err
	}
	mask, err := template.ParseMask(cfg.Mask)
	if err != nil {
		return nil, err
	}
	onLong, err := encode.ParseOnLong(cfg.OnLong)
	if err != nil {
		return nil, err
	}
	if how.AllTokens {
		mask = template.MaskAll
	}
	v, err := llama.LoadVocab(m.Path())
	if err != nil {
		return nil, err
	}
	s := &textSide{vocab: v, cfg: cfg, model: m.Path(), own: own, need: how.Need, method: how.Name, all: how.AllTokens || mask == template.MaskAll,
		limit: encode.Limits{SeqLen: cfg.SeqLen, OnLong: onLong}, context: m.HParams().NCtxTrain, opts: template.Options{Mask: mask, DropReasoning: cfg.DropReasoning}}
	if m.HParams().Rope.Dim == 0 { // positions are learned, one vector each
		s.limit.Positions = s.context
	}
	if err := s.open(); err != nil {
		v.Close()
		return nil, err
	}
	return s, nil
}

func (s *textSide) open() error {
	var err error
	if s.enc, err = encode.New(s.vocab); err != nil {
		return err
	}
	if id := s.vocab.BOS(); id >= 0 {
		s.bos = s.enc.Piece(id)
	}
	if id := s.vocab.EOS(); id >= 0 {
		s.eos = s.enc.Piece(id)
	}
	for id := range int32(s.vocab.N()) {
		if s.vocab.IsEOG(id) {
			s.opts.EndOfTurn = append(s.opts.EndOfTurn, s.enc.Piece(id))
		}
	}
	// A template the user names is looked at even if no example needs it: a wrong name should not go unseen.
	if s.cfg.Template != "" {
		return s.needTemplate()
	}
	return nil
}

// needTemplate finds the chat template, once.
func (s *textSide) needTemplate() error {
	if s.tmpl != nil {
		return nil
	}
	var err error
	s.tmpl, s.note, err = template.Find(s.cfg.Template, s.own, s.model)
	return err
}

// templateName says where the template came from, "" if no example needed one.
func (s *textSide) templateName() string {
	if s.tmpl == nil {
		return ""
	}
	return s.tmpl.Name()
}

// Close frees the tokenizer; it may be called again and on nil.
func (s *textSide) Close() error {
	if s == nil {
		return nil
	}
	return s.vocab.Close()
}

// wants is what data is read as, for what a method needs.
var wants = map[method.Need]data.Want{method.Answers: data.WantAnswers, method.Pairs: data.WantPairs, method.Verdicts: data.WantVerdicts}

// openData opens data files with the run's options.
func openData(ctx context.Context, cfg *config.Config, paths []string, need method.Need) (*data.Dataset, error) {
	columns, err := cfg.ColumnNames()
	if err != nil {
		return nil, err
	}
	examples := cfg.TaskExamples
	if examples == 0 {
		examples = -1 // data.Options means none by it
	}
	return data.Open(ctx, paths, data.Options{Format: cfg.Format, Columns: columns, Split: cfg.TextSplit, ReplaceInvalid: cfg.ReplaceInvalid,
		Strict: cfg.Strict, Want: wants[need], BestWorst: cfg.RankedPairs == "best-worst", Instructions: data.InstructionOptions{Examples: examples, Chat: cfg.TaskChat}})
}

// encode turns the examples of in with the given indices into items. Dropped is how many are told as left out in reading.
func (s *textSide) encode(ctx context.Context, in *input, which []int, dropped int) (*encode.Dataset, error) {
	out, err := encode.NewDataset(s.need, s.limit)
	if err != nil {
		return nil, err
	}
	for n, i := range which {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		items, err := s.example(in, i)
		switch {
		case errors.Is(err, encode.ErrBare) && !s.cfg.Strict:
			out.DropBare(in.ds.Source(i))
		case err != nil:
			return nil, err
		default:
			out.Add(items...)
		}
		s.tell(n+1, len(which))
	}
	out.Counts.Examples += dropped
	out.Counts.DroppedRead = dropped
	return out, out.Check()
}

// tell tells of progress now and then: a report for each example would take longer than the example.
func (s *textSide) tell(done, total int) {
	const often = 256
	if s.progress != nil && (done%often == 0 || done == total) {
		s.progress(done, total)
	}
}

// example encodes the example of in with the given index.
func (s *textSide) example(in *input, i int) ([]encode.Item, error) {
	x, err := in.ds.At(i)
	if err != nil {
		return nil, err
	}
	if (x.Kind == data.KindText || x.Kind == data.KindCompletion) && s.opts.Mask == template.MaskLast && !s.anyKind {
		return nil, &config.Error{Err: fmt.Errorf("--mask last: %s is an example of %v, which has no turns; expected conversations; leave --mask out", x.Source, x.Kind)}
	}
	switch x.Kind {
	case data.KindText:
		return s.enc.Text(x.Source, x.Text, encode.Part{Continues: x.Continues, Continued: x.Continued}, s.limit.Window())
	case data.KindCompletion:
		if s.all {
			return s.enc.Text(x.Source, x.Prompt+x.Completion, encode.Part{}, s.limit.Window())
		}
		it, err := s.enc.Completion(x.Source, x.Prompt, x.Completion)
		return []encode.Item{it}, err
	case data.KindMessages:
		r, err := s.render(x.Messages, x.Tools)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.Source, err)
		}
		it, err := s.enc.Conversation(x.Source, r)
		return []encode.Item{it}, err
	case data.KindPair:
		it, err := s.tree(&x)
		return []encode.Item{it}, err
	case data.KindVerdict:
		other, err := in.ds.At(in.others[i])
		if err != nil {
			return nil, err
		}
		it, err := s.verdict(&x, &other)
		return []encode.Item{it}, err
	}
	return nil, fmt.Errorf("%s: method %s cannot train on an example of %v", x.Source, s.method, x.Kind)
}

func (s *textSide) render(messages []data.Message, tools json.RawMessage) (*template.Rendering, error) {
	if err := s.needTemplate(); err != nil {
		return nil, err
	}
	conv := template.Conversation{Tools: tools, BOS: s.bos, EOS: s.eos, Messages: make([]template.Message, len(messages))}
	for i, m := range messages {
		t := template.Message{Role: string(m.Role), Content: m.Content, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID, Name: m.Name, Train: m.Train}
		for _, c := range m.ToolCalls {
			t.ToolCalls = append(t.ToolCalls, template.ToolCall{ID: c.ID, Type: c.Type, Name: c.Name, Arguments: c.Arguments})
		}
		conv.Messages[i] = t
	}
	return s.tmpl.Render(conv, s.opts)
}

// rows is what a run trains and measures on.
type rows struct {
	train, held *encode.Dataset // held is nil without held-out data
	trainRows   *encode.Loader
	heldRows    *encode.Loader
	notes       []string
}

// readRows reads, encodes and packs the data of a run.
func readRows(ctx context.Context, cfg *config.Config, s *textSide) (*rows, error) {
	r := &rows{}
	err := s.readInto(ctx, cfg, cfg.Data, func(in *input) error {
		r.notes = append(r.notes, dropNotes(in.ds)...)
		train := in.all
		if cfg.EvalSplit > 0 {
			var held []int
			var err error
			if train, held, err = in.split(cfg); err != nil {
				return err
			}
			if r.held, err = s.encode(ctx, in, held, 0); err != nil {
				return err
			}
		}
		var err error
		r.train, err = s.encode(ctx, in, train, in.dropped)
		return err
	})
	if err == nil && len(cfg.EvalData) > 0 {
		err = s.readInto(ctx, cfg, cfg.EvalData, func(in *input) error {
			r.notes = append(r.notes, dropNotes(in.ds)...)
			var err error
			r.held, err = s.encode(ctx, in, in.all, in.dropped)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if s.note != "" {
		r.notes = append(r.notes, s.note)
	}
	r.notes = append(r.notes, s.lengthNotes(r)...)
	return r, r.pack(cfg)
}

// lengthNotes says what the row length and the model's context did to the examples.
func (s *textSide) lengthNotes(r *rows) []string {
	var out []string
	if s.limit.Window() < s.limit.SeqLen {
		out = append(out, fmt.Sprintf("%s has %d learned positions: examples are limited to that many tokens (rows still pack several up to %d)", s.model, s.context, s.cfg.SeqLen))
	}
	longest := 0
	for _, d := range []*encode.Dataset{r.train, r.held} {
		if d == nil {
			continue
		}
		for i := range d.Items {
			longest = max(longest, d.Items[i].Depth())
		}
		if d.Counts.DroppedCut > 0 {
			out = append(out, fmt.Sprintf("left out: %s whose prompt fills a row of %d tokens, such as %s; a larger --seq-len takes in more",
				count.Of(d.Counts.DroppedCut, "example"), s.limit.Window(), d.CutAnswers()[0]))
		}
		out = append(out, s.treeNotes(d)...)
	}
	if s.cutBeside > 0 {
		out = append(out, fmt.Sprintf("beside %s the other example's answer is cut to fit the row: it is a sample of what the model would say, and not trained on", count.Of(s.cutBeside, "verdict")))
	}
	if s.context > 0 && longest > s.context {
		out = append(out, fmt.Sprintf("the longest example has %d tokens, and %s was trained to read %d at once: what lies beyond may be learned badly; --seq-len %d stays within", longest, s.model, s.context, s.context))
	}
	return out
}

// readInto opens data and hands it to use.
func (s *textSide) readInto(ctx context.Context, cfg *config.Config, paths []string, use func(in *input) error) error {
	ds, err := openData(ctx, cfg, paths, s.need)
	if err != nil {
		return err
	}
	defer ds.Close()
	in := &input{ds: ds, all: make([]int, ds.Len()), dropped: ds.Stats().Read - ds.Stats().Kept}
	for i := range in.all {
		in.all[i] = i
	}
	if s.need == method.Verdicts || s.need == method.Pairs && cfg.EvalSplit > 0 {
		if err := s.look(ctx, in); err != nil {
			return err
		}
	}
	return use(in)
}

// dropNotes says what was left out when the data was read, or found cut off, and where.
func dropNotes(ds *data.Dataset) []string {
	var out []string
	for _, d := range ds.Stats().Dropped {
		out = append(out, fmt.Sprintf("left out: %s (%s); the first at %s", count.Of(d.Count, "example"), d.Reason, d.First[0]))
	}
	if c := ds.Stats().CutOff; c != nil {
		out = append(out, fmt.Sprintf("%s: %s; its end is not trained on; the first at %s", count.Of(c.Count, "example"), c.Reason, c.First[0]))
	}
	return out
}

func (r *rows) pack(cfg *config.Config) error {
	packing, err := encode.ParsePacking(cfg.Packing)
	if err != nil {
		return err
	}
	o := encode.LoadOptions{Window: cfg.SeqLen, Packing: packing, Batch: cfg.Batch, Seed: cfg.Seed, Shuffle: true}
	if r.trainRows, err = encode.NewLoader(r.train, o); err != nil {
		return err
	}
	if r.held == nil {
		return nil
	}
	o.Shuffle, o.Limit = false, cfg.EvalRows
	r.heldRows, err = encode.NewLoader(r.held, o)
	return err
}

// largest gives the tokens and counted tokens of the longest row, held-out ones included, and how many rows of a micro-batch
// of that size there are.
func (r *rows) largest(batch int) (tokens, counted, n int) {
	tokens, counted = r.trainRows.Longest()
	n = r.trainRows.Rows()
	if r.heldRows != nil {
		t, c := r.heldRows.Longest()
		tokens, counted, n = max(tokens, t), max(counted, c), max(n, r.heldRows.Rows())
	}
	return tokens, counted, min(batch, n)
}

// probe gives tokens to compare logits on: the first example that has two, of a tree its prompt and first answer.
func (r *rows) probe() []int32 {
	for i := range r.train.Items {
		it := &r.train.Items[i]
		n := it.Segments[0].Len
		if len(it.Segments) > 1 && it.Segments[1].Parent == 0 {
			n += it.Segments[1].Len
		}
		if n >= 2 {
			return it.Tokens[:n]
		}
	}
	return nil
}
