package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/convert"
	"github.com/ggtune/ggtune/internal/count"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "turn an adapter of PEFT's into GGUF, or back",
		UsageText: "IN -m base.gguf -o OUT",
		Description: "IN is the directory of an adapter of PEFT's, Hugging Face's library, and OUT a GGUF file; or " +
			"IN is an adapter of ggtune's\n" +
			"(or a run) and OUT a directory, which must not exist. No Python is needed. What has no place in the " +
			"other form is refused.\n\n" +
			"  ggtune convert peft-adapter/ -m base.gguf -o adapter.gguf\n" +
			"  ggtune convert run/adapter.gguf -m base.gguf -o peft-adapter/ --base HuggingFaceTB/SmolLM2-135M",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` or directory to write"},
			&cli.StringFlag{Name: "base", Usage: "to PEFT: what Hugging Face calls the base (`NAME` or directory)"},
			&cli.BoolFlag{Name: "force", Usage: "replace a file OUT if it exists"},
			jsonFlag(),
		},
		Action: convertAction,
	}
}

func convertAction(c *cli.Context) error {
	switch {
	case c.NArg() != 1:
		return usagef("convert: %s given, expected one: ggtune convert IN -m base.gguf -o OUT",
			count.Of(c.NArg(), "argument"))
	case c.String("model") == "":
		return usagef("convert: no model given; an adapter is converted beside its base: -m base.gguf")
	case c.String("output") == "":
		return usagef("convert: no output given; name it with -o")
	}
	job := convert.AdapterJob{In: c.Args().First(), Model: c.String("model"), Out: c.String("output"),
		Base: c.String("base")}
	if adapter.IsPEFT(job.In) {
		if job.Base != "" {
			return usagef("convert: --base is for PEFT's settings; a GGUF file has the base's name from them")
		}
		if err := refuseExisting(c, job.Out); err != nil {
			return err
		}
	}
	r, err := convert.Adapter(c.Context, job)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	ranks := strings.Trim(fmt.Sprint(r.Ranks), "[]")
	fmt.Fprintf(c.App.Writer, "wrote %s: %s, rank %s, alpha %g\n", r.Output, count.Of(r.Pairs, "LoRA pair"),
		strings.ReplaceAll(ranks, " ", ", "), r.Alpha)
	for _, note := range r.Notes {
		fmt.Fprintln(c.App.ErrWriter, "note:", note)
	}
	return nil
}
