package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// printQuantized says what was written, or would be: a JSON object a line for each type, or for people.
func printQuantized(c *cli.Context, jobs []quantizing) error {
	w := c.App.Writer
	for i := range jobs {
		if c.Bool("json") {
			if err := printJSON(w, jobs[i].result); err != nil {
				return err
			}
			continue
		}
		jobs[i].print(w)
	}
	if !c.Bool("json") && jobs[0].result.Cost != nil {
		printCost(w, jobs)
	}
	return nil
}

// print says what became of one type.
func (q *quantizing) print(w io.Writer) {
	r, verb := &q.result, "wrote"
	if r.DryRun {
		printPlan(w, &q.plan)
		verb = "would write"
	}
	name := r.Output
	if len(r.Files) > 1 || len(r.Files) == 1 && r.Files[0] != r.Output {
		name = fmt.Sprintf("%s (%s)", r.Files[0], count.Of(len(r.Files), "part"))
	}
	if name != "" {
		name = verb + " " + name + ": "
	}
	fmt.Fprintf(w, "%s%s, tensors %s → %s, %.2f bits a weight, %d of %d changed\n", name, r.Type,
		byteCount(r.Before), byteCount(r.After), r.BPW, r.Changed, r.Tensors)
	if r.Fallback > 0 {
		fmt.Fprintf(w, "another type in place of the one chosen, for rows that are not whole blocks of it: %s\n",
			count.Of(r.Fallback, "tensor"))
	}
	if r.ExpectedKL != nil {
		fmt.Fprintf(w, "predictions are expected to diverge by %.3g nats (KL)\n", *r.ExpectedKL)
	}
	if r.Loss != nil && r.Changed > 0 {
		fmt.Fprintf(w, "rounding changed the weights by %.3g %% (root mean square)\n", 100**r.Loss)
	}
	if len(q.plan.Unweighted) > 0 && !q.weighed {
		fmt.Fprintf(w, "the importance matrix has no entries for %s: rounded without\n",
			strings.Join(q.plan.Unweighted, ", "))
	}
	if r.Requantized > 0 {
		fmt.Fprintf(w, "quantized already, and rounded once more: %s; what the first rounding took is not in these "+
			"figures and does not come back\n", count.Of(r.Requantized, "tensor"))
	}
}

// printCost compares the types.
func printCost(out io.Writer, jobs []quantizing) {
	first := jobs[0].result.Cost
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\n\tsize\tbits a weight\tperplexity\tKL mean\tKL 99 %\tsame top token\t")
	fmt.Fprintf(w, "source\t%s\t\t%.4g\t\t\t\t\n", byteCount(jobs[0].result.Before), first.SourcePerplexity)
	for _, q := range jobs {
		r := &q.result
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.4g\t%.3g\t%.3g\t%.2f %%\t\n", r.Type, byteCount(r.After), r.BPW,
			r.Cost.Perplexity, r.Cost.KL, r.Cost.KL99, 100*r.Cost.Top)
	}
	w.Flush()
	fmt.Fprintf(out, "against the source, on %s: %s\n", first.Text, count.Of(first.Tokens, "token"))
}

// plotQuantized draws what the types cost.
func plotQuantized(path string, jobs []quantizing) error {
	var all []report.SizeCost
	for _, q := range jobs {
		all = append(all, report.SizeCost{Name: q.result.Type, Bytes: q.result.After, KL: q.result.Cost.KL,
			Chosen: q.budget != nil})
	}
	return report.WriteCosts(path, jobs[0].result.Cost.Text, all)
}

// printPlan writes the types that tensors would get, a line for each role and change.
func printPlan(out io.Writer, p *quant.Plan) {
	type line struct {
		role     string
		from, to gguf.Type
	}
	var lines []line
	tensors, bytes := map[line]int{}, map[line]int64{}
	for _, ch := range p.Changes {
		l := line{mix.Role(ch.Tensor.Name), ch.Tensor.Type, ch.To}
		if !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
		tensors[l]++
		bytes[l] += ch.ToBytes
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		to := "kept"
		if l.from != l.to {
			to = "→ " + l.to.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.role, count.Of(tensors[l], "tensor"), l.from, to, byteCount(bytes[l]))
	}
	w.Flush()
}
