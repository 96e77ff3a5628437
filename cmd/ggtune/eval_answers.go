package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/match"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/count"
)

// answersGroup is where the help shows what is here.
const answersGroup = "Questions and answers"

// spreadTemp is the temperature of several answers to one question: what HumanEval's pass@10 and pass@100 are measured
// with (Chen et al. 2021, section 3.3). At 0 they would be one answer.
const spreadTemp = 0.8

func answerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "choices", Category: answersGroup,
			Usage: "the data is multiple choice: measure how often the right choice is the likeliest"},
		&cli.BoolFlag{Name: "chat", Category: answersGroup,
			Usage: "with --choices: put questions through the chat template, as training does; without it, literal " +
				"text"},
		&cli.StringFlag{Name: "match", Category: answersGroup,
			Usage: "let the model answer, and compare with the data's answer: `HOW` is " +
				strings.Join(match.Names(), ", ")},
		&cli.StringFlag{Name: "pattern", Category: answersGroup,
			Usage: "with --match regex: what is compared is the first group (or all) of the last match of `REGEX`"},
		&cli.IntFlag{Name: "samples", Category: answersGroup, Value: 1,
			Usage: "with --match: `N` answers to each question; above 1, pass@k"},
		&cli.Float64Flag{Name: "temp", Category: answersGroup,
			DefaultText: fmt.Sprintf("0 for one answer, %g for several", spreadTemp),
			Usage:       "with --match: temperature; 0 takes the most likely token"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n"}, Category: answersGroup, Value: 256,
			DefaultText: "256, or what the context leaves",
			Usage:       "with --match: answers of at most `N` tokens"},
		&cli.StringFlag{Name: "details", Category: answersGroup,
			Usage: "write what came of each question to `FILE`, as JSON lines"},
	}
}

// What does not bear on questions and answers, beside what only a method reads.
var (
	unreadByBoth    = []string{"method", "loss-weights", "ref-adapter", "ranked-pairs", "ranked-rows", "mask"}
	unreadByChoices = []string{"text-split", "task-examples", "task-chat", "drop-reasoning"}
	unreadByMatch   = []string{"on-long", "packing", "seq-len", "batch", "exact", "control-tokens", "drop-reasoning"}
)

// checkAnswerOptions refuses options that would have no effect. A file of settings may have them: it may be a run's.
func checkAnswerOptions(c *cli.Context) error {
	match, choices := c.String("match") != "", c.Bool("choices")
	if match && choices {
		return usagef("eval: --choices and --match are two ways to measure; give one of them")
	}
	refuse := func(mode string, names ...string) error {
		for _, name := range names {
			if c.IsSet(name) {
				return usagef("eval: %s has no effect %s; leave it out", dashes(name), mode)
			}
		}
		return nil
	}
	var settings []string
	for _, o := range configOptions() {
		if o.Eval && o.Unset != "" {
			settings = append(settings, o.Name)
		}
	}
	own := []string{"pattern", "samples", "temp", "predict"}
	switch {
	case choices:
		return refuse("with --choices", slices.Concat(own, unreadByBoth, unreadByChoices, settings)...)
	case match:
		return errors.Join(checkMatch(c),
			refuse("with --match", slices.Concat([]string{"chat"}, unreadByBoth, unreadByMatch,
				settings)...))
	}
	return refuse("without --choices or --match", append(own, "chat", "details")...)
}

func configOptions() []config.Option {
	c := config.Default()
	return c.Options()
}

// checkMatch refuses what cannot be asked for.
func checkMatch(c *cli.Context) error {
	switch {
	case c.IsSet("pattern") != (c.String("match") == "regex"):
		return usagef("eval: --pattern goes with --match regex, such as --pattern '[A-D]'")
	case c.Int("samples") < 1 || c.Int("predict") < 1:
		return usagef("eval: --samples is %d and --predict %d, expected 1 or more", c.Int("samples"), c.Int("predict"))
	case c.Int("samples") > 1 && c.IsSet("temp") && c.Float64("temp") == 0:
		return usagef("eval: --temp 0 with --samples %d gives the same answer each time; give a temperature above 0",
			c.Int("samples"))
	}
	return nil
}

