package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rivo/uniseg"
	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/watch"
	"github.com/ggtune/ggtune/finetune/watch/page"
	"github.com/ggtune/ggtune/internal/loopback"
)

func runsCommand() *cli.Command {
	return &cli.Command{
		Name:      "runs",
		Usage:     "list runs, and lay their losses over each other",
		UsageText: "[DIR…] [options]",
		Description: "Lists the runs in the directories named and below them; without one, in this one. Losses are " +
			"means\n" +
			"over the first and the last tenth of a run's steps, and what was measured on held-out rows before and " +
			"after.\n\n" +
			"  ggtune runs\n" +
			"  ggtune runs a b/run-2 --page\n" +
			"  ggtune runs a b/run-2 --svg losses.svg",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "svg", Usage: "draw the losses of all of them into `FILE`"},
			&cli.BoolFlag{Name: "page",
				Usage: "show them in the browser, as they go on; serves a page to this machine only"},
		}, append(pageFlags(), jsonFlag())...),
		Action: runsAction,
	}
}

func runsAction(c *cli.Context) error {
	if err := checkPort(c); err != nil {
		return err
	}
	if c.IsSet("port") && !c.Bool("page") {
		return usagef("runs: --port is of the page; give --page too")
	}
	roots := c.Args().Slice()
	if len(roots) == 0 {
		roots = []string{"."}
	}
	dirs, notes, err := watch.Find(c.Context, roots)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		return fmt.Errorf("runs: no run is in %s or below; --output of train names a run's directory",
			strings.Join(roots, ", "))
	}
	var entries []watch.Entry
	for _, dir := range dirs {
		e := watch.Look(dir)
		entries = append(entries, e)
		notes = append(notes, e.Faults...)
	}
	for _, n := range notes {
		fmt.Fprintln(c.App.ErrWriter, "note:", n)
	}
	if most := len(report.Colours()); len(dirs) > most && (c.Bool("page") || c.IsSet("svg")) {
		return fmt.Errorf("runs: %d runs are more than can be told apart in a drawing; name at most %d",
			len(dirs), most)
	}
	if path := c.String("svg"); path != "" {
		if err := drawRuns(path, entries); err != nil {
			return err
		}
	}
	if !c.Bool("page") {
		if c.Bool("json") {
			return printJSON(c.App.Writer, map[string]any{"runs": entries})
		}
		return runsTable(c.App.Writer, entries)
	}
	p := page.NewRuns("ggtune runs", dirs)
	l, err := loopback.Listen(c.Int("port"))
	if err != nil {
		return err
	}
	if err := showAddress(c, p.URL(l), map[string]any{"url": p.URL(l), "runs": entries}); err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, release := quietly(c.Context)
	defer release()
	return p.Serve(ctx, l, nil)
}

// showAddress tells where a page is: as JSON what says so.
func showAddress(c *cli.Context, url string, what any) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, what)
	}
	_, err := fmt.Fprintf(c.App.Writer, "Watch in a browser on this machine:\n\n  %s\n\nCtrl-C ends.\n", url)
	return err
}

// drawRuns draws the losses of runs over each other.
func drawRuns(path string, entries []watch.Entry) error {
	unit, curves, rewarded := entries[0].Unit, []report.Curve{}, 0
	for i := range entries {
		if entries[i].Unit != unit {
			unit = "" // losses of different kinds: the reader knows which they are
		}
		if entries[i].Rewards != nil {
			rewarded++
		}
		curves = append(curves, entries[i].Curve())
	}
	label := "loss"
	switch {
	case rewarded == len(entries):
		label = "reward"
	case rewarded > 0:
		label = "loss, or reward"
	case unit != "":
		label += " (" + report.LossUnit(unit) + ")"
	}
	return report.WriteCurves(path, label, curves)
}

// runsTable lists runs in a table, or, where the terminal is too narrow for it, each in lines of its own.
func runsTable(w io.Writer, entries []watch.Entry) error {
	rows := [][]string{{"run", "state", "method", "model", "data", "steps", "loss", "held out", "last step"}}
	for _, e := range entries {
		rows = append(rows, runsRow(e))
	}
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
	if s := screen(w); s.Columns != nil && s.Columns() > 0 && widest(text.String()) > s.Columns() {
		text.Reset()
		for _, row := range rows[1:] {
			fmt.Fprintln(&text, row[0])
			for i := range row[1:] {
				fmt.Fprintf(&text, "  %-9s  %s\n", rows[0][i+1], row[i+1])
			}
		}
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// runsRow is what a table says of a run.
func runsRow(e watch.Entry) []string {
	steps := fmt.Sprint(e.Step)
	if e.Steps != nil {
		steps += fmt.Sprintf("/%d", *e.Steps)
	}
	var data []string
	for _, d := range e.Data {
		data = append(data, filepath.Base(d))
	}
	when := "-"
	if e.Time != nil {
		when = e.Time.Local().Format(time.DateTime)
	}
	first, last, before, after := e.Told()
	loss := fromTo(first, last)
	if e.Rewards != nil {
		loss = "reward " + loss
	}
	return []string{oneLine(e.Path), string(e.State), e.Method, oneLine(filepath.Base(e.Model)),
		oneLine(strings.Join(data, ", ")), steps, loss, fromTo(before, after), when}
}

// widest is how many columns the widest line of text has.
func widest(text string) (columns int) {
	for line := range strings.Lines(text) {
		columns = max(columns, uniseg.StringWidth(strings.TrimSuffix(line, "\n")))
	}
	return columns
}

// fromTo shows two losses, or rewards, those of them that are known.
func fromTo(a, b *float64) string {
	show := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.4f", *x)
	}
	if a == nil && b == nil {
		return "-"
	}
	return show(a) + " -> " + show(b)
}

// oneLine keeps a name from breaking a table.
func oneLine(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}
