package run

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
)

// Answers are what `ggtune eval --choices` and `--match` find out: shares of questions that are answered rightly.
type Answers struct {
	Questions int
	Scores    []Score // of the model, with the adapter if there is one
	Model     string
	Adapter   string         // "" for the model alone
	Data      *encode.Counts // of --choices: what became of the questions
}

// A Score is one way to count what is right.
type Score struct {
	Name  string
	Share eval.Share
	// Base is the same without the adapter, and Change the difference, question by question; nil without an adapter.
	Base, Change *eval.Share
}

// MarshalJSON writes each score under its name, with what is not known of it beside it.
func (a Answers) MarshalJSON() ([]byte, error) {
	m := map[string]any{"questions": a.Questions, "model": a.Model, "adapter": nil}
	if a.Adapter != "" {
		m["adapter"] = a.Adapter
	}
	if a.Data != nil {
		m["data"] = a.Data
	}
	for _, s := range a.Scores {
		s.put(m)
	}
	return json.Marshal(m)
}

// put writes what is known into an object of JSON.
func (s *Score) put(m map[string]any) {
	put := func(name string, s *eval.Share) {
		if s != nil {
			m[name], m[name+"_stderr"], m[name+"_interval"] = s.Value, s.StdErr, s.Interval
		}
	}
	put(s.Name, &s.Share)
	put("base_"+s.Name, s.Base)
	put(s.Name+"_change", s.Change)
}

// A scored is one score's worth for each question: of the base, empty without an adapter, and of what is measured.
type scored struct {
	name        string
	base, tuned []float64
	seed        uint64
}

// score sums up. Where each question is right or wrong the intervals are Wilson's.
func (s *scored) score() Score {
	share := func(x []float64) eval.Share {
		right := make([]bool, len(x))
		for i, v := range x {
			if v != 0 && v != 1 {
				return eval.MeanOf(x, s.seed)
			}
			right[i] = v == 1
		}
		return eval.ShareOf(right)
	}
	out := Score{Name: s.name, Share: share(s.tuned)}
	if s.base != nil {
		base, change := share(s.base), make([]float64, len(s.base))
		for i := range change {
			change[i] = s.tuned[i] - s.base[i]
		}
		mean := eval.MeanOf(change, s.seed)
		out.Base, out.Change = &base, &mean
	}
	return out
}

// A ChoiceOf is what a model made of one question.
type ChoiceOf struct {
	Source string    `json:"source"`
	Right  int       `json:"right"` // from 0
	LogP   []float64 `json:"logp"`
	Choice int       `json:"choice"`
	Norm   int       `json:"choice_norm"`
	Base   *ChoiceOf `json:"base,omitempty"`
}

// EvaluateChoices measures how often a model finds the right one of several choices, by their log-probabilities: acc,
// and acc_norm by these over the choices' lengths. chat renders questions as conversations; without it they are literal
// text, as in lm-evaluation-harness. With an adapter the base is measured too. each, unless nil, is called for every
// question. Otherwise it is as Evaluate.
func EvaluateChoices(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	chat bool, rep report.Reporter, each func(ChoiceOf) error) (_ Answers, err error) {
	row := cfg.SeqLen
	m, err := openMeasured(ctx, &cfg, adapterPath, given, rep)
	if err != nil {
		return Answers{}, err
	}
	defer func() { err = errors.Join(err, m.model.Close()) }()
	// What counts is the choice, of every question that fits a row, whatever the adapter was trained on.
	cfg.Mask, cfg.SeqLen = config.Default().Mask, row
	text, err := corpus.Open(&cfg, m.model, method.SFT)
	if err != nil {
		return Answers{}, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	text.Invoke(m.invocation, true)
	questions, err := text.ReadChoices(ctx, chat)
	if err != nil {
		return Answers{}, err
	}
	m.notes(questions.Notes)
	m.notes(m.made.Differs(origin.Use{Template: text.Template()}))
	sess, err := engine.NewSession(m.model, m.session)
	if err != nil {
		return Answers{}, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	acc, norm := &scored{name: "acc", seed: cfg.Seed}, &scored{name: "acc_norm", seed: cfg.Seed}
	var base []eval.Pick
	if m.adapter != "" {
		if base, err = choose(ctx, sess, questions, rep, true); err != nil {
			return Answers{}, err
		}
	}
	tuned, err := choose(ctx, sess, questions, rep, false)
	if err != nil {
		return Answers{}, err
	}
	for i, q := range questions.Questions {
		acc.tuned, norm.tuned = append(acc.tuned, is(tuned[i].Best == q.Right)),
			append(norm.tuned, is(tuned[i].Norm == q.Right))
		if base != nil {
			acc.base, norm.base = append(acc.base, is(base[i].Best == q.Right)),
				append(norm.base, is(base[i].Norm == q.Right))
		}
		if each == nil {
			continue
		}
		of := choiceOf(&q, &tuned[i])
		if base != nil {
			b := choiceOf(&q, &base[i])
			of.Base = &b
		}
		if err := each(of); err != nil {
			return Answers{}, err
		}
	}
	return Answers{Questions: len(tuned), Scores: []Score{acc.score(), norm.score()}, Model: cfg.Model,
		Adapter: m.adapter,
		Data:    questions.Counts}, nil
}

func choose(ctx context.Context, sess *engine.Session, q *corpus.Choices, rep report.Reporter, base bool) ([]eval.Pick,
	error) {
	what := "evaluate"
	if base {
		what = "evaluate the base"
	}
	lengths := make([][]int, len(q.Questions))
	for i := range lengths {
		lengths[i] = q.Questions[i].Lengths
	}
	return eval.Choose(ctx, sess, q.Rows, lengths, eval.Options{NoAdapter: base, Progress: func(rows int) {
		rep.Report(report.Progress{What: what, Done: rows, Total: q.Rows.Rows()})
	}})
}

func choiceOf(q *corpus.Question, p *eval.Pick) ChoiceOf {
	return ChoiceOf{Source: q.Source.String(), Right: q.Right, LogP: p.LogP, Choice: p.Best, Norm: p.Norm}
}

func is(right bool) float64 {
	if right {
		return 1
	}
	return 0
}
