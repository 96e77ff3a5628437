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
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/internal/study"
)

type options struct {
	ggtune, data, model, out, only string
	seeds, rows, held, threads     int
	table                          bool
}

func main() {
	var o options
	flag.StringVar(&o.ggtune, "ggtune", "ggtune", "the `program` to measure")
	flag.StringVar(&o.data, "data", "", "`folder` of preferences")
	flag.StringVar(&o.model, "model", "", "the base, a `file`")
	flag.StringVar(&o.out, "o", "runs.jsonl", "`file` that results are appended to")
	flag.StringVar(&o.only, "set", "", "only the sets whose name has this `text` in it")
	flag.IntVar(&o.seeds, "seeds", 3, "`N` seeds")
	flag.IntVar(&o.rows, "rows", 0, "train on `N` pairs at most; 0: all")
	flag.IntVar(&o.held, "held", 0, "measure on `N` pairs at most; 0: all")
	flag.IntVar(&o.threads, "threads", 2, "`N` threads")
	flag.BoolVar(&o.table, "table", false, "print the table and measure nothing")
	flag.Parse()
	if flag.NArg() != 0 || !o.table && (o.model == "" || o.data == "") {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "reward:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	done, err := study.Read[result](o.out)
	if err != nil {
		return err
	}
	if o.table {
		printTable(os.Stdout, done)
		return nil
	}
	for _, s := range sets {
		if !strings.Contains(s.name, o.only) {
			continue
		}
		for seed := 1; seed <= o.seeds; seed++ {
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
			if err := study.Append(o.out, r); err != nil {
				return errors.Join(err, ctx.Err())
			}
			printTable(os.Stdout, []result{r})
		}
	}
	return nil
}
