package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/count"
)

// vectorsGroup is where the help shows what is here.
const vectorsGroup = "Vectors of texts"

func vectorEvalFlags() []cli.Flag {
	corpus := corpusFlag().(*cli.StringSliceFlag)
	corpus.Category = vectorsGroup
	return []cli.Flag{corpus,
		&cli.StringSliceFlag{Name: "dimensions", Category: vectorsGroup, Usage: "measure vectors cut to their " +
			"first `N` numbers too, several with commas"}}
}

// lossOptions bear on the loss of a method of vectors, beside what the method itself reads.
var lossOptions = []string{"method", "loss-weights", "ref-adapter", "step-examples", "matryoshka", "batch", "packing"}

// checkVectorOptions refuses options that would have no effect.
func checkVectorOptions(c *cli.Context, makes bool) error {
	if !makes {
		for _, name := range []string{"corpus", "dimensions"} {
			if c.IsSet(name) {
				return usagef("eval: %s is of models that make vectors of texts, and this one is measured by what "+
					"it writes; leave it out, or name a method of vectors, such as --method mnrl", dashes(name))
			}
		}
		return nil
	}
	read := slices.Concat(vectorOptions, []string{"seed", "eval-rows"}, lossOptions)
	for _, o := range configOptions() {
		if o.Eval && o.Unset == "" && c.IsSet(o.Name) && !slices.Contains(read, o.Name) {
			return usagef("eval: %s has no effect on vectors of texts; leave it out", dashes(o.Name))
		}
	}
	if c.IsSet("plot") {
		return usagef("eval: --plot draws what scores are worth, and this model makes vectors of texts; leave it out")
	}
	return nil
}

func evalVectors(c *cli.Context, cfg *config.Config, chosen func(string) bool, rep report.Reporter) error {
	vc := run.VectorConfig{Corpus: c.StringSlice("corpus")}
	for _, word := range listed(c.StringSlice("dimensions")) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return usagef("eval: --dimensions %q is no whole number; expected such as 256,128", word)
		}
		vc.Dimensions = append(vc.Dimensions, n)
	}
	e, err := run.EvaluateVectors(c.Context, *cfg, c.String("adapter"), chosen, vc, rep)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, e)
	}
	printEvaluatedVectors(c.App.Writer, &e)
	return nil
}

func printEvaluatedVectors(w io.Writer, e *run.Embedded) {
	switch {
	case e.Pairs > 0:
		fmt.Fprintf(w, "%s with scores, pooling %s\n", count.Of(e.Pairs, "pair"), e.Pooling)
	case e.Texts > 0:
		fmt.Fprintf(w, "%s, pooling %s\n", count.Of(e.Texts, "text"), e.Pooling)
	default:
		fmt.Fprintf(w, "%s, %s, pooling %s\n", queries(e.Queries), count.Of(e.Documents, "document"), e.Pooling)
	}
	if e.Loss != nil {
		loss := fmt.Sprintf("%.4f", e.Loss.Loss)
		if e.Loss.BaseLoss != nil {
			loss = fmt.Sprintf("base %.4f, tuned %s,", *e.Loss.BaseLoss, loss)
		}
		fmt.Fprintf(w, "%-*s  %s %s of %s\n", widestScore(e.Widths[0].Scores), "loss", loss,
			report.LossUnit(e.Loss.Unit), e.Loss.Method)
	}
	for i := range e.Widths {
		at := &e.Widths[i]
		if len(e.Widths) > 1 {
			fmt.Fprintf(w, "\nfirst %s\n", count.Of(at.Width, "number"))
		}
		printScores(w, at.Scores)
		line := fmt.Sprintf("%.4f", at.Uniformity)
		if at.BaseUniformity != nil {
			line = fmt.Sprintf("base %.4f, tuned %.4f", *at.BaseUniformity, at.Uniformity)
		}
		if !math.IsNaN(at.Uniformity) {
			fmt.Fprintf(w, "%-*s  %s\n", widestScore(at.Scores), "uniformity", line)
		}
	}
	if e.BM25 != nil {
		fmt.Fprintln(w, "\nby words alone (BM25)")
		printScores(w, e.BM25)
	}
}

func queries(n int) string {
	if n == 1 {
		return "1 query"
	}
	return fmt.Sprintf("%d queries", n)
}
