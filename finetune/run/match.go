package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/match"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

// A MatchConfig says how answers are made and compared.
type MatchConfig struct {
	Match    *match.Match
	Samples  int            // answers to each question, at least 1
	Predict  int            // tokens of an answer at most, at least 1
	Fixed    bool           // Predict was asked for: where the context has no room for it, that is an error
	Sampling llama.Sampling // its seed is that of the first question's first answer
}

// An AnswerOf is what a model answered to one question.
type AnswerOf struct {
	Source  string   `json:"source"`
	Adapter *string  `json:"adapter"` // null: the model as it is
	Answers []string `json:"answers"`
	Right   []bool   `json:"right"`
	Want    string   `json:"want"`
}

// EvaluateMatch lets a model answer the questions of cfg.Data and counts what is right: exact_match for one answer
// each, pass@1, pass@2, pass@4, … and pass@Samples for several. With an adapter the base answers too. each, unless nil,
// is called for every question, first for the base. Otherwise it is as Evaluate.
func EvaluateMatch(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	mc MatchConfig, rep report.Reporter, each func(AnswerOf) error) (_ Answers, err error) {
	e := &matching{cfg: &cfg, mc: mc, rep: rep, each: each}
	if err := e.open(ctx, adapterPath, given); err != nil {
		return Answers{}, errors.Join(err, e.g.Close())
	}
	defer func() { err = errors.Join(err, e.g.Close()) }()
	var base, tuned []int // right answers to each question
	if e.adapter != "" {
		if base, err = e.answers(ctx, generate.Base); err != nil {
			return Answers{}, err
		}
	}
	in := generate.Base
	if e.adapter != "" {
		in = 0
	}
	if tuned, err = e.answers(ctx, in); err != nil {
		return Answers{}, err
	}
	out := Answers{Questions: len(e.asked), Model: cfg.Model, Adapter: e.adapter}
	for _, k := range passes(mc.Samples) {
		s := &scored{name: "exact_match", tuned: passAt(tuned, mc.Samples, k), seed: cfg.Seed}
		if mc.Samples > 1 {
			s.name = fmt.Sprintf("pass@%d", k)
		}
		if base != nil {
			s.base = passAt(base, mc.Samples, k)
		}
		out.Scores = append(out.Scores, s.score())
	}
	return out, nil
}

// passes lists the k of pass@k: powers of two, and n.
func passes(n int) (out []int) {
	for k := 1; k < n; k *= 2 {
		out = append(out, k)
	}
	return append(out, n)
}

func passAt(right []int, n, k int) []float64 {
	out := make([]float64, len(right))
	for i, c := range right {
		out[i] = eval.PassAtK(n, c, k)
	}
	return out
}

// A matching is EvaluateMatch at work.
type matching struct {
	cfg     *config.Config
	mc      MatchConfig
	rep     report.Reporter
	each    func(AnswerOf) error
	adapter string // its file, or ""
	g       *generate.Generator
	asked   []corpus.Asked
	want    []string  // what a right answer holds
	prompts [][]int32 // tokens
}

func (e *matching) notes(list []string) {
	for _, n := range list {
		e.rep.Report(report.Notice{Text: n})
	}
}

// open reads the questions, before the model: a wrong one is then found at once.
func (e *matching) open(ctx context.Context, adapterPath string, given func(option string) bool) (err error) {
	if err := e.cfg.ValidateEval(adapterPath != ""); err != nil {
		return err
	}
	gc := generate.Config{Model: e.cfg.Model, Threads: e.cfg.Threads}
	if gc.Threads == 0 {
		gc.Threads = budget.PhysicalCores()
	}
	if adapterPath != "" {
		if e.adapter, err = checkpoint.FindAdapter(adapterPath); err != nil {
			return err
		}
		made, err := origin.Read(e.adapter)
		if err != nil {
			return err
		}
		if given == nil {
			given = func(string) bool { return false }
		}
		e.notes(made.TakeDefaults(e.cfg, given))
		gc.Adapters = []generate.Adapter{{Path: e.adapter, Scale: 1}}
	}
	if err := e.read(ctx); err != nil {
		return err
	}
	e.rep.Report(report.Progress{What: "load " + e.cfg.Model})
	if e.g, err = generate.Open(gc); err != nil {
		return err
	}
	e.notes(e.g.Notes())
	base, err := e.g.BaseNotes(ctx)
	if err != nil {
		return err
	}
	e.notes(base)
	return e.encode()
}

