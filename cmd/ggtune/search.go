package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
)

func searchCommand() *cli.Command {
	return &cli.Command{
		Name:      "search",
		Usage:     "ask your own texts a question, with an adapter and without",
		UsageText: "-m model.gguf [-a run] -d texts/ [QUESTION …] [options]",
		Description: "Makes a vector of each text, and shows for a question the texts that are nearest to it; with " +
			"an adapter also what the\n" +
			"base finds. Without a question on the command line, each line of standard input is one. Plain text is " +
			"cut at blank lines\n" +
			"unless --text-split says otherwise.\n\n" +
			"  ggtune search -m minilm.gguf -a run -d notes/ \"how do I prune a pear tree?\"\n" +
			"  ggtune search -m minilm.gguf -d corpus.jsonl --top 10 --json < questions.txt",
		Flags: append(vectorFlags(),
			&cli.IntFlag{Name: "top", Value: 5, Usage: "show the `N` nearest texts"}),
		Action: searchAction,
	}
}

func searchAction(c *cli.Context) (err error) {
	cfg, chosen, err := settings(c)
	if err != nil {
		return err
	}
	if len(cfg.Data) == 0 {
		return missing(c, "data", "texts/")
	}
	if c.Int("top") < 1 {
		return usagef("search: --top is %d; expected 1 or more", c.Int("top"))
	}
	given := chosen
	if !given("text-split") { // nor is it the adapter's: that is how its examples were read
		cfg.TextSplit = "paragraph"
		chosen = func(option string) bool { return option == "text-split" || given(option) }
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	s, err := run.OpenSearch(c.Context, *cfg, c.String("adapter"), chosen, rep)
	if err != nil {
		return err
	}
	defer s.Close()
	ask := func(question string) error {
		f, err := s.Ask(c.Context, question, c.Int("top"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return printJSON(c.App.Writer, f)
		}
		printFinding(c, &f)
		return nil
	}
	for _, q := range c.Args().Slice() {
		if err := ask(q); err != nil {
			return err
		}
	}
	if c.NArg() > 0 {
		return nil
	}
	lines := bufio.NewScanner(c.App.Reader)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := ask(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// printFinding shows what the base and the tuned model find.
func printFinding(c *cli.Context, f *run.Finding) {
	const shown = 100
	w := c.App.Writer
	list := func(name string, found []run.Found) {
		if name != "" {
			fmt.Fprintf(w, "%s:\n", name)
		}
		for i, x := range found {
			fmt.Fprintf(w, "  %2d  %.4f  %s\n              %s\n", i+1, x.Score, x.Source,
				report.Shortened(x.Text, shown))
		}
	}
	fmt.Fprintf(w, "%s\n", report.Shortened(f.Question, shown))
	if f.Base == nil {
		list("", f.Found)
	} else {
		list("base", f.Base)
		list("tuned", f.Found)
	}
	fmt.Fprintln(w)
}
