package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

// inspectOptions are those of training that change what a row looks like, and what the data is held against.
func inspectOptions(o config.Option) bool {
	switch o.Name {
	case "data", "threads", "device", "exact", "batch", "eval-rows":
		return false
	case "dedup", "eval-data", "mix":
		return true
	}
	return o.Eval
}

// dataInfo is what inspect says of a dataset.
type dataInfo struct {
	Kind string   `json:"kind"` // "data"
	Path []string `json:"path"`
	*corpus.View
}

func inspectData(c *cli.Context, path string) error {
	cfg, _, err := settings(c)
	if err != nil {
		return err
	}
	cfg.Data = []string{path}
	if err := cfg.ValidateInspect(); err != nil {
		return err
	}
	if c.Int("rows") < 0 {
		return usagef("inspect: --rows is %d, expected 0 or more", c.Int("rows"))
	}
	v, err := corpus.Inspect(c.Context, cfg, c.Int("rows"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, dataInfo{"data", cfg.Data, v})
	}
	printData(c.App.Writer, path, v)
	return nil
}

func printData(w io.Writer, path string, v *corpus.View) {
	t := &strings.Builder{}
	fmt.Fprintf(t, "%s: data, format %s\n", path, v.Format)
	fmt.Fprintf(t, "  files        %d\n  records      %d\n  examples     %d\n", v.Stats.Files, v.Stats.Records,
		v.Stats.Kept)
	for _, d := range v.Stats.Dropped {
		fmt.Fprintf(t, "  dropped      %d: %s (first: %s)\n", d.Count, d.Reason, strings.Join(d.First, ", "))
	}
	fmt.Fprintf(t, "  sha256       %s\n", v.SHA256)
	if v.Template != "" {
		fmt.Fprintf(t, "  template     %s\n", v.Template)
	}
	if v.Counts != nil {
		fmt.Fprintf(t, "\n%s", report.CountsTable(*v.Counts, v.Held))
	}
	printTable(w, t.String())
	printNotes(w, v.Notes)
	if v.Counts == nil {
		for _, x := range v.Examples {
			printExample(w, &x)
		}
		fmt.Fprintln(w, "\nWith -m model.gguf the rows are shown as the model will see them.")
		return
	}
	for _, row := range v.Rows {
		fmt.Fprintf(w, "\nrow %d\n", row.Row)
		for _, it := range row.Items {
			printItem(w, &it)
		}
	}
	if len(v.Rows) > 0 {
		fmt.Fprintln(w, "\n* marks the tokens that are trained on.")
	}
}

func printNotes(w io.Writer, notes []string) {
	for _, note := range notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
}

// printExample shows an example before any template.
func printExample(w io.Writer, x *data.Example) {
	fmt.Fprintf(w, "\n%s\n", x.Source)
	switch x.Kind {
	case data.KindMessages:
		printTurns(w, x.Messages)
	case data.KindPair, data.KindVerdict:
		if x.Answers[0].Messages == nil {
			fmt.Fprintf(w, "  %-11s %s\n", "prompt", clip(x.Prompt))
		}
		printTurns(w, x.Messages)
		for i := range x.Answers {
			printAnswer(w, answerName(x, i), &x.Answers[i])
		}
	case data.KindCompletion:
		fmt.Fprintf(w, "  %-11s %s\n  %-11s %s\n", "prompt", clip(x.Prompt), "completion", clip(x.Completion))
	case data.KindText:
		fmt.Fprintf(w, "  %-11s %s\n", "text", clip(x.Text))
	case data.KindGroup:
		for i, t := range x.Texts {
			fmt.Fprintf(w, "  %-11s %s\n", []string{"anchor", "positive", "negative"}[min(i, 2)], clip(t))
		}
	case data.KindLikeness:
		for _, t := range x.Texts {
			fmt.Fprintf(w, "  %-11s %s\n", "text", clip(t))
		}
		fmt.Fprintf(w, "  %-11s %g\n", "score", x.Score)
	}
}

func printTurns(w io.Writer, turns []data.Message) {
	for _, m := range turns {
		fmt.Fprintf(w, "  %-11s %s\n", m.Role, clip(m.Content))
	}
}

// answerName says what answer i of a pair or a verdict is.
func answerName(x *data.Example, i int) string {
	switch {
	case x.Kind == data.KindPair:
		return []string{"chosen", "rejected"}[i]
	case x.Desirable:
		return "desirable"
	}
	return "undesirable"
}

func printAnswer(w io.Writer, name string, a *data.Answer) {
	if a.Messages == nil {
		fmt.Fprintf(w, "  %-11s %s\n", name, clip(a.Text))
		return
	}
	fmt.Fprintf(w, "  %s\n", name)
	for _, m := range a.Messages {
		fmt.Fprintf(w, "    %-10s %s\n", m.Role, clip(m.Content))
	}
}

// clip quotes the beginning of a text.
func clip(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return strconv.Quote(string(r[:most])) + fmt.Sprintf(" … (%d characters)", len(r))
	}
	return strconv.Quote(s)
}

// printItem shows the tokens of one example: id, mark, text.
func printItem(w io.Writer, it *corpus.ItemView) {
	counted := 0
	for _, t := range it.Tokens {
		if t.Counted {
			counted++
		}
	}
	fmt.Fprintf(w, "%s: %s, %d counted\n", it.Source, count.Of(len(it.Tokens), "token"), counted)
	for i, t := range it.Tokens {
		if it.Segments != nil && (i == 0 || t.Segment != it.Tokens[i-1].Segment) {
			fmt.Fprintf(w, "  %s:\n", it.Segments[t.Segment])
		}
		mark := ' '
		if t.Counted {
			mark = '*'
		}
		fmt.Fprintf(w, "  %7d %c %s\n", t.ID, mark, strconv.Quote(t.Text))
	}
}
