package run

import (
	"context"
	"errors"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/allot"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// An Allotted is a choice of types that fits a budget.
type Allotted struct {
	Choice quant.Choice
	KL     float64 // that is expected of it, nats
}

// Allot chooses the types of a model's tensors for budgets, by what each type costs each tensor on a text: a file, as
// eval reads data, or words; "": a general text.
func Allot(ctx context.Context, path string, choice quant.Choice, budgets []allot.Budget, text string, threads int,
	rep report.Reporter) (out []Allotted, err error) {
	cfg := config.Default()
	cfg.Model, cfg.Threads = path, threads
	m, err := engine.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	items, err := readItems(ctx, cfg, m, text, rep)
	if err != nil {
		return nil, err
	}
	found, err := allot.Measure(ctx, allot.Config{Model: m, Choice: choice, Items: items, Budgets: budgets,
		Threads: threads}, rep)
	if err != nil {
		return nil, err
	}
	for _, b := range budgets {
		var a Allotted
		if a.Choice, a.KL, err = found.Choose(b); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}
