// Command embed measures what training does to an embedder: how well it finds the answers to questions that it was not
// trained on, and how well its cosines agree with people's scores; before and after, and beside BM25. It appends what
// came out to a file, one JSON object a run.
//
//	go build -o ggtune ./cmd/ggtune
//	go run ./scripts/embed -ggtune ./ggtune -data pairs -model minilm.gguf -o runs.jsonl
//	go run ./scripts/embed -ggtune ./ggtune -data pairs -model smollm2.gguf -pooling mean -set simcse-de -o runs.jsonl
//	go run ./scripts/embed -table -o runs.jsonl
//
// What is in the file already is not run again, so that it can be stopped and started at any time. data is a folder
// with the files that sets names. One question in six is held out by its words, the same for all seeds; its answers are
// searched among those of training too. A seed draws the order of training and what the run begins with.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/internal/study"
)

type options struct {
	study.Options
	data, model, work, only, pooling string
	steps                            int
}

func main() {
	var o options
	o.Bind("runs.jsonl", "the order of training, and what a run begins with", 2)
	flag.StringVar(&o.data, "data", "", "`folder` of texts")
	flag.StringVar(&o.model, "model", "", "the embedder, a `file`")
	flag.StringVar(&o.pooling, "pooling", "auto", "`HOW` a vector is made of a text")
	flag.StringVar(&o.work, "work", "", "keep runs in this `directory`, and train none again that is there")
	flag.StringVar(&o.only, "set", "", "only the sets whose name has this `text` in it")
	flag.IntVar(&o.steps, "steps", 0, "train for `N` steps; 0: as many as are the set's, or one epoch")
	study.Main("embed", func() bool { return !o.Table && (o.model == "" || o.data == "") }, o.run)
}

// A trial is what a run is told apart by.
type trial struct {
	Model string `json:"model"`
	Set   string `json:"set"`
	Seed  int    `json:"seed"`
	Steps int    `json:"steps"`
}

// A result is what a trial came to.
type result struct {
	trial
	Train   int       `json:"train"`
	Held    int       `json:"held"`
	Seconds float64   `json:"seconds"`
	Found   []finding `json:"found"`
	Failed  string    `json:"failed,omitempty"`
}

// A finding is a figure before and after training, with the 95 % interval of the difference, and BM25's of retrieval.
type finding struct {
	On       string     `json:"on"`
	Figure   string     `json:"figure"`
	Before   float64    `json:"before"`
	After    float64    `json:"after"`
	Interval [2]float64 `json:"change_interval"`
	BM25     *float64   `json:"bm25,omitempty"`
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
				Steps: cmp.Or(o.steps, s.steps)}
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

// one trains and measures a trial.
func (o *options) one(ctx context.Context, s set, t trial) (r result, err error) {
	r.trial = t
	dir := filepath.Join(o.work, fmt.Sprintf("%s-%s-%d-%d", t.Model, t.Set, t.Seed, t.Steps))
	if o.work == "" {
		if dir, err = os.MkdirTemp("", "embed"); err != nil {
			return r, err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return r, err
	}
	if r.Train, r.Held, err = s.write(o.data, dir); err != nil {
		return r, err
	}
	run := filepath.Join(dir, "run")
	if r.Seconds, err = o.trained(ctx, s, t, dir, run); err != nil {
		return r, err
	}
	for _, m := range s.measured {
		f, err := o.measure(ctx, s, m, dir, run)
		if err != nil {
			return r, err
		}
		r.Found = append(r.Found, f)
	}
	return r, nil
}

// trained trains a run, unless that has been done, and says how long it took.
func (o *options) trained(ctx context.Context, s set, t trial, dir, run string) (float64, error) {
	var report struct{ Seconds float64 }
	if err := readJSON(filepath.Join(run, "report.json"), &report); err == nil {
		return report.Seconds, nil
	}
	if err := os.RemoveAll(run); err != nil {
		return 0, err
	}
	args := []string{"train", "-m", o.model, "-d", filepath.Join(dir, trainFile), "-o", run, "--method", s.method,
		"--pooling", o.pooling, "--rank", "64", "--alpha", "128", "--seq-len", "256", "--seed", strconv.Itoa(t.Seed),
		"--threads", strconv.Itoa(o.Threads), "--eval-split", "0", "--json"}
	if t.Steps > 0 {
		args = append(args, "--steps", strconv.Itoa(t.Steps))
	} else {
		args = append(args, "--epochs", "1")
	}
	if _, err := study.Ask(ctx, new(string), o.Ggtune, args...); err != nil {
		return 0, err
	}
	return report.Seconds, readJSON(filepath.Join(run, "report.json"), &report)
}

// measure has ggtune measure one figure with the run's adapter, and without.
func (o *options) measure(ctx context.Context, s set, m measured, dir, run string) (finding, error) {
	args := []string{"eval", "-m", o.model, "-a", run, "-d", filepath.Join(dir, m.file), "--threads",
		strconv.Itoa(o.Threads), "--json"}
	if m.corpus {
		args = append(args, "--corpus", filepath.Join(dir, trainFile))
	}
	said := map[string]any{}
	if _, err := study.Ask(ctx, &said, o.Ggtune, args...); err != nil {
		return finding{}, err
	}
	return findingOf(said, m)
}

// findingOf takes a figure out of what `ggtune eval --json` says.
func findingOf(said map[string]any, m measured) (finding, error) {
	number := func(in map[string]any, name string) float64 {
		x, ok := in[name].(float64)
		if !ok {
			said["missing"] = name
		}
		return x
	}
	f := finding{On: m.on, Figure: m.figure, Before: number(said, "base_"+m.figure), After: number(said, m.figure)}
	if ends, ok := said[m.figure+"_change_interval"].([]any); ok && len(ends) == 2 {
		for i := range f.Interval {
			f.Interval[i], _ = ends[i].(float64)
		}
	}
	if words, ok := said["bm25"].(map[string]any); ok {
		x := number(words, m.figure)
		f.BM25 = &x
	}
	if name, lacks := said["missing"]; lacks {
		return f, fmt.Errorf("ggtune eval says nothing of %v on %s", name, m.on)
	}
	return f, nil
}

func printTable(w io.Writer, all []result) {
	for _, r := range all {
		if r.Failed != "" {
			fmt.Fprintf(w, "| %s | %s | %d | failed: %s |\n", r.Model, r.Set, r.Seed, r.Failed)
			continue
		}
		for _, f := range r.Found {
			words := ""
			if f.BM25 != nil {
				words = fmt.Sprintf("%.4f", *f.BM25)
			}
			fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %.4f | %.4f | %+.4f to %+.4f | %s | %.0f s |\n", r.Model, r.Set,
				r.Seed, f.On, f.Figure, f.Before, f.After, f.Interval[0], f.Interval[1], words, r.Seconds)
		}
	}
}
