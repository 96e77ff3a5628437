package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
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
			"tokens do, of the kind\nthat the model will meet. An embedder reads texts, each as it would for its " +
			"vector.\n\n" +
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
	Output  string `json:"output"`
	Model   string `json:"model"`
	Entries int    `json:"entries"`
	Tokens  int    `json:"tokens"`
	Rows    int    `json:"rows"`
	// Of a model that predicts tokens.
	Loss       *float64 `json:"loss"`
	Perplexity *float64 `json:"perplexity"`
}

// ofPredictions are those of ofImportance that have no effect where a model reads texts for their vectors.
var ofPredictions = []string{"template", "drop-reasoning", "control-tokens", "packing", "batch", "eval-rows", "seed"}

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
	if err := checkReader(c, cfg.Model); err != nil {
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
	r := imatrixResult{Output: out, Model: cfg.Model, Entries: len(m.Entries), Tokens: e.Tokens, Rows: e.Rows}
	rows, perplexity := "text", ""
	if !math.IsNaN(e.Loss) {
		r.Loss, r.Perplexity = &e.Loss, &e.Perplexity
		rows, perplexity = "row", fmt.Sprintf(" (perplexity %.3f)", e.Perplexity)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	fmt.Fprintf(c.App.Writer, "wrote %s: importance for %s, from %s in %s%s\n", out, count.Of(r.Entries, "tensor"),
		count.Of(r.Tokens, "token"), count.Of(r.Rows, rows), perplexity)
	return nil
}

// checkReader refuses options that would have no effect on a model that makes vectors of texts.
func checkReader(c *cli.Context, model string) error {
	f, err := gguf.Open(model)
	if err != nil {
		return err
	}
	defer f.Close()
	net, err := arch.Of(f)
	if err != nil {
		return err
	}
	for _, name := range ofPredictions {
		if net.Headless && c.IsSet(name) {
			return usagef("imatrix: %s has no effect on %s, which makes vectors of texts (%s); leave it out",
				dashes(name), model, net.Arch)
		}
	}
	return nil
}
