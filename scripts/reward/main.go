// Command reward measures reward models on held-out pairs, beside two that know nothing of language: the longer answer
// is better; and a Bradley–Terry of the answers' words. It appends what came out to a file, one JSON object a run.
//
//	go build -o ggtune ./cmd/ggtune
//	go run ./scripts/reward -ggtune ./ggtune -data preference -model model.gguf -o runs.jsonl
//	go run ./scripts/reward -table -o runs.jsonl  # as in docs/rlhf.md
//
// What is in the file already is not run again, so that it can be stopped and started at any time. data is a folder
// with the files that sets names. One prompt in three is held out by its words, the same for all seeds; a seed draws
// the order of the training pairs and what the run begins with.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/internal/study"
)

type options struct {
	study.Options
	data, model, work, only string
	rows, held              int
}

func main() {
	var o options
	o.Bind("runs.jsonl", "the order of the training pairs, and what a run begins with", 2)
	flag.StringVar(&o.data, "data", "", "`folder` of preferences")
	flag.StringVar(&o.model, "model", "", "the base, a `file`")
	flag.StringVar(&o.work, "work", "", "keep runs in this `directory`, and train none again that is there")
	flag.StringVar(&o.only, "set", "", "only the sets whose name has this `text` in it")
	flag.IntVar(&o.rows, "rows", 0, "train on `N` pairs at most; 0: all")
	flag.IntVar(&o.held, "held", 0, "measure on `N` pairs at most; 0: all")
	study.Main("reward", func() bool { return !o.Table && (o.model == "" || o.data == "") }, o.run)
}

func (o *options) run(ctx context.Context) error {
	done, err := study.Read[result](o.Out)
	if err != nil {
		return err
	}
	if o.Table {
		printTable(os.Stdout, done)
		return nil
	}
	for _, s := range sets {
		if !strings.Contains(s.name, o.only) {
			continue
		}
		for seed := 1; seed <= o.Seeds; seed++ {
			t := trial{Model: strings.TrimSuffix(filepath.Base(o.model), ".gguf"), Set: s.name, Seed: seed,
				Rows: o.rows, HeldRows: o.held}
			if slices.ContainsFunc(done, func(r result) bool { return r.trial == t }) {
				continue
			}
			r, err := o.one(ctx, s, t)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil { // a run that fails is a result
				r.Failed = err.Error()
			}
			done = append(done, r)
			if err := study.Append(o.Out, r); err != nil {
				return errors.Join(err, ctx.Err())
			}
			printTable(os.Stdout, []result{r})
		}
	}
	return nil
}
