package main

import (
	"fmt"
	"math"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/verify"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "compare our logits with llama.cpp's, and our gradients with finite differences, on your model",
		UsageText: "-m model.gguf [options]",
		Description: "What training relies on, measured on the model at hand. Exit code 1 if a figure is out of " +
			"bounds.\n\n" +
			"  ggtune check -m model.gguf",
		Flags:  []cli.Flag{modelFlag(), seedFlag(), threadsFlag(), deviceFlag(), jsonFlag()},
		Action: checkAction,
	}
}

type checkResult struct {
	Model string `json:"model"`
	OK    bool   `json:"ok"`
	*verify.Report
}

func checkAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	model, err := required(c, "model", "model.gguf")
	if err != nil {
		return err
	}
	if err := checkDevice(c); err != nil {
		return err
	}
	n, err := threads(c)
	if err != nil {
		return err
	}
	checked := busy(c, "compute")
	rep, err := verify.Check(c.Context, model, n, c.Uint64("seed"))
	checked()
	if err != nil {
		return err
	}
	fault := rep.Err()
	r := checkResult{Model: model, OK: fault == nil, Report: rep}
	if c.Bool("json") {
		if err := printJSON(c.App.Writer, r.numbers()); err != nil {
			return err
		}
	} else {
		r.print(c)
	}
	if fault != nil {
		return fmt.Errorf("check %s: %w; do not train this model with this build, and report it with the output of "+
			"ggtune check --json", model, fault)
	}
	return nil
}

// numbers makes what is no number the largest there is: JSON has neither NaN nor infinity.
func (r *checkResult) numbers() *checkResult {
	figures := []*float64{&r.LogitsMaxDiff, &r.ExactMaxDiff, &r.LargestLogit, &r.LogitsRMSDiff, &r.ExactRMSDiff,
		&r.LogitsRMS, &r.LogitError, &r.ExactError, &r.GradientError}
	for i := range r.Gradients {
		g := &r.Gradients[i]
		figures = append(figures, &g.Slope, &g.Finite, &g.Error)
	}
	for _, x := range figures {
		if math.IsNaN(*x) || math.IsInf(*x, 0) {
			*x = math.MaxFloat64
		}
	}
	return r
}

func (r *checkResult) print(c *cli.Context) {
	w := c.App.Writer
	if r.Note != "" {
		fmt.Fprintln(w, r.Note)
	}
	fmt.Fprintf(w, "%s beside llama.cpp's, root mean square of the difference: %.3g, in exact mode %.3g; the "+
		"%s' own is %.3g\n", r.What, r.LogitsRMSDiff, r.ExactRMSDiff, r.What, r.LogitsRMS)
	fmt.Fprintf(w, "the largest difference: %.3g, in exact mode %.3g; the largest of all is %.3g\n\n",
		r.LogitsMaxDiff, r.ExactMaxDiff, r.LargestLogit)
	fmt.Fprintf(w, "%-36s %12s %12s %10s\n", "gradient of", "slope", "finite", "error")
	for _, g := range r.Gradients {
		fmt.Fprintf(w, "%-36s %12.5g %12.5g %10.1e\n", g.Tensor, g.Slope, g.Finite, g.Error)
	}
	if r.OK {
		fmt.Fprintln(w, "\nall within bounds")
	}
}
