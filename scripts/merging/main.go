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
	"strings"

	"github.com/ggtune/ggtune/internal/study"
)

type options struct {
	study.Options
	data, work, models, types string
	rows                      int
}

func main() {
	var o options
	o.Bind("cells.jsonl", "the data's order, what is held out, and where A begins", 1)
	flag.StringVar(&o.data, "data", "", "`file` of instructions")
	flag.StringVar(&o.work, "work", "", "`directory` of models and adapters, which are kept")
	flag.StringVar(&o.models, "models", "", "full-precision `files`, with commas")
	flag.StringVar(&o.types, "types", "q8_0,q6_k,q4_k_m,q4_1,q3_k_m,q2_k", "storage `types`, with commas")
	flag.IntVar(&o.rows, "rows", 300, "train on `N` rows")
	study.Main("merging", func() bool { return o.models == "" || !o.Table && (o.data == "" || o.work == "") }, o.run)
}

func (o *options) run(ctx context.Context) error {
	done, err := study.Read[result](o.Out)
	if err != nil {
		return err
	}
	models, types := strings.Split(o.models, ","), strings.Split(o.types, ",")
	if o.Table {
		for _, m := range models {
			printTable(os.Stdout, done, name(m), types, o.rows)
		}
		return nil
	}
	s := &bench{options: *o, done: map[string]bool{}}
	for _, r := range done {
		s.done[r.cell.String()] = true
	}
	for seed := 1; seed <= o.Seeds; seed++ { // whole tables of fewer seeds first
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
