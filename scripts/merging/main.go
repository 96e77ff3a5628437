// Command merging measures what becomes of an adapter on its way into a quantized model, the study that llama.cpp's
// issue 13485 asks for: held-out loss of adapters trained on full precision and on each storage type, kept apart,
// merged, and merged and quantized. It appends what came out to a file, one JSON object a cell.
//
//	go build -o ggtune ./cmd/ggtune
//	go run ./scripts/merging -ggtune ./ggtune -data instructions.json -models full.gguf -work DIR -o cells.jsonl
//	go run ./scripts/merging -table -models full.gguf,more.gguf -o cells.jsonl  # as in docs/merging.md
//
// What is in the file already is not measured again, and a run that is finished in the directory of work is not made
// again, so that it can be stopped and started at any time. The models are full-precision files, from which those of
// the storage types are made. The data is a JSON array of objects with instruction, input and output.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/ggtune/ggtune/internal/study"
)

type options struct {
	ggtune, data, work, out string
	models, types           string
	seeds, rows, threads    int
	table                   bool
}

func main() {
	var o options
	flag.StringVar(&o.ggtune, "ggtune", "ggtune", "the `program` to measure")
	flag.StringVar(&o.data, "data", "", "`file` of instructions")
	flag.StringVar(&o.work, "work", "", "`directory` of models and adapters, which are kept")
	flag.StringVar(&o.models, "models", "", "full-precision `files`, with commas")
	flag.StringVar(&o.types, "types", "q8_0,q6_k,q4_k_m,q4_1,q3_k_m,q2_k", "storage `types`, with commas")
	flag.StringVar(&o.out, "o", "cells.jsonl", "`file` that cells are appended to")
	flag.IntVar(&o.seeds, "seeds", 3, "`N` seeds: of the data's order, what is held out, and where A begins")
	flag.IntVar(&o.rows, "rows", 300, "train on `N` rows")
	flag.IntVar(&o.threads, "threads", 1, "`N` threads")
	flag.BoolVar(&o.table, "table", false, "print the table and measure nothing")
	flag.Parse()
	if flag.NArg() != 0 || o.models == "" || !o.table && (o.data == "" || o.work == "") {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "merging:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	done, err := study.Read[result](o.out)
	if err != nil {
		return err
	}
	models, types := strings.Split(o.models, ","), strings.Split(o.types, ",")
	if o.table {
		for _, m := range models {
			printTable(os.Stdout, done, name(m), types, o.rows)
		}
		return nil
	}
	s := &bench{options: o, done: map[string]bool{}}
	for _, r := range done {
		s.done[r.cell.String()] = true
	}
	for seed := 1; seed <= o.seeds; seed++ { // whole tables of fewer seeds first
		for _, m := range models {
			for _, c := range cells(name(m), types, o.rows, seed) {
				if s.done[c.String()] {
					continue
				}
				if err := s.measure(ctx, m, c); err != nil {
					return fmt.Errorf("%s: %w", c, err)
				}
			}
		}
	}
	return nil
}
