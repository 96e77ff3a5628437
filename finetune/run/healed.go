package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

// enough is the number of counted tokens on which predictions are compared, as merge compares them.
const enough = 4096

// measure compares the model's predictions, with the adapter and without, with the better file's, on what the run held
// out. All are computed in exact mode.
func (r *Healed) measure(ctx context.Context, cfg *config.Config, rep report.Reporter) (err error) {
	m, err := engine.Open(r.Model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	items, err := r.items(ctx, m, cfg)
	if err != nil {
		return err
	}
	from, err := engine.Open(r.From)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	a, err := adapter.Load(r.Summary.Result, m.Net())
	if err != nil {
		return err
	}
	sc := engine.SessionConfig{Threads: cfg.Threads, Exact: true}
	if sc.Threads == 0 {
		sc.Threads = budget.PhysicalCores()
	}
	better, err := engine.NewSession(from, sc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, better.Close()) }()
	sc.Sets = []engine.Set{{Adapter: a, Frozen: true}}
	sess, err := engine.NewSession(m, sc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	predict := []eval.Predict{eval.Predictor(sess, engine.Only()), eval.Predictor(sess, engine.Choice{})}
	r.Differences, err = eval.Compare(ctx, eval.Predictor(better, engine.Choice{}), predict, m.HParams().NVocab, items,
		func(done int) { rep.Report(report.Progress{What: "measure", Done: done, Total: len(items)}) })
	if err != nil {
		return fmt.Errorf("measure what healing gained: %w", err)
	}
	return nil
}

// items are what the run held out, or a general text if that is nothing.
func (r *Healed) items(ctx context.Context, m *engine.Model, cfg *config.Config) (_ []encode.Item, err error) {
	how, err := cfg.Loss()
	if err != nil {
		return nil, err
	}
	text, err := corpus.Open(cfg, m, how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	rows, err := text.Read(ctx)
	if err != nil {
		return nil, err
	}
	if rows.Held == nil {
		var items []encode.Item
		items, r.Text, err = text.Spelled("a general text", eval.GeneralText, eval.GeneralWindow)
		return items, err
	}
	some := eval.Spread(rows.Held.Items, enough)
	r.Text = count.Of(len(some), "text") + " held out"
	return some, nil
}
