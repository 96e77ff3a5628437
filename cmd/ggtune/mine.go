package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/mine"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
)

func mineCommand() *cli.Command {
	d := mine.Default()
	return &cli.Command{
		Name:      "mine",
		Usage:     "find hard negatives for training embeddings: what the model takes for an answer and is none",
		UsageText: "-m model.gguf [-a run] -d pairs.jsonl -o mined.jsonl [options]",
		Description: "For each pair of a query and a document that answers it, documents are searched that are " +
			"near the query and belong to\n" +
			"it nowhere in the data: among all documents of the data, and those of --corpus. Every document is " +
			"looked at. What is nearer\n" +
			"than the margins allow is left out: it is likely an answer that nobody marked. What is written trains " +
			"with --method mnrl\n" +
			"or triplet; pairs for which nothing was found are left out, and counted.\n\n" +
			"  ggtune mine -m minilm.gguf -d pairs.jsonl -o mined.jsonl\n" +
			"  ggtune mine -m minilm.gguf -a run -d pairs.jsonl --corpus corpus.jsonl --range 10-50 --sampling " +
			"random -o mined.jsonl\n" +
			"  ggtune train -m minilm.gguf -d mined.jsonl --method mnrl -o run2",
		Flags: append(vectorFlags("seed"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write pairs with their negatives to " +
				"`FILE`, as JSON lines"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			corpusFlag(),
			&cli.IntFlag{Name: "negatives", Value: d.Negatives, Usage: "`N` for each pair"},
			&cli.StringFlag{Name: "range", Value: fmt.Sprintf("%d-%d", d.From, d.To), Usage: "take documents of " +
				"the ranks `FROM-TO`, the answers left out"},
			&cli.Float64Flag{Name: "absolute-margin", Value: d.Margin, Usage: "a negative's cosine is below that of " +
				"the pair's document by this `MUCH` at least; 0: no matter"},
			&cli.Float64Flag{Name: "relative-margin", Value: d.RelativeMargin, Usage: "the same as a `SHARE` of that " +
				"cosine; 0: no matter"},
			&cli.StringFlag{Name: "sampling", Value: d.Sampling, Usage: "take of these the hardest (top), or some at " +
				"random: " + strings.Join(mine.Samplings(), ", ")}),
		Action: mineAction,
	}
}

// corpusFlag names what is searched beside the data's own documents.
func corpusFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "corpus", Usage: "search the documents in `FILE` or directory too: texts, or " +
		"the documents of pairs; may be given again"}
}

func mineAction(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, chosen, err := settings(c)
	if err != nil {
		return err
	}
	o, err := mineOptions(c)
	if err != nil {
		return err
	}
	path, err := required(c, "output", "mined.jsonl")
	if err != nil {
		return err
	}
	if !strings.EqualFold(filepath.Ext(path), ".jsonl") {
		return usagef("mine: --output %s: what is written are JSON lines; expected a name that ends in .jsonl", path)
	}
	if len(cfg.Data) == 0 {
		return missing(c, "data", "pairs.jsonl")
	}
	if err := refuseExisting(c, path); err != nil {
		return err
	}
	f, err := atomicfile.Create(nil, path, 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	n, err := run.Mine(c.Context, *cfg, c.String("adapter"), chosen, o, c.StringSlice("corpus"), rep,
		func(m run.Mined) error { return lines.Encode(m) })
	if err != nil {
		return err
	}
	if n.Negatives == 0 {
		return fmt.Errorf("mine: nothing is left of what is near the queries of %s: %d are nearer than the margins "+
			"allow; lower --absolute-margin and --relative-margin, or widen --range", count.Of(n.Pairs, "pair"), n.Near)
	}
	if err := errors.Join(w.Flush(), f.Commit()); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, struct {
			Output string `json:"output"`
			mine.Counts
		}{path, n})
	}
	printMined(c, path, &n)
	return nil
}

// mineOptions reads them, and refuses what is none.
func mineOptions(c *cli.Context) (mine.Options, error) {
	o := mine.Default()
	o.Negatives, o.Sampling = c.Int("negatives"), c.String("sampling")
	o.Margin, o.RelativeMargin = c.Float64("absolute-margin"), c.Float64("relative-margin")
	from, to, ok := strings.Cut(c.String("range"), "-")
	var errs [2]error
	o.From, errs[0] = strconv.Atoi(from)
	o.To, errs[1] = strconv.Atoi(to)
	if !ok || errs[0] != nil || errs[1] != nil {
		return o, usagef("mine: --range is %q; expected two ranks, such as 1-100", c.String("range"))
	}
	if err := o.Validate(); err != nil {
		return o, usagef("mine: %w", err)
	}
	return o, nil
}

func printMined(c *cli.Context, path string, n *mine.Counts) {
	w := c.App.Writer
	fmt.Fprintf(w, "%s: %s for %s\n", path, count.Of(n.Negatives, "negative"), count.Of(n.Pairs-n.Bare, "pair"))
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("pairs", "%d: %d with %d negatives, %d with fewer, %d without any and left out", n.Pairs, n.Whole,
		c.Int("negatives"), n.Short, n.Bare)
	line("documents in range", "%d over all pairs: %d too near for the margin, %d taken, %d left over", n.InRange,
		n.Near, n.Negatives, n.Over)
	line("mean cosines", "%.4f positive, %.4f negative, %.4f the hardest of each "+
		"pair", n.Positive, n.Negative, n.Hardest)
}
