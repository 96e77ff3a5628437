package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
)

// ofImportance are the options of eval that say how data is read and computed, not what is measured.
var ofImportance = []string{"model", "data", "format", "columns", "text-split", "replace-invalid", "strict", "template",
	"drop-reasoning", "control-tokens", "seq-len", "on-long", "packing", "batch", "eval-rows", "seed", "threads",
	"device", "exact"}

func imatrixCommand() *cli.Command {
	return &cli.Command{
		Name:      "imatrix",
		Usage:     "gather an importance matrix, with which quantize loses less",
		UsageText: "-m model-f16.gguf -d text.txt -o imatrix.gguf [options]",
		Description: "Runs the model over a text, or over data as train reads it, and writes how large the numbers " +
			"are that each\nmatrix is multiplied with. Where they are large, quantize --imatrix rounds with more " +
			"care. The file is\nllama.cpp's (llama-imatrix writes and llama-quantize reads it). Some ten thousand " +
			"tokens do, of the kind\nthat the model will meet.\n\n" +
			"  ggtune imatrix -m model-f16.gguf -d text.txt -o imatrix.gguf\n" +
			"  ggtune quantize --imatrix imatrix.gguf --type iq3_xxs model-f16.gguf model-iq3_xxs.gguf",
		Flags: slices.Concat(configFlags(func(o config.Option) bool { return slices.Contains(ofImportance, o.Name) }),
			[]cli.Flag{
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the matrix to `FILE`"},
				&cli.BoolFlag{Name: "force", Usage: "replace the output if it exists"},
				jsonFlag(),
			}),
		Action: imatrixAction,
	}
}

type imatrixResult struct {
	Output     string  `json:"output"`
	Model      string  `json:"model"`
	Entries    int     `json:"entries"`
	Tokens     int     `json:"tokens"`
	Rows       int     `json:"rows"`
	Loss       float64 `json:"loss"`
	Perplexity float64 `json:"perplexity"`
}

func imatrixAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, _, err := settings(c)
	if err != nil {
		return err
	}
	out, err := required(c, "output", "imatrix.gguf")
	if err != nil {
		return err
	}
	if err := refuseExisting(c, out); err != nil {
		return err
	}
	read, err := modelParts(cfg.Model)
	if err != nil {
		return err
	}
	if err := atomicfile.Distinct(out, append(read, cfg.Data...)...); err != nil {
		return err
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	m, e, err := run.Importance(c.Context, *cfg, rep)
	if err != nil {
		return err
	}
	if err := m.WriteFile(c.Context, nil, out); err != nil {
		return err
	}
	r := imatrixResult{Output: out, Model: cfg.Model, Entries: len(m.Entries), Tokens: e.Tokens, Rows: e.Rows,
		Loss: e.Loss, Perplexity: e.Perplexity}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	fmt.Fprintf(c.App.Writer, "wrote %s: importance for %s, from %s in %s (perplexity %.3f)\n", out,
		count.Of(r.Entries, "tensor"), count.Of(r.Tokens, "token"), count.Of(r.Rows, "row"), r.Perplexity)
	return nil
}
