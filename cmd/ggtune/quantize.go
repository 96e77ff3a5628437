package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

func quantizeCommand() *cli.Command {
	var types []string
	for _, m := range mix.All() {
		types = append(types, fmt.Sprintf("  %-5s %s", m.Name, m.About))
	}
	return &cli.Command{
		Name:      "quantize",
		Usage:     "write a model in another storage type",
		UsageText: "--type TYPE IN.gguf OUT.gguf",
		Description: "Converts an f32, f16 or bf16 model. Norms and biases stay f32. Types:\n" +
			strings.Join(types, "\n") + "\n\n" +
			"  ggtune quantize --type q8_0 model-f16.gguf model-q8_0.gguf",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "storage `TYPE` to write", Value: "q8_0"},
			&cli.BoolFlag{Name: "force", Usage: "replace OUT.gguf if it exists"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
			jsonFlag(),
		},
		Action: quantizeAction,
	}
}

type quantizeResult struct {
	Input   string `json:"input"`
	Output  string `json:"output"`
	Type    string `json:"type"`
	Before  int64  `json:"tensor_bytes_before"`
	After   int64  `json:"tensor_bytes_after"`
	Tensors int    `json:"tensors"`
	Changed int    `json:"changed"`
	// Fallback counts tensors whose rows the type does not fit.
	Fallback int  `json:"fallback"`
	DryRun   bool `json:"dry_run"`
}

func quantizeAction(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("quantize: %s given, expected two: ggtune quantize --type q8_0 IN.gguf OUT.gguf",
			count.Of(c.NArg(), "argument"))
	}
	in, out := c.Args().Get(0), c.Args().Get(1)
	to, err := mix.Named(c.String("type"))
	if err != nil {
		return usagef("quantize: %w", err)
	}
	f, err := gguf.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	plan, err := quant.NewPlan(f, quant.Choice{Mix: to})
	if err != nil {
		return err
	}
	r := quantizeResult{Input: in, Output: out, Type: to.Name, Tensors: len(plan.Changes),
		Changed: plan.Changed(), DryRun: c.Bool("dry-run")}
	r.Before, r.After = plan.Bytes()
	for _, ch := range plan.Changes {
		if ch.Fallback {
			r.Fallback++
		}
	}
	if !r.DryRun {
		if err := refuseExisting(c, out); err != nil {
			return err
		}
		written := busy(c, "write "+out)
		_, err := quant.Write(c.Context, plan, quant.FileRows(f), out, quant.Output{})
		written()
		if err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	verb := map[bool]string{false: "wrote", true: "would write"}[r.DryRun]
	fmt.Fprintf(c.App.Writer, "%s %s: %s, tensors %s → %s, %d of %d changed\n", verb, out, to.Name, byteCount(r.Before),
		byteCount(r.After), r.Changed, r.Tensors)
	if r.Fallback > 0 {
		fmt.Fprintf(c.App.Writer, "f16 in place of %s, for rows that are not whole blocks: %s\n", to.Name,
			count.Of(r.Fallback, "tensor"))
	}
	return nil
}
