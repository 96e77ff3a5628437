package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Scored is what an answer is worth.
type Scored struct {
	Source string `json:"source"`
	// Answer tells the answers of one example apart: "chosen" and "rejected" of a pair; "" of one alone.
	Answer string  `json:"answer,omitempty"`
	Score  float64 `json:"score"`
}

// Scores are what `ggtune score` finds out.
type Scores struct {
	Answers []Scored // in the order of the data
	Purpose head.Purpose
	Data    encode.Counts
}

// ScoreAnswers scores the answers in cfg.Data with the adapter that a path names and the head of cfg, or that beside
// it. Plain answers are scored, those of pairs, and documents under a query. Otherwise it is as Evaluate.
func ScoreAnswers(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	rep report.Reporter) (_ *Scores, err error) {
	m, err := openMeasured(ctx, &cfg, adapterPath, given, rep)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.model.Close()) }()
	h, err := m.takeHead(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	if given == nil || !given("on-long") {
		cfg.OnLong = encode.Drop.String() // the score of half an answer is not the answer's
	}
	how, rows, err := m.readScored(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	m.notes(rows.Notes)
	sess, err := engine.NewSession(m.model, m.session)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	total := rows.HeldRows.Rows()
	scores := make([][]float64, len(rows.Held.Items))
	err = eval.Each(ctx, sess, rows.HeldRows, how, eval.Options{Progress: func(n int) {
		rep.Report(report.Progress{What: "score", Done: n, Total: total})
	}}, func(_ *encode.Micro, in *method.Inputs) (bool, error) {
		for i, q := range in.Sequences {
			score := in.Value[i] - float64(h.Mean)
			if score-score != 0 {
				return false, fmt.Errorf("%s: the score is %g; look at the model with ggtune check",
					rows.Held.Items[q.Example].Source, score)
			}
			scores[q.Example] = append(scores[q.Example], score)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	out := &Scores{Purpose: h.Purpose, Data: rows.Held.Counts}
	for i, list := range scores {
		for k, score := range list {
			s := Scored{Source: rows.Held.Items[i].Source.String(), Score: score}
			if len(list) == 2 { // the children of a pair
				s.Answer = []string{"chosen", "rejected"}[k]
			}
			out.Answers = append(out.Answers, s)
		}
	}
	return out, nil
}

// readScored reads the answers that are scored: the data says of what kind they are.
func (m *measured) readScored(ctx context.Context, cfg *config.Config) (*method.Method, *corpus.Rows, error) {
	how := method.Scores(method.Answers)
	for {
		rows, err := m.readFor(ctx, cfg, how)
		var unsuited *data.UnsuitedError
		if how.Need != method.Answers || !errors.As(err, &unsuited) {
			return how, rows, err
		}
		switch unsuited.Gives {
		case data.WantPairs:
			how = method.Scores(method.Pairs)
		case data.WantVerdicts:
			how = method.Scores(method.Labels)
		default:
			return nil, nil, err
		}
	}
}

func (m *measured) readFor(ctx context.Context, cfg *config.Config, how *method.Method) (_ *corpus.Rows, err error) {
	text, err := corpus.Open(cfg, m.model, how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	text.AnyKind = true
	rows, err := text.ReadHeld(ctx)
	if err == nil {
		m.notes(m.made.Differs(origin.Use{Template: text.Template()}))
	}
	return rows, err
}
