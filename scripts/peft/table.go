package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// printTable prints the kinds as Markdown, in the order of kinds: means over seeds with the sample's standard
// deviation.
func (b *bench) printTable(w io.Writer) {
	model := b.trial(kinds[0], 1, 1, tokens).Model
	for _, r := range b.done {
		if r.Model == model && r.Rows == b.rows && r.Failed == "" {
			fmt.Fprintf(w, "%s, %d rows; the untouched base: %.3f\n\n", model, b.rows, r.Base)
			break
		}
	}
	fmt.Fprint(w, "| | trained | best `--lr` | held out | general text | its KL | peak | updates in a LoRA's time | "+
		"held out | general text |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, k := range kinds {
		best := b.best(k.name)
		if math.IsInf(best.Valid, 1) {
			fmt.Fprintf(w, "| %s | not measured |  |  |  |  |  |  |  |  |\n", k.name)
			continue
		}
		equal, timed := b.seedsOf(best.trial, tokens), b.seedsOf(best.trial, time)
		if k.name == kinds[0].name {
			timed = equal
		}
		fmt.Fprintf(w, "| %s | %d | %.2g | %s | %s | %s | %.0f MB | %s | %s | %s |\n", k.name, best.Trained, best.Rate,
			spread(equal, "%.3f", func(r result) float64 { return r.Test }),
			spread(equal, "%+.3f", func(r result) float64 { return r.General }),
			spread(equal, "%.3f", func(r result) float64 { return r.KL }), float64(best.Peak)/1e6,
			spread(timed, "%.0f", func(r result) float64 { return float64(r.Updates) }),
			spread(timed, "%.3f", func(r result) float64 { return r.Test }),
			spread(timed, "%+.3f", func(r result) float64 { return r.General }))
	}
}

// seedsOf gives the runs of a trial with all seeds.
func (b *bench) seedsOf(t trial, equal string) (out []result) {
	t.Equal = equal
	for t.Seed = 1; t.Seed <= b.Seeds; t.Seed++ {
		if r, is := b.find(t); is && r.Failed == "" {
			out = append(out, r)
		}
	}
	return out
}

// spread is the mean of a figure, with its deviation where there is more than one.
func spread(runs []result, form string, of func(result) float64) string {
	if len(runs) == 0 {
		return "not measured"
	}
	n := float64(len(runs))
	var mean, squares float64
	for _, r := range runs {
		mean += of(r) / n
	}
	for _, r := range runs {
		squares += (of(r) - mean) * (of(r) - mean)
	}
	text := fmt.Sprintf(form, mean)
	if len(runs) > 1 {
		text += fmt.Sprintf(" ± "+strings.ReplaceAll(form, "+", ""), math.Sqrt(squares/(n-1)))
	}
	return text
}