// read reads the questions.
func (e *matching) read(ctx context.Context) error {
	asked, notes, err := corpus.ReadAsked(ctx, e.cfg)
	if err != nil {
		return err
	}
	e.notes(notes)
	e.asked = asked
	for _, a := range e.asked {
		want, err := e.mc.Match.Wanted(a.Answer)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Source, err)
		}
		e.want = append(e.want, want)
	}
	return nil
}

// encode makes tokens of the questions, for the base those that the adapter gets.
func (e *matching) encode() error {
	var chat *generate.Chat
	var err error
	lacking := 0
	for _, a := range e.asked {
		var tokens []int32
		if a.Messages == nil {
			tokens, err = e.g.Raw(a.Prompt)
			if err == nil {
				tokens, err = e.once(tokens)
			}
		} else {
			if chat == nil {
				if chat, err = e.g.Chat(e.cfg.Template); err != nil {
					return err
				}
				e.notes(chat.Notes)
			}
			tokens, err = chat.PromptWith(a.Messages, a.Tools)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.Source, err)
		}
		e.prompts = append(e.prompts, tokens)
		if !e.g.Invoked(tokens) {
			lacking++
		}
	}
	if lacking > 0 {
		e.notes([]string{fmt.Sprintf("%d of %s without the adapter's invocation: there it does nothing", lacking,
			count.Of(len(e.prompts), "question"))})
	}
	return e.fit()
}

// fit makes answers as short as the longest question leaves room for in the context, unless their length was asked for.
func (e *matching) fit() error {
	longest := 0
	for i, tokens := range e.prompts {
		if len(tokens) > len(e.prompts[longest]) {
			longest = i
		}
	}
	n, at := len(e.prompts[longest]), e.asked[longest].Source
	room := e.g.NCtx() - n
	switch {
	case e.mc.Predict <= room:
		return nil
	case room < 1:
		return fmt.Errorf("%s: the question has %d tokens, and leaves no room for an answer in the context of %d; "+
			"leave it out", at, n, e.g.NCtx())
	case e.mc.Fixed:
		return fmt.Errorf("%s: the question has %d tokens, and with an answer of %d (--predict) it is longer than the "+
			"context of %d; leave it out, or allow shorter answers", at, n, e.mc.Predict, e.g.NCtx())
	}
	e.notes([]string{fmt.Sprintf("answers have at most %s, not %d: the longest question (%s) has %d, and the context "+
		"%d", count.Of(room, "token"), e.mc.Predict, at, n, e.g.NCtx())})
	e.mc.Predict = room
	return nil
}

// once leaves out one of two tokens that begin the text: the data writes its own, and training adds none to it either.
func (e *matching) once(tokens []int32) ([]int32, error) {
	twice, err := e.g.TwiceBegun(tokens)
	if twice != "" {
		tokens = tokens[1:]
	}
	return tokens, err
}

// answers lets the model answer all questions, with an adapter or the base, and counts what is right.
func (e *matching) answers(ctx context.Context, adapter int) (right []int, err error) {
	if err := e.g.Use(adapter); err != nil {
		return nil, err
	}
	what := "answer"
	var name *string
	if adapter == generate.Base && e.adapter != "" {
		what = "answer, the base"
	} else if e.adapter != "" {
		name = &e.adapter
	}
	for i, a := range e.asked {
		out := AnswerOf{Source: a.Source.String(), Adapter: name, Want: e.want[i]}
		n := 0
		for k := range e.mc.Samples {
			s := e.mc.Sampling
			s.Seed += uint32(i*e.mc.Samples + k)
			r, err := e.g.Continue(ctx, e.prompts[i], e.mc.Predict, s, nil)
			if err != nil {
				return nil, err
			}
			is := e.mc.Match.Right(r.Text, e.want[i])
			if is {
				n++
			}
			out.Answers, out.Right = append(out.Answers, r.Text), append(out.Right, is)
		}
		right = append(right, n)
		if e.each != nil {
			if err := e.each(out); err != nil {
				return nil, err
			}
		}
		e.rep.Report(report.Progress{What: what, Done: i + 1, Total: len(e.asked)})
	}
	return right, nil
}
