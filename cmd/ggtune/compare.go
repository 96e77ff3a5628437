package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/finetune/rate/answer"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:      "compare",
		Usage:     "let two adapters, or base and adapter, answer the same prompts",
		UsageText: "A B -m base.gguf -d prompts -o report [options], or --judged choices.jsonl",
		Description: "A and B are adapter files, or the word base. Writes report.html, to look at side by side, and " +
			"report.jsonl, for\n" +
			"`ggtune rate` to judge blind; --judged then says who wins, with a 95% interval. Ties count half; pairs " +
			"that were skipped,\n" +
			"edited or both bad do not count. By default each takes the most likely token; with --temp both draw " +
			"with the same seed.\n\n" +
			"  ggtune compare base run/adapter.gguf -m model.gguf -d prompts.txt -o report\n" +
			"  ggtune rate -d report.jsonl -o choices.jsonl\n" +
			"  ggtune compare --judged choices.jsonl",
		Flags: append([]cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `NAME`.html and NAME.jsonl",
				Value: "report"},
			&cli.BoolFlag{Name: "force", Usage: "replace the report if it exists"},
			&cli.StringFlag{Name: "judged", Usage: "print who wins in the `FILE` of choices that `ggtune rate` wrote"},
		}, append(pairFlags(0), threadsFlag(), deviceFlag(), jsonFlag())...),
		Action: compareAction,
	}
}

// compareResult is what a comparison wrote.
type compareResult struct {
	HTML    string `json:"html"`
	JSONL   string `json:"jsonl"`
	Prompts int    `json:"prompts"` // answered by both
	Equal   int    `json:"equal"`   // of them, with two equal answers
	Failed  int    `json:"failed"`
}

func compareAction(c *cli.Context) error {
	if path := c.String("judged"); path != "" {
		return compareJudged(c, path)
	}
	if c.NArg() != 2 {
		return usagef("compare: %s given, expected two adapters (or base): ggtune compare base run/adapter.gguf -m "+
			"base.gguf -d prompts.txt", count.Of(c.NArg(), "argument"))
	}
	var sides [2]answer.Side
	for i, scale := range []string{"scale", "scale-b"} {
		if name := c.Args().Get(i); name != "base" {
			sides[i] = answer.Side{Adapter: name, Scale: float32(c.Float64(scale))}
		}
	}
	if sides[0] == sides[1] {
		return usagef("compare: A and B are both %s; name two that differ", c.Args().Get(0))
	}
	cfg, err := pairSettings(c, sides)
	if err != nil {
		return err
	}
	cfg.OneSeed = true
	if _, err := required(c, "model", "base.gguf"); err != nil {
		return err
	}
	if len(c.StringSlice("data")) == 0 {
		return missing(c, "data", "prompts.txt")
	}
	if dir, name := filepath.Split(c.String("output")); strings.Trim(name, ".") == "" {
		return usagef("compare: --output is %s, a directory; add a name for the report, such as %s", c.String("output"),
			filepath.Join(dir, name, "report"))
	}
	r := compareResult{HTML: c.String("output") + ".html", JSONL: c.String("output") + ".jsonl"}
	for _, path := range []string{r.HTML, r.JSONL} {
		if err := refuseExisting(c, path); err != nil {
			return err
		}
	}
	items, err := readPrompts(c, true)
	if err != nil {
		return err
	}
	made, err := compareAnswers(c, cfg, items)
	if err != nil {
		return err
	}
	r.Prompts, r.Equal, r.Failed = len(made.Records), made.Equal(), len(made.Failed)
	for _, why := range made.Failed {
		fmt.Fprintln(c.App.ErrWriter, "note: not answered:", why)
	}
	if r.Prompts == 0 {
		return fmt.Errorf("compare: none of %s could be answered; the notes above say why",
			count.Of(len(items), "prompt"))
	}
	if err := writeReport(made, r); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	fmt.Fprintf(c.App.Writer,
		"%s, answers equal in %d\n%s  side by side\n%s  judge blind: ggtune rate -d %[4]s -o choices.jsonl\n",
		count.Of(r.Prompts, "prompt"), r.Equal, r.HTML, r.JSONL)
	return nil
}

// compareAnswers lets both sides answer, with a progress bar on a terminal.
func compareAnswers(c *cli.Context, cfg answer.Config, items []rate.Item) (*rate.Report, error) {
	authors, err := openAuthors(c, cfg)
	if err != nil {
		return nil, err
	}
	defer authors.Close()
	r := &rate.Report{Model: filepath.Base(cfg.Model), Names: authors.Names(), Sampled: "taking the most likely token"}
	if cfg.Sampling.Temp > 0 {
		r.Sampled = fmt.Sprintf("temperature %g, both with the same seed", cfg.Sampling.Temp)
	}
	told := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer told.Close()
	err = authors.Compare(c.Context, items, func(i int, rec rate.Record, err error) error {
		if err != nil {
			r.Failed = append(r.Failed, fmt.Sprintf("%s: %v", items[i].Source, err))
		} else {
			r.Records = append(r.Records, rec)
		}
		told.Report(report.Progress{What: "answer", Done: i + 1, Total: len(items)})
		return nil
	})
	return r, err
}

func writeReport(made *rate.Report, r compareResult) error {
	lines, err := made.JSONL()
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := made.WriteHTML(&html); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(nil, r.JSONL, lines, 0o666); err != nil {
		return err
	}
	return atomicfile.WriteFile(nil, r.HTML, html.Bytes(), 0o666)
}

// judgedResult is who wins.
type judgedResult struct {
	Choices string `json:"choices"`
	rate.Summary
}

func compareJudged(c *cli.Context, path string) error {
	if c.NArg() > 0 {
		return usagef("compare: --judged reads choices that were made, and takes no adapters; leave out %q",
			c.Args().First())
	}
	for _, name := range []string{"model", "data", "output"} {
		if c.IsSet(name) {
			return usagef("compare: --%s has no effect with --judged, which only counts; leave it out", name)
		}
	}
	records, err := rate.ReadChoices(path)
	if err != nil {
		return err
	}
	s := rate.Summarize(records)
	if c.Bool("json") {
		return printJSON(c.App.Writer, judgedResult{path, s})
	}
	fmt.Fprint(c.App.Writer, s)
	if len(s.WinRates) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "note: no pair of two different origins was decided, so nobody wins")
	}
	return nil
}
