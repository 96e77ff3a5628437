package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// printTable writes what was measured as Markdown, cell by cell: method, number of rows, model. The lowest loss of
// answers in a cell is set in bold (those of preferences compare only with the same β), and a cell without a run is
// named.
func printTable(w io.Writer, results []result, models []model) {
	fmt.Fprintln(w, "| method, data | rows | model | lr | packing | accum | epochs | β | updates | held-out loss "+
		"| accuracy | margin | kl |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, g := range grids {
		for _, m := range models {
			data := dataOf(g.method, g.rows)
			var cell []result
			for _, r := range results {
				if r.Method == g.method && r.Rows == g.rows && r.Model == m.name && r.Data == data && r.Seed == 1 &&
					r.LR > 0 {
					cell = append(cell, r)
				}
			}
			head := fmt.Sprintf("| %s, %s | %d | %s", g.method, data, g.rows, short(m.name))
			if len(cell) == 0 {
				fmt.Fprintf(w, "%s | not measured | | | | | | | | | |\n", head)
			}
			slices.SortStableFunc(cell, func(a, b result) int { return cmp.Compare(a.setting(), b.setting()) })
			best := slices.MinFunc(append(cell, result{After: map[string]float64{"loss": 1e9}}), byLoss)
			for _, r := range cell {
				fmt.Fprintln(w, head+r.row(r.Method == "sft" && r.name() == best.name()))
			}
		}
	}
}

func byLoss(a, b result) int { return cmp.Compare(a.After["loss"], b.After["loss"]) }

// short is a model's name without its storage type.
func short(model string) string {
	name, _, _ := strings.Cut(model, ".")
	return strings.TrimSuffix(strings.TrimSuffix(name, "-q4_k_m"), "-q8_0")
}

// setting orders the runs of a cell.
func (r result) setting() string {
	return fmt.Sprintf("%s %d %02d %g %.7f", r.Pack, r.Accum, r.Epochs, r.Beta, r.LR)
}

func (r result) row(best bool) string {
	loss := fmt.Sprintf("%.4f", r.After["loss"])
	if best {
		loss = "**" + loss + "**"
	}
	figure := func(name string) string {
		if x, ok := r.After[name]; ok {
			return fmt.Sprintf("%.3f", x)
		}
		return ""
	}
	beta := ""
	if r.Method != "sft" {
		beta = fmt.Sprint(r.Beta)
	}
	return fmt.Sprintf(" | %g | %s | %d | %d | %s | %d | %.4f → %s | %s | %s | %s |", r.LR, r.Pack, r.Accum, r.Epochs,
		beta, r.Updates, r.Before, loss, figure("accuracy"), figure("margin"), figure("kl"))
}

// printChecks writes, for each model, data set and seed, the loss of what ggtune chose beside the lowest of the grid.
func printChecks(w io.Writer, results []result, models []model) {
	fmt.Fprintln(w, "| model | data | seed | base | defaults | best of the grid | with | defaults are |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	done := map[string]result{}
	for _, r := range results {
		done[r.name()] = r
	}
	var own *result
	var grid []result
	trials := checks(models)
	for i, t := range trials {
		if r, is := done[t.name()]; is && t.LR == 0 {
			own = &r
		} else if is {
			grid = append(grid, r)
		}
		if last := i+1 == len(trials) || trials[i+1].LR == 0; !last {
			continue
		}
		head := fmt.Sprintf("| %s | %s | %d |", short(t.Model), t.Data, t.Seed)
		if own == nil || len(grid) == 0 {
			fmt.Fprintln(w, head+" not measured | | | | |")
		} else {
			best := slices.MinFunc(grid, byLoss)
			x, y := own.After["loss"], best.After["loss"]
			with := fmt.Sprintf("lr %g", best.LR)
			if best.Accum != 0 {
				with += fmt.Sprintf(", accum %d", best.Accum)
			}
			fmt.Fprintf(w, "%s %.4f | %.4f | %.4f | %s | %+.1f %% |\n", head, own.Before, x, y, with, 100*(x/y-1))
		}
		own, grid = nil, nil
	}
}
