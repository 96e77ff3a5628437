package main

import (
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/run"
)

// notOfHeal are options of train's that heal decides, or that make no sense with it.
var notOfHeal = []string{"method", "loss-weights", "teacher", "ref-adapter", "ranked-pairs", "ranked-rows",
	"init-adapter", "tune", "full", "train", "embed-lr", "master", "qat", "mix", "from"}

func healCommand() *cli.Command {
	return &cli.Command{
		Name:      "heal",
		Usage:     "win back what quantization lost: an adapter that learns from a better file",
		UsageText: "-m model-q2_k.gguf --from model-q8_0.gguf -o run [-d text] [options]",
		Description: "Trains an adapter with which a quantized model predicts as a better file of it does: by " +
			"distillation\n" +
			"(train --method distill), on your text, or on text that the better file writes itself. Then it measures " +
			"how far\n" +
			"the predictions are from the better file's, without the adapter and with it, on text held out. Unless\n" +
			"other is asked for, pairs start as what rounding took away (--init loftq), and the adapter is f16\n" +
			"(--outtype), half of f32's bytes.\n\n" +
			"  ggtune heal -m model-q2_k.gguf --from model-q8_0.gguf -o healed -d text.jsonl\n" +
			"  ggtune heal -m model-q2_k.gguf --from model-f16.gguf -o healed --rank 64\n" +
			"  ggtune heal -o healed --resume\n" +
			"  llama-cli -m model-q2_k.gguf --lora healed/adapter.gguf",
		Flags: append(configFlags(ofHeal),
			&cli.StringFlag{Name: "from", Usage: "GGUF `FILE` of the same model that lost less: f16, q8_0, ...",
				Category: "Files"},
			&cli.IntFlag{Name: "own-tokens", Value: run.DefaultHealing().OwnTokens, Category: "Files",
				Usage: "without --data: let the better file write `N` tokens to learn from"},
			jsonFlag()),
		Action: healAction,
	}
}

// ofHeal says which options of a run heal has.
func ofHeal(o config.Option) bool {
	_, given := o.Get()
	return !slices.Contains(notOfHeal, o.Name) && (given || o.Group != "Method") &&
		o.Group != "Rewarded answers"
}

func healAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, given, err := settings(c)
	if err != nil {
		return err
	}
	h, own := run.DefaultHealing(), c.Int("own-tokens")
	h.OwnTokens = own
	if !cfg.Resume || cfg.Method != h.Run.Method { // else they are those that the run began with
		cfg.Method, cfg.Teacher = h.Run.Method, c.String("from")
		if !given("init") {
			cfg.Init = h.Run.Init
		}
		if !given("outtype") && cfg.LeavesAsTrained() {
			cfg.OutType = h.Run.OutType
		}
		if !given("eval-split") && len(cfg.EvalData) == 0 {
			cfg.EvalSplit = h.Run.EvalSplit
		}
		if _, err := required(c, "from", "model-q8_0.gguf"); err != nil {
			return err
		}
	} else if c.IsSet("from") {
		cfg.Teacher = c.String("from")
	}
	if c.IsSet("own-tokens") && len(cfg.Data) > 0 && !cfg.Resume {
		return usagef("heal: --own-tokens is of text that the better file writes, and --data gives one; leave one of " +
			"them out")
	}
	h.Run = *cfg
	rep, failed := reporter(c)
	r, err := run.Heal(c.Context, h, rep)
	werr := failed()
	if errors.Is(err, errInterrupted) || errors.Is(err, run.ErrAsked) {
		return stopped(c, err, cfg.Output)
	}
	if err := errors.Join(err, werr); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, healedJSON(&r))
	}
	return printHealed(c, &r)
}

// A healedModel is how far a model is from the better file. Losses and divergences are in nats for each token.
type healedModel struct {
	Loss       float64 `json:"loss"`
	Perplexity float64 `json:"perplexity"`
	KL         float64 `json:"kl_mean"`
	KL99       float64 `json:"kl_p99"`
	Top        float64 `json:"top1_agreement"`
	Bytes      int64   `json:"bytes"`
}

func healedOf(d eval.Difference, bytes int64) healedModel {
	return healedModel{d.Loss, d.Perplexity(), d.KL, d.KL99, d.Top, bytes}
}

func healedJSON(r *run.Healed) map[string]any {
	from := eval.Difference{Loss: r.Loss}
	return map[string]any{"model": r.Model, "from": r.From, "adapter": r.Summary.Result, "text": r.Text,
		"tokens": r.Tokens, "own_text_tokens": r.OwnTokens, "from_loss": r.Loss,
		"from_perplexity": from.Perplexity(), "from_bytes": r.FromBytes,
		"before": healedOf(r.Before(), r.ModelBytes), "after": healedOf(r.After(), r.ModelBytes+r.AdapterBytes)}
}

// printHealed compares the model before and after with the better file, and says how the adapter is used.
func printHealed(c *cli.Context, r *run.Healed) error {
	out := c.App.Writer
	fmt.Fprintf(out, "\nPredictions beside those of %s, at %d tokens of %s:\n", r.From, r.Tokens, r.Text)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsize\tperplexity\tKL mean\tKL 99 %\tsame top token\t")
	better := eval.Difference{Loss: r.Loss}
	fmt.Fprintf(w, "better file\t%s\t%.4g\t\t\t\t\n", byteCount(r.FromBytes), better.Perplexity())
	for _, m := range []struct {
		name  string
		d     eval.Difference
		bytes int64
	}{{"model", r.Before(), r.ModelBytes}, {"with the adapter", r.After(), r.ModelBytes + r.AdapterBytes}} {
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%.3g\t%.3g\t%.2f %%\t\n", m.name, byteCount(m.bytes), m.d.Perplexity(), m.d.KL,
			m.d.KL99, 100*m.d.Top)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nThe adapter belongs beside the file as it is:\n\n  llama-cli -m %s --lora %s\n\n"+
		"Merged into the same types it is rounded again, and most of what was won is lost.\n"+
		"ggtune merge says how much; with --type, for a larger one.\n", shellWord(r.Model), shellWord(r.Summary.Result))
	return err
}
