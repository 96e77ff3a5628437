package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/embed"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/finetune/vectors"
	"github.com/ggtune/ggtune/internal/count"
)

// vectorOptions are the settings that whatever makes vectors of texts has.
var vectorOptions = []string{"model", "data", "format", "columns", "text-split", "replace-invalid", "strict", "pooling",
	"query-prefix", "document-prefix", "seq-len", "on-long", "threads", "device", "exact"}

// vectorFlags are flags for these, and others named.
func vectorFlags(others ...string) []cli.Flag {
	return append(configFlags(func(o config.Option) bool {
		return slices.Contains(vectorOptions, o.Name) || slices.Contains(others, o.Name)
	}), adapterFlag(), jsonFlag())
}

func embedCommand() *cli.Command {
	return &cli.Command{
		Name:      "embed",
		Usage:     "make vectors of texts, with or without an adapter",
		UsageText: "-m model.gguf [-a run] {TEXT … | -d texts.jsonl} [-o vectors.npy] [options]",
		Description: "Each text becomes one vector, as llama-server's embeddings endpoint makes it: from the " +
			"tokens that --pooling says,\n" +
			"at length 1. Of -d, texts are the field \"text\" of records, the documents of a folder of BEIR's, or " +
			"plain text files, each of\n" +
			"which is one text (--text-split line: one on each line; paragraph: parted by blank lines).\n\n" +
			"-o writes a matrix (.npy, .safetensors) or lines (.jsonl); with --json the lines go to standard " +
			"output. Without either,\n" +
			"what is printed is the beginning of each vector, and of a few texts how near they are to each " +
			"other.\n\n" +
			"  ggtune embed -m minilm.gguf \"a cow on a farm\" \"cattle in a meadow\" \"stock prices\"\n" +
			"  ggtune embed -m minilm.gguf -a run -d corpus.jsonl -o corpus.npy\n" +
			"  ggtune embed -m minilm.gguf -a run --as query -d questions.txt --text-split line --json",
		Flags: append(vectorFlags(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the vectors to `FILE`: .npy, " +
				".safetensors, or .jsonl"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			&cli.StringFlag{Name: "as", Value: asDocument, Usage: "the texts are of this `KIND`, document or " +
				"query, whose prefix goes before them"},
			&cli.StringFlag{Name: "normalize", Value: normalizeL2, Usage: "length of the vectors: l2 (1), or none " +
				"(as they come)"},
			&cli.IntFlag{Name: "dimensions", Usage: "keep the first `N` numbers of each vector, as Matryoshka " +
				"models can be cut; 0: all"}),
		Action: embedAction,
	}
}

// The values of --as and --normalize.
const (
	asDocument    = "document"
	asQuery       = "query"
	normalizeL2   = "l2"
	normalizeNone = "none"
)

func embedAction(c *cli.Context) error {
	cfg, chosen, err := settings(c)
	if err != nil {
		return err
	}
	if err := checkEmbed(c, cfg); err != nil {
		return err
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	e, err := run.OpenEmbedder(c.Context, *cfg, c.String("adapter"), chosen, rep)
	if err != nil {
		return err
	}
	defer e.Close()
	texts, err := textsToEmbed(c, cfg, rep)
	if err != nil {
		return err
	}
	prefix := e.Config().DocumentPrefix
	if c.String("as") == asQuery {
		prefix = e.Config().QueryPrefix
	}
	m, err := e.Raw(c.Context, "embed", texts, prefix, false)
	if err != nil {
		return err
	}
	if n := c.Int("dimensions"); n > m.Width {
		return usagef("embed: --dimensions is %d, and the vectors have %d numbers; expected as many or fewer", n,
			m.Width)
	} else if n > 0 {
		m = m.First(n)
	}
	if c.String("normalize") == normalizeL2 {
		m.Normalize()
	}
	line := func(i int) embed.Line {
		return embed.Line{Source: texts[i].Source, Text: texts[i].Text, Vector: m.Row(i)}
	}
	if path := c.String("output"); path != "" {
		if err := embed.WriteFile(c.Context, path, m, line); err != nil {
			return err
		}
		return printEmbedded(c, e, m, path)
	}
	if !c.Bool("json") {
		return showVectors(c, e, m, texts)
	}
	for i := range texts {
		if err := printJSON(c.App.Writer, line(i)); err != nil {
			return err
		}
	}
	return nil
}

// checkEmbed refuses what cannot be asked for.
func checkEmbed(c *cli.Context, cfg *config.Config) error {
	switch {
	case c.NArg() == 0 && len(cfg.Data) == 0:
		return usagef("embed: there is no text; give some as arguments, or a file of them with --data")
	case c.NArg() > 0 && len(cfg.Data) > 0:
		return usagef("embed: texts are given as arguments and with --data; give one of them")
	case c.String("as") != asDocument && c.String("as") != asQuery:
		return usagef("embed: --as is %q; expected %s or %s", c.String("as"), asDocument, asQuery)
	case c.String("normalize") != normalizeL2 && c.String("normalize") != normalizeNone:
		return usagef("embed: --normalize is %q; expected %s or %s", c.String("normalize"), normalizeL2, normalizeNone)
	case c.Int("dimensions") < 0:
		return usagef("embed: --dimensions is %d; expected 0 (all) or more", c.Int("dimensions"))
	}
	path := c.String("output")
	if path == "" {
		return nil
	}
	if err := embed.CheckName(path); err != nil {
		return usagef("embed: --output %w", err)
	}
	return refuseExisting(c, path)
}

func textsToEmbed(c *cli.Context, cfg *config.Config, rep report.Reporter) (texts []corpus.Text, err error) {
	for i, t := range c.Args().Slice() {
		texts = append(texts, corpus.Text{Source: fmt.Sprintf("text %d", i+1), Text: t})
	}
	if len(texts) > 0 {
		return texts, nil
	}
	texts, notes, err := corpus.ReadTexts(c.Context, cfg, cfg.Data)
	for _, n := range notes {
		rep.Report(report.Notice{Text: n})
	}
	return texts, err
}

// printEmbedded says what was written.
func printEmbedded(c *cli.Context, e *run.Embedder, m vectors.Matrix, path string) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, map[string]any{"output": path, "texts": m.Len(), "width": m.Width,
			"pooling": e.Pooling()})
	}
	fmt.Fprintf(c.App.Writer, "%s: %s of %s, pooling %s\n", path, count.Of(m.Len(), "vector"),
		count.Of(m.Width, "number"), e.Pooling())
	return nil
}

