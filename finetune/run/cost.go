package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Cost is what other storage types make of a model's predictions.
type Cost struct {
	Text string // what it was measured on
	eval.Differences
}

// MeasureCost compares the predictions of models with those of the source that they were made of, at every counted
// token of a text: a file, as eval reads data, or words. All are computed in exact mode, whose own rounding is below
// that of f16 weights.
func MeasureCost(ctx context.Context, source string, made []string, text string, threads int, rep report.Reporter) (
	_ Cost, err error) {
	cfg := config.Default()
	cfg.Model, cfg.Threads = source, threads
	src, err := engine.Open(source)
	if err != nil {
		return Cost{}, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	items, err := readItems(ctx, cfg, src, text, rep)
	if err != nil {
		return Cost{}, err
	}
	models := []*engine.Model{src}
	for _, path := range made {
		m, err := engine.Open(path)
		if err != nil {
			return Cost{}, err
		}
		defer m.Close()
		models = append(models, m)
	}
	var predict []eval.Predict
	for _, m := range models {
		s, err := engine.NewSession(m, engine.SessionConfig{Threads: threads, Exact: true})
		if err != nil {
			return Cost{}, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		predict = append(predict, eval.Predictor(s, engine.Choice{}))
	}
	d, err := eval.Compare(ctx, predict[0], predict[1:], src.HParams().NVocab, items, func(done int) {
		rep.Report(report.Progress{What: "measure", Done: done, Total: len(items)})
	})
	if err != nil {
		return Cost{}, fmt.Errorf("measure what quantizing cost: %w", err)
	}
	return Cost{Text: text, Differences: d}, nil
}

// CheckText refuses what is neither a file nor a text of several words.
func CheckText(text string) error {
	if _, err := os.Stat(text); err != nil && !strings.ContainsAny(text, " \n") {
		return fmt.Errorf("%s: there is no file of that name; give one, or a text of several words", text)
	}
	return nil
}

// readItems encodes a file of data, or words of which every token counts; "": a general text.
func readItems(ctx context.Context, cfg config.Config, m *engine.Model, text string, rep report.Reporter) (
	_ []encode.Item, err error) {
	file := false
	if text != "" {
		_, err := os.Stat(text)
		file = err == nil
	}
	if file {
		cfg.Data = []string{text}
	}
	how, err := cfg.Loss()
	if err != nil {
		return nil, err
	}
	r, err := corpus.Open(&cfg, m, how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if !file && text != "" {
		return r.Literal("the text given", text, eval.GeneralWindow)
	}
	if text == "" {
		const plain = "a general text"
		items, what, err := r.Spelled(plain, eval.GeneralText, eval.GeneralWindow)
		if err == nil && what != plain {
			rep.Report(report.Notice{Text: "costs are measured on " + what})
		}
		return items, err
	}
	r.AnyKind = true
	held, err := r.ReadHeld(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range held.Notes {
		rep.Report(report.Notice{Text: n})
	}
	return held.Held.Items, nil
}
