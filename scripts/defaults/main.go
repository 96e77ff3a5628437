// Command defaults measures what the default learning rates, accumulations and epochs are chosen from: it trains real
// models on parts of real data of several sizes with a small grid of each, measures the same held-out rows before and
// after, and appends what came out to a file, one JSON object a line.
//
//	go build -o ggtune ./cmd/ggtune
//	go run ./scripts/defaults -ggtune ./ggtune -data DATA -models small.gguf,larger.gguf -o results.jsonl
//	go run ./scripts/defaults -table -models small.gguf,larger.gguf -o results.jsonl  # as in docs/defaults.md
//
// What is in the file already is not run again, so that it can be stopped and started at any time. Runs are made in the
// order of what they tell; those that were not reached stand in the table as not measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/ggtune/ggtune/internal/study"
)

type options struct {
	ggtune, data, models, out, only string
	jobs                            int
	until                           string
	table, check                    bool
}

func main() {
	var o options
	flag.StringVar(&o.ggtune, "ggtune", "ggtune", "the `program` to measure")
	flag.StringVar(&o.data, "data", "", "`directory` with the files of sources.go")
	flag.StringVar(&o.models, "models", "", "`files` of the models, with commas; FILE@256: on rows of 256 tokens")
	flag.StringVar(&o.out, "o", "results.jsonl", "`file` that results are appended to")
	flag.StringVar(&o.only, "run", "", "only runs whose name has this `text` in it")
	flag.IntVar(&o.jobs, "jobs", 1, "`N` runs at a time, each with one thread")
	flag.StringVar(&o.until, "until", "", "begin no run after this `time` of the day, such as 15:40")
	flag.BoolVar(&o.check, "check", false,
		"what ggtune chooses against a small grid, on three data sets with three seeds")
	flag.BoolVar(&o.table, "table", false, "print the table and run nothing")
	flag.Parse()
	if flag.NArg() != 0 || o.models == "" || !o.table && o.data == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "defaults:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	models, err := parseModels(o.models)
	if err != nil {
		return err
	}
	done, err := study.Read[result](o.out)
	if err != nil {
		return err
	}
	if o.table {
		if o.check {
			printChecks(os.Stdout, done, models)
		} else {
			printTable(os.Stdout, done, models)
		}
		return nil
	}
	end := time.Time{}
	if o.until != "" {
		t, err := time.ParseInLocation("15:04", o.until, time.Local)
		if err != nil {
			return fmt.Errorf("-until: %w", err)
		}
		now := time.Now()
		end = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, time.Local)
	}
	b := &bench{options: o, end: end, done: map[string]bool{}}
	for _, r := range done {
		b.done[r.name()] = true
	}
	if o.check {
		return b.all(ctx, checks(models))
	}
	return b.all(ctx, plan(models))
}
