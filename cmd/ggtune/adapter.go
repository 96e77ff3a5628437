package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/combine"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

func adapterCommand() *cli.Command {
	var list strings.Builder
	for _, o := range combine.Operations() {
		fmt.Fprintf(&list, "  %-9s  %s\n", o.Name, o.Doc)
	}
	return &cli.Command{
		Name:      "adapter",
		Usage:     "make an adapter of adapters, or of two models, without training",
		UsageText: "OPERATION FILE… -o out.gguf [options]",
		Description: "OPERATION is one of\n\n" + list.String() + "\n" +
			"FILE is an adapter, or the directory of a run, and may be followed by :SCALE. Adapters of different " +
			"bases are refused.\n\n" +
			"  ggtune adapter add facts style:0.5 -o both.gguf\n" +
			"  ggtune adapter truncate both.gguf --rank 16 -o small.gguf\n" +
			"  ggtune adapter ties facts style tone --density 0.3 -o merged.gguf\n" +
			"  ggtune adapter extract base.gguf tuned.gguf --rank 32 -o adapter.gguf",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the adapter to `FILE`"},
			&cli.IntFlag{Name: "rank", DefaultText: "of a merge: the largest of its adapters'",
				Usage: "largest `RANK` of the result"},
			&cli.Float64Flag{Name: "density", Value: 0.5, Usage: "`SHARE` of each adapter's changes that a merge " +
				"keeps, above 0 to 1"},
			&cli.Uint64Flag{Name: "seed", Usage: "of the chance by which dare keeps changes"},
			adapterTypeFlag(),
			&cli.BoolFlag{Name: "force", Usage: "replace the output if it exists"},
			jsonFlag(),
		},
		Action: adapterAction,
	}
}

func adapterAction(c *cli.Context) error {
	job, err := adapterJob(c)
	if err != nil {
		return err
	}
	if err := refuseExisting(c, job.Output); err != nil {
		return err
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	job.Progress = func(done, total int) {
		rep.Report(report.Progress{What: job.Operation.Name, Done: done, Total: total})
	}
	r, err := combine.Run(c.Context, job)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	for _, note := range r.Notes {
		rep.Report(report.Notice{Text: note})
	}
	fmt.Fprintf(c.App.Writer, "wrote %s: %s, rank %s, alpha %g\n", r.Output, count.Of(r.Pairs, "LoRA pair"),
		strings.ReplaceAll(strings.Trim(fmt.Sprint(r.Ranks), "[]"), " ", ", "), r.Alpha)
	if job.Operation.Reads("rank") {
		fmt.Fprintln(c.App.Writer, lostEnergy(r))
	}
	return nil
}

// rounding is the share of the energy below which what a rank leaves out is rounding: of models in f32 whose weights
// are some hundred times as large as what training changed, 4e-11 was measured.
const rounding = 1e-9

func lostEnergy(r *combine.Result) string {
	if r.Lost < rounding {
		return "the rank leaves out nothing of the changes"
	}
	lost := fmt.Sprintf("the rank leaves out %.3g %% of the energy of the changes", 100*r.Lost)
	if r.Worst != nil {
		lost += fmt.Sprintf("; of one tensor at most %.3g %% (%s)", 100*r.Worst.Lost, r.Worst.Tensor)
	}
	return lost
}

// adapterJob reads the command line.
func adapterJob(c *cli.Context) (job combine.Job, err error) {
	var names []string
	for _, o := range combine.Operations() {
		names = append(names, o.Name)
	}
	if c.NArg() == 0 {
		return job, usagef("adapter: no operation given; one of %s: ggtune adapter add a.gguf b.gguf -o sum.gguf",
			strings.Join(names, ", "))
	}
	if job.Operation, err = combine.Get(c.Args().First()); err != nil {
		return job, usagef("adapter: %w", err)
	}
	o := job.Operation
	for _, name := range []string{"rank", "density", "seed"} {
		if c.IsSet(name) && !o.Reads(name) {
			return job, usagef("adapter %s: --%s has no meaning for it", o.Name, name)
		}
	}
	job.Rank, job.Density, job.Seed = c.Int("rank"), c.Float64("density"), c.Uint64("seed")
	switch files := c.NArg() - 1; {
	case files < o.Least || o.Most > 0 && files > o.Most:
		what := map[bool]string{true: "adapter", false: o.Files}[o.Files == ""]
		return job, usagef("adapter %s: %s given, expected %s", o.Name, count.Of(files, "file"), expectedFiles(o, what))
	case c.IsSet("rank") && job.Rank < 1:
		return job, usagef("adapter %s: --rank is %d, expected 1 or more", o.Name, job.Rank)
	case !c.IsSet("rank") && o.NeedsRank:
		return job, usagef("adapter %s: no rank given, such as --rank 16", o.Name)
	case !(job.Density > 0 && job.Density <= 1):
		return job, usagef("adapter %s: --density is %g, expected above 0 to 1", o.Name, job.Density)
	}
	for _, text := range c.Args().Slice()[1:] {
		path, scale := text, 1.0
		if o.Files == "" {
			if path, scale, err = scaledFile(text); err != nil {
				return job, usagef("adapter %s: %s: %w", o.Name, text, err)
			}
		}
		job.Inputs = append(job.Inputs, combine.Input{Path: path, Scale: scale})
	}
	if job.Type, err = adapterType(c); err != nil {
		return job, err
	}
	job.Output, err = required(c, "output", "out.gguf")
	return job, err
}

func adapterTypeFlag() cli.Flag {
	return &cli.StringFlag{Name: "type", Value: "f32", Usage: "storage `TYPE` of an adapter: f32, or f16 in half of " +
		"the bytes"}
}

// adapterType reads --type of a command that writes an adapter.
func adapterType(c *cli.Context) (gguf.Type, error) {
	for _, t := range []gguf.Type{gguf.F32, gguf.F16} {
		if strings.EqualFold(c.String("type"), t.String()) {
			return t, nil
		}
	}
	return 0, usagef("%s: --type is %s; an adapter is written in f32 or f16", c.Command.Name, c.String("type"))
}

// expectedFiles words how many files an operation takes.
func expectedFiles(o *combine.Operation, what string) string {
	switch {
	case o.Files != "":
		return what
	case o.Most == 0:
		return count.Of(o.Least, what) + " or more"
	}
	return count.Of(o.Least, what)
}
