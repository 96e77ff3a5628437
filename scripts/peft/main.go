// Command peft compares ways of training beside a quantized model, and its whole weights, on real data: each at the
// best learning rate of three and more, at as many tokens and at as much processor time as a LoRA of rank 16, and what
// each makes the model forget. It appends what came out to a file, one JSON object a run.
//
//	go build -o ggtune ./cmd/ggtune
//	go run ./scripts/peft -ggtune ./ggtune -data instructions.json -model q4_k_m.gguf -from f16.gguf -o runs.jsonl
//	go run ./scripts/peft -table -model q4_k_m.gguf -o runs.jsonl  # as in docs/peft.md
//
// What is in the file already is not run again, so that it can be stopped and started at any time. The data is a JSON
// array of objects with instruction, input and output.
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
	data, model, from, only string
	rate                    float64
	rows, accum             int
}

func main() {
	var o options
	o.Bind("runs.jsonl", "the data's order and of what a kind begins with", 1)
	flag.StringVar(&o.data, "data", "", "`file` of instructions")
	flag.StringVar(&o.model, "model", "", "the base, a quantized `file`")
	flag.StringVar(&o.from, "from", "", "the full-precision `file` that it was made from, for the kinds that need it")
	flag.StringVar(&o.only, "kind", "", "only the kinds whose name has this `text` in it")
	flag.Float64Var(&o.rate, "rate", 3e-4, "learning `rate` at which the search for LoRA's begins; others' follow it")
	flag.IntVar(&o.rows, "rows", 300, "train on `N` rows")
	flag.IntVar(&o.accum, "accum", 3, "`N` rows an update, each with one example")
	study.Main("peft", func() bool { return o.model == "" || !o.Table && o.data == "" }, o.run)
}

func (o *options) run(ctx context.Context) error {
	done, err := study.Read[result](o.Out)
	if err != nil {
		return err
	}
	b := &bench{options: *o, done: done}
	if o.Table {
		b.printTable(os.Stdout)
		return nil
	}
	for _, k := range kinds {
		if !strings.Contains(k.name, o.only) && k.name != kinds[0].name { // whose time is the measure of all
			continue
		}
		if k.from && o.from == "" {
			fmt.Printf("%s: left out, it needs -from\n", k.name)
			continue
		}
		if err := b.kind(ctx, k); err != nil {
			return err
		}
	}
	return nil
}
