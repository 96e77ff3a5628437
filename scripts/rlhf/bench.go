package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ggtune/ggtune/internal/study"
)

// A cost is what training took. Of a run that was stopped and gone on with it is not known what it took: 0.
type cost struct {
	CPU     float64 `json:"cpu_seconds"` // of all cores together
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak_bytes"`
	Steps   int     `json:"steps"`
}

// A share has its 95 % interval over prompts, or none, both ends being the value.
type share struct {
	Value    float64    `json:"value"`
	Interval [2]float64 `json:"interval"`
}

func (s share) String() string {
	if s.Interval[0] == s.Interval[1] {
		return fmt.Sprintf("%.3f", s.Value)
	}
	return fmt.Sprintf("%.3f (%.3f–%.3f)", s.Value, s.Interval[0], s.Interval[1])
}

// A result is what came of a trial.
type result struct {
	trial
	Cost    cost             `json:"cost"`
	Prompts int              `json:"prompts"` // measured on
	Answers int              `json:"answers"` // to all of them
	Figures map[string]share `json:"figures"`
	// Curve is how far a run or a choice went, and what came of it.
	Curve  []point `json:"curve,omitempty"`
	Failed string  `json:"failed,omitempty"`
}

func (o *options) one(ctx context.Context, a arm, r *result) error {
	r.Figures = map[string]share{}
	if a.data == "" {
		if err := o.ready(ctx, a); err != nil {
			return err
		}
		return o.study.measure(o, ctx, a, "", r)
	}
	run, err := o.trained(ctx, a, r.Seed)
	if err != nil {
		return err
	}
	if r.Cost, err = costOf(run); err != nil {
		return err
	}
	return o.study.measure(o, ctx, a, run, r)
}

// runOf is where an arm's run is.
func (o *options) runOf(arm string, seed int) string { return o.file(fmt.Sprintf("%s-%d", arm, seed)) }

// ready trains what an arm builds on.
func (o *options) ready(ctx context.Context, a arm) error {
	for _, name := range append([]string{a.from}, a.needs...) {
		if name == "" {
			continue
		}
		if _, err := o.trained(ctx, o.study.arm(name), 1); err != nil {
			return err
		}
	}
	return nil
}

// saved is after how many updates a run is saved: what is lost when the study is stopped.
const saved = "4"

// trained trains an arm, unless it has been, and gives its run. One that was stopped goes on.
func (o *options) trained(ctx context.Context, a arm, seed int) (string, error) {
	run := o.runOf(a.name, seed)
	if _, err := costOf(run); err == nil {
		return run, nil
	}
	args := []string{"train", "-o", run, "--threads", strconv.Itoa(o.Threads)}
	if err := o.ready(ctx, a); err != nil {
		return "", err
	}
	checkpoints, err := filepath.Glob(filepath.Join(run, "checkpoints", "step-????????"))
	if err != nil {
		return "", err
	}
	stopped := len(checkpoints) > 0
	if stopped {
		args = append(args, "--resume")
	} else {
		args = append(args, o.begun(a, seed)...)
		if err := os.RemoveAll(run); err != nil {
			return "", err
		}
	}
	began := time.Now()
	took, err := study.Ask(ctx, nil, o.Ggtune, args...)
	if err != nil {
		return "", err
	}
	var c cost
	if !stopped {
		c.CPU, c.Seconds = took.Seconds(), time.Since(began).Seconds()
	}
	var report struct {
		PeakBytes int64 `json:"peak_bytes"`
		Steps     int   `json:"steps"`
	}
	text, err := os.ReadFile(filepath.Join(run, "report.json"))
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		return "", err
	}
	c.Peak, c.Steps = report.PeakBytes, report.Steps
	return run, write(filepath.Join(run, costFile), []cost{c})
}

// begun are the arguments that a run of an arm begins with.
func (o *options) begun(a arm, seed int) []string {
	args := []string{"-m", o.model, "-d", o.file(a.data), "--seed", strconv.Itoa(seed), "--eval-split", "0",
		"--sample-every", "0", "--save-every", saved}
	if a.from != "" {
		args = append(args, "--init-adapter", filepath.Join(o.runOf(a.from, 1), "adapter.gguf"))
	}
	for _, arg := range a.args {
		args = append(args, strings.ReplaceAll(arg, "WORK", o.work))
	}
	return args
}

// costFile is written into a run when it is whole.
const costFile = "cost.json"

func costOf(run string) (c cost, err error) {
	text, err := os.ReadFile(filepath.Join(run, costFile))
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}

// evaluated is what eval printed.
type evaluated map[string]json.RawMessage

func (e evaluated) read(name string, into any) error {
	text, is := e[name]
	if !is {
		return fmt.Errorf("eval gave no %s", name)
	}
	return json.Unmarshal(text, into)
}

// answers has a run, or the base where run is "", answer the prompts of a file, each so often with so many tokens at
// most, and what args name reward them.
func (o *options) answers(ctx context.Context, run, file string, each, longest int, args ...string) (evaluated, error) {
	args = append([]string{"eval", "-m", o.model, "-d", o.file(file), "--method", "grpo", "--num-generations",
		strconv.Itoa(each), "--max-completion-length", strconv.Itoa(longest), "--rollout-prompts", "32", "--json",
		"--threads", strconv.Itoa(o.Threads)}, args...)
	if run != "" {
		args = append(args, "-a", run)
	}
	var e evaluated
	_, err := study.Ask(ctx, &e, o.Ggtune, args...)
	return e, err
}

// take takes figures of answers.
func (r *result) take(e evaluated, names ...string) error {
	for _, name := range names {
		s := share{}
		if err := e.read(name, &s.Value); err != nil {
			return err
		}
		if err := e.read(name+"_interval", &s.Interval); err != nil {
			return err
		}
		r.Figures[name] = s
	}
	if err := e.read("prompts", &r.Prompts); err != nil {
		return err
	}
	return e.read("answers", &r.Answers)
}

// printTable prints results as the docs have them.
func printTable(w io.Writer, figures []string, all []result) {
	fmt.Fprintf(w, "| | seed | updates | CPU, s | peak, MB | %s |\n|---|---|---|---|---|%s\n",
		strings.Join(figures, " | "), strings.Repeat("---|", len(figures)))
	for _, r := range all {
		fmt.Fprintf(w, "| `%s` | %d |", r.Arm, r.Seed)
		if r.Failed != "" {
			fmt.Fprintf(w, " failed: …%q |\n", r.Failed[max(0, len(r.Failed)-80):]) // the end says why
			continue
		}
		switch c := r.Cost; {
		case c.Steps == 0: // nothing is trained
			fmt.Fprint(w, " | | |")
		case c.CPU == 0:
			fmt.Fprintf(w, " %d | not taken | %.0f |", c.Steps, float64(c.Peak)/1e6)
		default:
			fmt.Fprintf(w, " %d | %.0f | %.0f |", c.Steps, c.CPU, float64(c.Peak)/1e6)
		}
		for _, name := range figures {
			if s, is := r.Figures[name]; is {
				fmt.Fprintf(w, " %s |", s)
			} else {
				fmt.Fprint(w, " |")
			}
		}
		fmt.Fprintln(w)
	}
}
