// Command rlhf measures what reinforcement learning makes of a task, beside what is simpler, on held-out prompts and
// with 95 % intervals over prompts. It appends what came out to a file, one JSON object a run.
//
//	go build -o ggtune ./cmd/ggtune
//	go run ./scripts/rlhf -study scan -ggtune ./ggtune -data FILE -model model.gguf -work DIR -o runs.jsonl
//	go run ./scripts/rlhf -study scan -table -o runs.jsonl  # as in docs/rlhf.md
//
// Studies: scan has right answers (scan.go), judged a trained reward model, and a second one that nobody learns from
// (judged.go), constraints what can be checked (constraints.go). What is in the file already is not measured again, and
// what was trained in the directory of work is not trained again, nor from the beginning where it was stopped, so that
// it can be stopped and started at any time. Costs are processor seconds of all cores together, which other programs on
// the machine disturb less than time; of a run that was stopped they are not taken.
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
	data, model, work, only, name string
	study                         *plan
}

func main() {
	var o options
	o.Bind("runs.jsonl", "what is drawn, of the arms that are repeated", 2)
	flag.StringVar(&o.name, "study", "scan", "`name` of the study: scan, judged or constraints")
	flag.StringVar(&o.data, "data", "", "`file` of the task's instances, or of pairs; constraints needs none")
	flag.StringVar(&o.model, "model", "", "the base, a `file`")
	flag.StringVar(&o.work, "work", "", "`directory` of runs, which are kept")
	flag.StringVar(&o.only, "arm", "", "only the arms whose name has this `text` in it, and what they begin with")
	study.Main("rlhf", func() bool {
		o.study = planOf(o.name)
		return o.study == nil ||
			!o.Table && (o.model == "" || o.data == "" && !o.study.noData || o.work == "")
	}, o.run)
}

// A trial says what a result is of.
type trial struct {
	Study string `json:"study"`
	Model string `json:"model"`
	Arm   string `json:"arm"`
	Seed  int    `json:"seed"`
}

func (o *options) run(ctx context.Context) error {
	done, err := study.Read[result](o.Out)
	if err != nil {
		return err
	}
	if o.Table {
		done = slices.DeleteFunc(done, func(r result) bool { return r.Study != o.study.name })
		printTable(os.Stdout, o.study.figures, done)
		printCurves(os.Stdout, done)
		return nil
	}
	if err := os.MkdirAll(o.work, 0o777); err != nil {
		return err
	}
	if err := o.study.prepare(o); err != nil {
		return err
	}
	for seed := 1; seed <= o.Seeds; seed++ { // all arms with one seed first
		for _, a := range o.study.arms {
			t := trial{o.study.name, strings.TrimSuffix(filepath.Base(o.model), ".gguf"), a.name, seed}
			if seed > 1 && !a.repeated || !strings.Contains(a.name, o.only) ||
				slices.ContainsFunc(done, func(r result) bool { return r.trial == t }) {
				continue
			}
			r := result{trial: t}
			err := o.one(ctx, a, &r)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil { // a run that fails is a result
				r.Failed = err.Error()
			}
			if err := study.Append(o.Out, r); err != nil {
				return errors.Join(err, ctx.Err())
			}
			printTable(os.Stdout, o.study.figures, []result{r})
		}
	}
	return nil
}
