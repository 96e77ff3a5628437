package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/merge"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/quant/mix"
)

func mergeCommand() *cli.Command {
	return &cli.Command{
		Name:      "merge",
		Usage:     "make one model of a base and adapters, and measure what that cost",
		UsageText: "-m base.gguf -a run[:scale] [-a other.gguf:0.5 …] -o merged.gguf [options]",
		Description: "Writes base + Σ scale·B·A: exactly in f32, rounded once in f16 and bf16. Quantized tensors are " +
			"rounded anew, which\n" +
			"loses something: how far the merged model's predictions are from those of the base with the adapters " +
			"applied is\n" +
			"measured and said. Tensors that no adapter adds to are copied byte for byte. The file gets its name " +
			"when llama.cpp\n" +
			"has loaded it and computes the same.\n\n" +
			"  ggtune merge -m base.gguf -a run -o merged.gguf\n" +
			"  ggtune merge -m base.gguf -a style:0.5 -a facts/adapter.gguf -o merged.gguf --type q8_0\n" +
			"  ggtune merge -m base-q4.gguf --from base-f16.gguf -a run -o merged-q4.gguf --report heldout.jsonl\n" +
			"  ggtune merge -m base.gguf -a run -o chat.gguf --set-template chatml\n" +
			"  ggtune merge -m qwen3.gguf -a rewards --head rewards/head.gguf -o ranker.gguf",
		Flags: append([]cli.Flag{
			modelFlag(),
			&cli.StringSliceFlag{Name: "adapter", Aliases: []string{"a", "lora"},
				Usage: "LoRA adapter `FILE[:SCALE]`, or the directory of a run or checkpoint; may be given several " +
					"times"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the merged model to `FILE`"},
			&cli.StringFlag{Name: "type", Usage: "storage `TYPE` to write; without, each tensor keeps its own"},
			&cli.StringFlag{Name: "budget", Usage: "instead, the best type for each tensor in so many " +
				"`BITS` a weight (4.5bpw), as quantize finds them on a general text"},
			&cli.StringFlag{Name: "size", Usage: "the same in a file of about so many `BYTES` (700M, 3GB)"},
			&cli.StringFlag{Name: "report", Usage: "measure the loss on `FILE`, data as eval reads it, or on this " +
				"text; without, on what the run held out, or on a general text"},
			&cli.StringFlag{Name: "from", Usage: "add the adapters to the weights of `FILE`, the f16 or f32 one " +
				"that the base was quantized from, and quantize once"},
			&cli.StringFlag{Name: "rounding", Value: "auto", Usage: "round quantized weights to the `WAY`: " +
				"nearest (quantized anew), random (to one of the two points next to them on their old grid, so that " +
				"small changes stay on average), auto (a mixture of both, or nearest: what predicts more like " +
				"base and adapter)"},
			&cli.StringFlag{Name: "set-template", Usage: "write the chat template in `FILE`, or a built-in one by " +
				"name, into the merged model, with the token that ends its turns"},
			&cli.StringFlag{Name: "head", Usage: "write the head in `FILE`, which the adapter was trained with, as " +
				"the classification head of llama.cpp (llama-server --reranking); of qwen3 models"},
			&cli.BoolFlag{Name: "force", Usage: "replace the output if it exists"},
			threadsFlag(), deviceFlag(), jsonFlag(),
		}, tensorTypeFlags()...),
		Action: mergeAction,
	}
}

func mergeAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, err := mergeConfig(c)
	if err != nil {
		return err
	}
	if err := refuseExisting(c, cfg.Output); err != nil {
		return err
	}
	if err := atomicfile.Distinct(cfg.Output, c.String("imatrix"), cfg.Report); err != nil {
		return err
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	r, err := merge.Merge(c.Context, cfg, rep)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	return printMerged(c, r)
}

func mergeConfig(c *cli.Context) (cfg merge.Config, err error) {
	if cfg.Model, err = required(c, "model", "base.gguf"); err != nil {
		return cfg, err
	}
	if len(c.StringSlice("adapter")) == 0 {
		return cfg, missing(c, "adapter", "run/adapter.gguf")
	}
	for _, text := range c.StringSlice("adapter") {
		path, scale, err := scaledFile(text)
		if err != nil {
			return cfg, usagef("merge: --adapter %s: %w", text, err)
		}
		cfg.Adapters = append(cfg.Adapters, merge.Adapter{Path: path, Scale: scale})
	}
	if cfg.Output, err = required(c, "output", "merged.gguf"); err != nil {
		return cfg, err
	}
	if cfg.Type = c.String("type"); cfg.Type != "" {
		if _, err := mix.ToWrite(cfg.Type); err != nil {
			return cfg, usagef("merge: %w", err)
		}
	}
	if err := mergedTypes(c, &cfg); err != nil {
		return cfg, err
	}
	cfg.From = c.String("from")
	if cfg.Rounding = c.String("rounding"); !slices.Contains(merge.Roundings(), cfg.Rounding) {
		return cfg, usagef("merge: --rounding %q is unknown; there are %s", cfg.Rounding,
			strings.Join(merge.Roundings(), ", "))
	}
	if cfg.From != "" && c.IsSet("rounding") {
		return cfg, usagef("merge: --rounding is for weights that are quantized already; --from %s has others, which "+
			"are quantized to the nearest", cfg.From)
	}
	if err := checkDevice(c); err != nil {
		return cfg, err
	}
	cfg.Report, cfg.Template, cfg.Head = c.String("report"), c.String("set-template"), c.String("head")
	cfg.Threads, err = threads(c)
	return cfg, err
}

// mergedTypes reads what chooses types beside --type.
func mergedTypes(c *cli.Context, cfg *merge.Config) (err error) {
	budgets, err := budgetsOf(c)
	switch {
	case err != nil:
		return err
	case len(budgets) > 1 || len(budgets) == 1 && cfg.Type != "":
		return usagef("merge: --type, --budget and --size each choose the types of the one model; give one of them")
	case len(budgets) == 1:
		cfg.Budget = &budgets[0]
	}
	if cfg.Types, err = typesByRole(c); err != nil {
		return err
	}
	cfg.Importance, err = importanceOf(c)
	return err
}

// scaledFile reads FILE:SCALE. A file's name may hold colons: what exists as a whole is one.
func scaledFile(text string) (path string, scale float64, err error) {
	at := strings.LastIndexByte(text, ':')
	if _, err := os.Stat(text); !errors.Is(err, fs.ErrNotExist) || at < 0 {
		return text, 1, nil
	}
	x, err := strconv.ParseFloat(text[at+1:], 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return text, 1, nil
	case err != nil || x-x != 0:
		return text, 1, fmt.Errorf("the scale %s is no number that an adapter can be multiplied by", text[at+1:])
	}
	return text[:at], x, nil
}

func printMerged(c *cli.Context, r merge.Result) error {
	w := c.App.Writer
	to := "each tensor in its own type"
	if r.Type != nil {
		to = *r.Type
	}
	fmt.Fprintf(w, "wrote %s: %s, %s of tensors (the base: %s)\n", r.Output, to, byteCount(r.After),
		byteCount(r.Before))
	fmt.Fprintf(w, "%s into %d of %d tensors: %s\n", count.Of(len(r.Adapters), "adapter"), r.Merged, r.Tensors,
		weightsLost(r))
	if r.ExpectedKL != nil {
		fmt.Fprintf(w, "its types were expected to make predictions diverge by %.3g nats (KL)\n", *r.ExpectedKL)
	}
	what := "logits"
	if r.Report.Vectors != nil {
		what = "vectors at length 1"
	}
	fmt.Fprintf(w, "llama.cpp loads it and computes the same: %s differ by %.3g, the base's by %.3g\n", what,
		r.LlamaRMSDiff, r.LlamaBaseRMSDiff)
	if k := r.Ranked; k != nil {
		fmt.Fprintf(w, "it ranks with the head: llama.cpp's first class (%s) is σ(score), off by %.2g; the mean of "+
			"%.4g is not taken off there\n", k.Labels[0], k.Difference, k.Mean)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if v := r.Report.Vectors; v != nil {
		return printTurned(w, t, r.Report.Text, v)
	}
	fmt.Fprintln(t, "\tperplexity\tKL mean\tKL 99 %\tsame top token\t")
	fmt.Fprintf(t, "base + adapter\t%.4g\t\t\t\t\n", eval.Difference{Loss: r.Report.Applied}.Perplexity())
	for _, l := range []struct {
		name string
		eval.Difference
	}{{"merged", r.Report.Merged}, {"base alone", r.Report.Base}} {
		fmt.Fprintf(t, "%s\t%.4g\t%.3g\t%.3g\t%.2f %%\t\n", l.name, l.Perplexity(), l.KL, l.KL99, 100*l.Top)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "against base + adapter, on %s: %s\n", r.Report.Text, count.Of(r.Report.Tokens, "token"))
	return nil
}

// printTurned shows how far vectors are from those with the adapter apart.
func printTurned(w io.Writer, t *tabwriter.Writer, text string, v *merge.Vectors) error {
	fmt.Fprintln(t, "\t1 − cosine, mean\tlargest\t")
	fmt.Fprintf(t, "merged\t%.3g\t%.3g\t\n", v.Merged.Mean, v.Merged.Most)
	fmt.Fprintf(t, "base alone\t%.3g\t%.3g\t\n", v.Base.Mean, v.Base.Most)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "against base + adapter, on %s: vectors of %s, pooling %s\n", text, count.Of(v.Texts, "text"),
		v.Pooling)
	return nil
}

// weightsLost says what rounding did to the weights themselves.
func weightsLost(r merge.Result) string {
	var parts []string
	if r.Scales > 0 {
		parts = append(parts, fmt.Sprintf("%d by the scales of their blocks alone", r.Scales))
	}
	if r.Minima > 0 {
		parts = append(parts, fmt.Sprintf("%d by the minima of their blocks alone", r.Minima))
	}
	if r.Rounded > 0 {
		anew := fmt.Sprintf("%d quantized anew", r.Rounded)
		if r.Nudged > 0 {
			anew = fmt.Sprintf("%d quantized, %.3g %% of their weights at random on the grids they had", r.Rounded,
				100*r.Nudged)
		}
		parts = append(parts, anew)
	}
	if len(parts) == 0 {
		return "nothing quantized anew"
	}
	return fmt.Sprintf("%s, rounding changes weights by %.2g %%", strings.Join(parts, ", "), 100*r.Rounding)
}
