package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/count"
)

// unreadByScore are options of measuring that no score depends on.
var unreadByScore = map[string]bool{"method": true, "loss-weights": true, "ref-adapter": true, "ranked-pairs": true,
	"ranked-rows": true, "mask": true, "teacher": true, "teacher-top": true, "eval-rows": true, "seed": true,
	"num-generations": true, "rollout-prompts": true, "max-completion-length": true, "temperature": true}

func scoreCommand() *cli.Command {
	return &cli.Command{
		Name:      "score",
		Usage:     "score answers with a reward model or by rewards, or documents with a reranker",
		UsageText: "{-m model.gguf -a run | --reward NAME} -d answers.jsonl [options]",
		Description: "One line for each answer, in the data's order: the score, then where the answer is. Answers " +
			"are prompts with\n" +
			"a completion, or conversations; of pairs both are scored, and of a query's documents each. The model is " +
			"the base that\n" +
			"the run trained on; its adapter and the head beside it (--head names another) come from ggtune train " +
			"--method reward or rerank.\n\n" +
			"A reward's scores have the mean 0 over the run's own training answers, and only differences mean " +
			"something: the answer\n" +
			"that is ahead by d is the better one with probability 1/(1+e^-d). A reranker's are the log-odds of " +
			"relevant.\n\n" +
			"With --reward or --reward-cmd the answers are worth what reinforcement learning would give them; that " +
			"needs no model,\nbut for rewards that count tokens.\n\n" +
			"  ggtune score -m model.gguf -a run -d answers.jsonl\n" +
			"  ggtune score -m model.gguf -a run -d answers.jsonl --json | jq .score\n" +
			"  ggtune score --reward number --reward-column gold -d answers.jsonl",
		Flags: append(configFlags(func(o config.Option) bool {
			return o.Eval && o.Unset == "" && !unreadByScore[o.Name]
		}), adapterFlag(), jsonFlag()),
		Action: scoreAction,
	}
}

func scoreAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, chosen, err := settings(c)
	if err != nil {
		return err
	}
	if len(cfg.Reward) > 0 || cfg.RewardCmd != "" {
		return scoreByRewards(c, cfg)
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	s, err := run.ScoreAnswers(c.Context, *cfg, c.String("adapter"), chosen, rep)
	if err != nil {
		return err
	}
	for _, a := range s.Answers {
		if c.Bool("json") {
			err = printJSON(c.App.Writer, a)
		} else {
			_, err = fmt.Fprintf(c.App.Writer, "%10.4f  %s%s\n", a.Score, a.Source, behind(a.Answer))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// behind is what stands behind an answer's place.
func behind(answer string) string {
	if answer == "" {
		return ""
	}
	return " " + answer
}

func plotFlag() cli.Flag {
	return &cli.StringFlag{Name: "plot", Usage: "of a reward model or reranker: draw the calibration to `FILE`.svg"}
}

// checkPlot refuses to draw into what is there, or what is no drawing.
func checkPlot(c *cli.Context) error {
	path := c.String("plot")
	if path == "" {
		return nil
	}
	if !strings.EqualFold(filepath.Ext(path), ".svg") {
		return usagef("eval: --plot %s: it is drawn as SVG; give a name that ends in .svg", path)
	}
	return refuseExisting(c, path)
}

// drawScores draws the calibration, where that was asked for.
func drawScores(c *cli.Context, e run.Evaluation) error {
	path := c.String("plot")
	if path == "" {
		return nil
	}
	if e.Scores == nil {
		return usagef("eval: --plot draws the calibration of scores, and --method %s gives none; leave it out",
			e.Method)
	}
	var points [][2]float64
	for _, b := range e.Scores.Calibration {
		if b.N > 0 {
			points = append(points, [2]float64{b.Said, b.Was})
		}
	}
	title := fmt.Sprintf("%s on %s: expected calibration error %.3f", e.Adapter, count.Of(e.Scores.Prompts, "prompt"),
		e.Scores.ECE)
	return report.WriteCalibration(path, title, points)
}

// showScores prints what the scores of a reward model or reranker are worth.
func showScores(c *cli.Context, e run.Evaluation) error {
	w, s := c.App.Writer, e.Scores
	trivial, rule := "longer answer", "the longer answer is better"
	if s.Calibration[0].From == 0 {
		trivial, rule = "commoner verdict", "every answer is as most are"
	}
	fmt.Fprintf(w, "\nover %s, with 95 %% intervals:\n", count.Of(s.Prompts, "prompt"))
	line := func(name string, x eval.Share) {
		fmt.Fprintf(w, "  %-17s  %.4f  (%.4f to %.4f)\n", name, x.Value, x.Interval[0], x.Interval[1])
	}
	line("accuracy", s.Accuracy)
	line(trivial, s.Trivial)
	line("gain", s.Gain)
	line("margin", s.Margin)
	if s.MRR != nil {
		line("mrr", *s.MRR)
	}
	fmt.Fprintf(w, "%s: the rule that %s; gain: accuracy above it\n\n", trivial, rule)
	fmt.Fprintf(w, "calibration, expected error %.4f:\n  said          n    said     was\n", s.ECE)
	for _, b := range s.Calibration {
		if b.N > 0 {
			fmt.Fprintf(w, "  %.2f–%.2f  %5d  %.4f  %.4f\n", b.From, b.To, b.N, b.Said, b.Was)
		}
	}
	return nil
}
