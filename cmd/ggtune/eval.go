package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/count"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:      "eval",
		Usage:     "measure a model on held-out data, with or without an adapter",
		UsageText: "-m model.gguf [-a adapter.gguf] -d heldout.jsonl [options]",
		Description: "Loss in nats per counted token, and perplexity; with a method of preferences its loss per " +
			"pair, accuracy, margin and distance from\n" +
			"the reference (kl). An adapter's own method, template, mask and row length are taken unless others are " +
			"given.\n\n" +
			"With --choices, how often the right one of several choices is the likeliest: acc by log-probability, " +
			"acc_norm by that\n" +
			"over the choice's length, as lm-evaluation-harness has them. With --match, how often what the model " +
			"writes is right.\n" +
			"Both measure the base beside an adapter.\n\n" +
			"With a method that learns by rewards, what they say of answers that the model writes, at the run's " +
			"temperature; with\n" +
			"--num-generations 8 of eight to each prompt, and where a reward checks them pass@1, pass@2, … pass@8: " +
			"how likely one of so\n" +
			"many is right. All with 95 % intervals over prompts.\n\n" +
			"Of a reward model or reranker, accuracy beside that of a trivial rule with 95 % intervals over " +
			"prompts, and calibration:\n" +
			"how often the scores are right where they say so (a table; --plot FILE.svg draws it).\n\n" +
			"Of a model that makes vectors of texts (its file says pooling_type, or --method is one of vectors): " +
			"what is found for queries\n" +
			"among all documents (nDCG@10, MRR, MAP, recall), beside what words alone find; of pairs with scores " +
			"correlations; of triplets\n" +
			"accuracy. With an adapter the base beside it, all with 95 % intervals.\n\n" +
			"  ggtune eval -m model.gguf -d heldout.jsonl --json\n" +
			"  ggtune eval -m model.gguf -a run/adapter.gguf -d heldout.jsonl --json\n" +
			"  ggtune eval -m model.gguf -d prompts.jsonl --method grpo --reward exact --num-generations 8\n" +
			"  ggtune eval -m model.gguf -a run -d openbookqa.jsonl --choices\n" +
			"  ggtune eval -m model.gguf -a run -d gsm8k.jsonl --match number --eval-rows 100\n" +
			"  ggtune eval -m minilm.gguf -a run -d heldout.jsonl --corpus train.jsonl",
		Flags: slices.Concat(configFlags(func(o config.Option) bool { return o.Eval }), answerFlags(),
			vectorEvalFlags(),
			[]cli.Flag{plotFlag(), adapterFlag(), jsonFlag()}),
		Action: evalAction,
	}
}

func evalAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, chosen, err := settings(c)
	if err != nil {
		return err
	}
	if err := errors.Join(checkAnswerOptions(c), checkPlot(c)); err != nil {
		return err
	}
	makes := c.String("match") == "" && !c.Bool("choices") && run.MakesVectors(cfg, c.String("adapter"), chosen)
	if err := checkVectorOptions(c, makes); err != nil {
		return err
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	if makes {
		return evalVectors(c, cfg, chosen, rep)
	}
	if c.Bool("choices") || c.String("match") != "" {
		return evalAnswers(c, cfg, chosen, rep)
	}
	e, err := run.Evaluate(c.Context, *cfg, c.String("adapter"), chosen, rep)
	if err != nil {
		return err
	}
	if err := drawScores(c, e); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, e)
	}
	if e.Answered != nil {
		printAnswered(c.App.Writer, &e)
		return nil
	}
	names, widest := slices.Sorted(maps.Keys(e.Figures)), len("perplexity")
	if e.Scores != nil { // which say more of these
		names = slices.DeleteFunc(names, func(n string) bool {
			return slices.Contains([]string{"accuracy", "margin", "longer", "desirable"}, n)
		})
	}
	for _, name := range names {
		widest = max(widest, len(name))
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(c.App.Writer, "%-*s  %s\n", widest, name, fmt.Sprintf(format, args...))
	}
	line("loss", "%.4f %s", e.Loss, report.LossUnit(e.Unit))
	if !math.IsNaN(e.Perplexity) {
		line("perplexity", "%.3f", e.Perplexity)
	}
	line("tokens", "%d, of which counted %d, in %s", e.Tokens, e.Counted, count.Of(e.Rows, "row"))
	for _, name := range names {
		line(name, "%.4g", e.Figures[name])
	}
	if e.Scores != nil {
		return showScores(c, e)
	}
	return nil
}
