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
		Description: "What training relies on, measured on the model at hand. Exit code 1 if a figure is out of bounds.\n\n" +
			"  ggtune check -m model.gguf",
		Flags:  []cli.Flag{modelFlag(), seedFlag(), threadsFlag(), deviceFlag(), jsonFlag()},
		Action: checkAction,
	}
}

// maxLogitError bounds the difference of logits from llama.cpp's, relative to the largest logit. llama.cpp rounds
// activations to 8 bits before it multiplies them by quantized weights: on generated and trained models in storage types
// from q2_K to q8_0 that makes up to 0.04; a wrong tensor, rotation or scale makes more than 0.5.
const maxLogitError = 0.1

type checkResult struct {
	Model string `json:"model"`
	OK    bool   `json:"ok"`
	*verify.Report
	LogitError    float64 `json:"logit_error"`    // the largest difference over the largest logit
	GradientError float64 `json:"gradient_error"` // the largest of all tensors
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
	rep, err := verify.Check(c.Context, model, n, c.Uint64("seed"))
	if err != nil {
		return err
	}
	r := judge(model, rep)
	if c.Bool("json") {
		if err := printJSON(c.App.Writer, r); err != nil {
			return err
		}
	} else {
		r.print(c)
	}
	if !r.OK {
		return fmt.Errorf("check %s: out of bounds: logits differ by %.3g of the largest (at most %g expected), gradients by %.3g (at most %g); do not train this model with this build, and report it with the output of ggtune check --json",
			model, r.LogitError, maxLogitError, r.GradientError, verify.GradientError)
	}
	return nil
}

// judge holds a report against the bounds. What is no number is out of bounds, and becomes the largest there is: JSON has
// neither NaN nor infinity.
func judge(model string, rep *verify.Report) checkResult {
	r := checkResult{Model: model, Report: rep, LogitError: max(rep.LogitsMaxDiff, rep.ExactMaxDiff) / rep.LargestLogit}
	figures := []*float64{&r.LogitError, &rep.LogitsMaxDiff, &rep.ExactMaxDiff, &rep.LargestLogit}
	for i := range rep.Gradients {
		g := &rep.Gradients[i]
		figures = append(figures, &g.Slope, &g.Finite, &g.Error)
	}
	for _, x := range figures {
		if math.IsNaN(*x) || math.IsInf(*x, 0) {
			*x = math.MaxFloat64
		}
	}
	for i := range rep.Gradients {
		r.GradientError = max(r.GradientError, rep.Gradients[i].Error)
	}
	r.OK = r.LogitError <= maxLogitError && r.GradientError <= verify.GradientError
	return r
}

func (r *checkResult) print(c *cli.Context) {
	w := c.App.Writer
	fmt.Fprintf(w, "logits beside llama.cpp's: largest difference %.3g, in exact mode %.3g; the largest logit is %.3g\n\n", r.LogitsMaxDiff, r.ExactMaxDiff, r.LargestLogit)
	fmt.Fprintf(w, "%-36s %12s %12s %10s\n", "gradient of", "slope", "finite", "error")
	for _, g := range r.Gradients {
		fmt.Fprintf(w, "%-36s %12.5g %12.5g %10.1e\n", g.Tensor, g.Slope, g.Finite, g.Error)
	}
	if r.OK {
		fmt.Fprintln(w, "\nall within bounds")
	}
}
