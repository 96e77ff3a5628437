package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ggtune/ggtune/internal/study"
)

// A cost is what training took.
type cost struct {
	CPU   float64 `json:"cpu_seconds"` // of all cores together
	Peak  int64   `json:"peak_bytes"`
	Steps int     `json:"steps"`
}

// A share has its 95 % interval over prompts.
type share struct {
	Value    float64    `json:"value"`
	Interval [2]float64 `json:"interval"`
}

func (s share) String() string {
	return fmt.Sprintf("%.3f (%.3f–%.3f)", s.Value, s.Interval[0], s.Interval[1])
}

// A result is what came of a trial.
type result struct {
	trial
	Cost    cost `json:"cost"`
	Prompts int  `json:"prompts"` // measured on
	Answers int  `json:"answers"` // to each
	Figures struct {
		Pass1 share `json:"pass@1"`
		Pass8 share `json:"pass@8"`
	} `json:"figures"`
	Failed string `json:"failed,omitempty"`
}

func (o *options) one(ctx context.Context, a arm, r *result) error {
	run, err := o.trained(ctx, a, r.Seed)
	if err != nil {
		return err
	}
	if r.Cost, err = costOf(run); err != nil {
		return err
	}
	return o.measure(ctx, run, r)
}

// trained trains an arm, unless it has been, and gives its run.
func (o *options) trained(ctx context.Context, a arm, seed int) (string, error) {
	run := o.file(fmt.Sprintf("%s-%d", a.name, seed))
	if _, err := costOf(run); err == nil {
		return run, nil
	}
	args := []string{"train", "-m", o.model, "-o", run, "--seed", strconv.Itoa(seed), "--eval-split", "0",
		"--sample-every", "0", "--save-every", "0", "--threads", strconv.Itoa(o.Threads)}
	if a.rewarded {
		args = append(args, "-d", o.file(othersFile), "--reward", "exact", "--max-completion-length",
			strconv.Itoa(most), "--batch", "4")
	} else {
		args = append(args, "-d", o.file(taughtFile))
	}
	if a.from != "" {
		from, err := o.trained(ctx, armOf(a.from), 1)
		if err != nil {
			return "", err
		}
		args = append(args, "--init-adapter", filepath.Join(from, "adapter.gguf"))
	}
	if err := os.RemoveAll(run); err != nil {
		return "", err
	}
	took, err := study.Ask(ctx, nil, o.Ggtune, append(args, a.args...)...)
	if err != nil {
		return "", err
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
	if text, err = json.Marshal(cost{took.Seconds(), report.PeakBytes, report.Steps}); err != nil {
		return "", err
	}
	return run, os.WriteFile(filepath.Join(run, costFile), text, 0o666)
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

// measure has a run answer the held-out commands.
func (o *options) measure(ctx context.Context, run string, r *result) error {
	var e struct {
		Prompts       int        `json:"prompts"`
		Pass1         *float64   `json:"pass@1"`
		Pass1Interval [2]float64 `json:"pass@1_interval"`
		Pass8         *float64   `json:"pass@8"`
		Pass8Interval [2]float64 `json:"pass@8_interval"`
	}
	args := []string{"eval", "-m", o.model, "-a", run, "-d", o.file(heldFile), "--method", "grpo", "--reward", "exact",
		"--num-generations", strconv.Itoa(samples), "--max-completion-length", strconv.Itoa(most),
		"--rollout-prompts", "32", "--json", "--threads", strconv.Itoa(o.Threads)}
	if _, err := study.Ask(ctx, &e, o.Ggtune, args...); err != nil {
		return err
	}
	if e.Pass1 == nil || e.Pass8 == nil {
		return fmt.Errorf("%s eval gave no pass@1 or no pass@8", o.Ggtune)
	}
	r.Prompts, r.Answers = e.Prompts, samples
	r.Figures.Pass1, r.Figures.Pass8 = share{*e.Pass1, e.Pass1Interval}, share{*e.Pass8, e.Pass8Interval}
	return nil
}

// printTable prints results as the docs have them.
func printTable(w io.Writer, all []result) {
	fmt.Fprintln(w, "| | seed | updates | CPU, s | peak, MB | pass@1 | pass@8 |\n|---|---|---|---|---|---|---|")
	for _, r := range all {
		fmt.Fprintf(w, "| `%s` | %d |", r.Arm, r.Seed)
		if r.Failed != "" {
			fmt.Fprintf(w, " failed: …%q |\n", r.Failed[max(0, len(r.Failed)-80):]) // the end says why
			continue
		}
		fmt.Fprintf(w, " %d | %.0f | %.0f | %s | %s |\n", r.Cost.Steps, r.Cost.CPU, float64(r.Cost.Peak)/1e6,
			r.Figures.Pass1, r.Figures.Pass8)
	}
}