// showVectors prints the beginning of each vector, and, of few, their cosines.
func showVectors(c *cli.Context, e *run.Embedder, m vectors.Matrix, texts []corpus.Text) error {
	const first, few, shown = 4, 10, 60
	w := c.App.Writer
	fmt.Fprintf(w, "%s of %s, pooling %s\n", count.Of(m.Len(), "vector"), count.Of(m.Width, "number"), e.Pooling())
	for i, t := range texts {
		var b strings.Builder
		for _, x := range m.Row(i)[:min(first, m.Width)] {
			fmt.Fprintf(&b, " %8.5f", x)
		}
		fmt.Fprintf(w, "%4d %s …  %s\n", i+1, b.String(), report.Shortened(t.Text, shown))
	}
	if len(texts) < 2 || len(texts) > few {
		return nil
	}
	fmt.Fprintf(w, "\ncosines\n    ")
	for i := range texts {
		fmt.Fprintf(w, " %7d", i+1)
	}
	fmt.Fprintln(w)
	for i := range texts {
		fmt.Fprintf(w, "%4d", i+1)
		for k := range texts {
			fmt.Fprintf(w, " %7.4f", vectors.Cosine(m.Row(i), m.Row(k)))
		}
		fmt.Fprintln(w)
	}
	return nil
}
