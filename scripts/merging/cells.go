package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// A cell is one figure of the table: a model in a storage type, with an adapter, on the rows held out for a seed.
type cell struct {
	Model string `json:"model"` // the full-precision file's name
	Type  string `json:"type"`  // full, or a storage type
	What  string `json:"what"`
	Rows  int    `json:"rows"` // trained on
	Seed  int    `json:"seed"`
}

func (c cell) String() string {
	return fmt.Sprintf("%s %s %s, %d rows, seed %d", c.Model, c.Type, c.What, c.Rows, c.Seed)
}

// What a cell is of.
const (
	base   = "base"                                    // no adapter
	apart  = "trained here, apart"                     // an adapter trained beside these weights, and kept apart
	merged = "trained here, merged"                    // the same, merged into them
	near   = "trained here, merged --rounding nearest" // the same, each weight to the nearest, as other tools do
	from   = "trained here, merged " +
		"--from" // the same, merged into the full-precision weights, which are then quantized
	fullApart = "trained on full, apart"       // an adapter trained beside the full-precision weights, beside these
	fullQuant = "trained on full, merged then" // the same merged into them, and the result quantized to this type
	tied      = "--mergeable, apart"
	tiedIn    = "--mergeable, merged"
)

const full = "full"

// columns are the table's, in order.
var columns = []string{base, apart, merged, near, from, fullApart, fullQuant, tied, tiedIn}

// has says whether there is such a cell for a type.
func has(typ, what string) bool {
	switch what {
	case near, from, fullApart, fullQuant:
		return typ != full
	case tied, tiedIn:
		return typ == "q4_1" || typ == "q5_1"
	}
	return true
}

// cells lists those of a model and a seed.
func cells(model string, types []string, rows, seed int) (out []cell) {
	for _, t := range append([]string{full}, types...) {
		for _, what := range columns {
			if has(t, what) {
				out = append(out, cell{model, t, what, rows, seed})
			}
		}
	}
	return out
}

// name is a model's in the table.
func name(file string) string { return strings.TrimSuffix(filepath.Base(file), ".gguf") }

// printTable prints a model's cells as Markdown: the mean over seeds, with the standard deviation where there are more.
// Behind merged cells stands the divergence from the adapter kept apart.
func printTable(w io.Writer, results []result, model string, types []string, rows int) {
	fmt.Fprintf(w, "%s, %d rows:\n\n| | %s |\n|---|%s\n", model, rows, strings.Join(columns, " | "),
		strings.Repeat("---|", len(columns)))
	for _, t := range append([]string{full}, types...) {
		fmt.Fprintf(w, "| %s |", t)
		for _, what := range columns {
			fmt.Fprintf(w, " %s |", entry(results, model, t, what, rows))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

func entry(results []result, model, typ, what string, rows int) string {
	if !has(typ, what) {
		return ""
	}
	var losses, kl []float64
	for _, r := range results {
		if r.Rows == rows && r.Model == model && r.Type == typ && r.What == what {
			losses = append(losses, r.Loss)
			if r.KL != nil {
				kl = append(kl, *r.KL)
			}
		}
	}
	if len(losses) == 0 {
		return "not measured"
	}
	mean, dev := spread(losses)
	text := fmt.Sprintf("%.3f", mean)
	if len(losses) > 1 && what != base { // which is the same for all seeds
		text += fmt.Sprintf(" ± %.3f", dev)
	}
	if len(kl) > 0 && slices.Contains([]string{merged, near, tiedIn}, what) {
		mean, _ := spread(kl)
		text += fmt.Sprintf(" (KL %.2g)", mean)
	}
	return text
}

// spread gives the mean and the sample's standard deviation.
func spread(x []float64) (mean, dev float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		dev += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(dev / float64(max(len(x)-1, 1)))
}