func evalAnswers(c *cli.Context, cfg *config.Config, chosen func(string) bool, rep report.Reporter) (err error) {
	details := json.NewEncoder(io.Discard)
	if path := c.String("details"); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return fmt.Errorf("--details: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		details = json.NewEncoder(f)
		details.SetEscapeHTML(false)
	}
	var a run.Answers
	if c.Bool("choices") {
		a, err = run.EvaluateChoices(c.Context, *cfg, c.String("adapter"), chosen, c.Bool("chat"), rep,
			func(x run.ChoiceOf) error { return details.Encode(x) })
	} else {
		var mc run.MatchConfig
		if mc, err = matchConfig(c); err != nil {
			return err
		}
		a, err = run.EvaluateMatch(c.Context, *cfg, c.String("adapter"), chosen, mc, rep,
			func(x run.AnswerOf) error { return details.Encode(x) })
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, a)
	}
	printAnswers(c.App.Writer, &a)
	return nil
}

func matchConfig(c *cli.Context) (run.MatchConfig, error) {
	way, err := match.New(c.String("match"), c.String("pattern"))
	if err != nil {
		return run.MatchConfig{}, usagef("eval: %w", err)
	}
	s := llama.Greedy()
	s.Seed = uint32(c.Uint64("seed"))
	switch {
	case c.IsSet("temp"):
		s.Temp = float32(c.Float64("temp"))
	case c.Int("samples") > 1:
		s.Temp = spreadTemp
	}
	if err := s.Validate(); err != nil {
		return run.MatchConfig{}, usagef("eval: %w", err)
	}
	return run.MatchConfig{Match: way, Samples: c.Int("samples"), Predict: c.Int("predict"),
		Fixed: c.IsSet("predict"), Sampling: s}, nil
}

// printAnswers shows shares with their 95 % intervals.
func printAnswers(w io.Writer, a *run.Answers) {
	fmt.Fprintf(w, "%-*s  %d\n", widestScore(a.Scores), "questions", a.Questions)
	printScores(w, a.Scores)
}

// widestScore is the width of the column of names.
func widestScore(scores []run.Score) int {
	widest := len("questions")
	for _, s := range scores {
		widest = max(widest, len(s.Name))
	}
	return widest
}

func printScores(w io.Writer, scores []run.Score) {
	widest := widestScore(scores)
	for _, s := range scores {
		if s.Base == nil {
			fmt.Fprintf(w, "%-*s  %s\n", widest, s.Name, withError(&s.Share))
			continue
		}
		fmt.Fprintf(w, "%-*s  base %s, tuned %s, change %+.4f (95 %%: %+.4f to %+.4f)\n", widest, s.Name,
			interval(s.Base), interval(&s.Share), s.Change.Value, s.Change.Interval[0], s.Change.Interval[1])
	}
}

// interval is a figure with its 95 % interval.
func interval(s *eval.Share) string {
	return fmt.Sprintf("%.4f (95 %%: %.4f to %.4f)", s.Value, s.Interval[0], s.Interval[1])
}

// withError is interval with the standard error, if there is one.
func withError(s *eval.Share) string {
	if s.StdErr == nil {
		return interval(s)
	}
	return fmt.Sprintf("%s, standard error %.4f", interval(s), *s.StdErr)
}

// printAnswered shows what rewards say of answers that a model wrote.
func printAnswered(w io.Writer, e *run.Evaluation) {
	a := e.Answered
	type line struct{ name, text string }
	lines := []line{{"answers", fmt.Sprintf("%d, to %s", a.Prompts*a.Answers, count.Of(a.Prompts, "prompt"))}}
	shown := map[string]bool{}
	for _, s := range slices.Concat(a.Rewards, a.Passes) {
		lines = append(lines, line{s.Name, withError(&s.Share)})
		shown[s.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(e.Figures)) {
		if !shown[name] {
			lines = append(lines, line{name, fmt.Sprintf("%.4g", e.Figures[name])})
		}
	}
	if len(a.Checks) > 1 {
		lines = append(lines, line{"pass@k", "an answer passes that " + strings.Join(a.Checks, " and ") +
			" find right"})
	}
	widest := 0
	for _, l := range lines {
		widest = max(widest, len(l.name))
	}
	for _, l := range lines {
		fmt.Fprintf(w, "%-*s  %s\n", widest, l.name, l.text)
	}
}
