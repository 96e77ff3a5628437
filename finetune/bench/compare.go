package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Change is one case's ratio in two reports.
type Change struct {
	Model, Type, Case string
	Old, New          float64
	Fell              bool // by more than the tolerance
}

// ErrFell is what the error of a comparison matches when a ratio fell by more than was allowed.
var ErrFell = errors.New("slower than before")

// Compare sets the ratios of every case that both reports have side by side: tokens trained to llama.cpp's tokens read,
// which carries from one machine to another better than speeds do. tolerance is the part of the old ratio by which the
// new may fall, 0 to 1. The error matches ErrFell if any fell further; reports with no case in common, or measured at
// different levels or beside another llama.cpp, are an error too.
func Compare(old, now *Report, tolerance float64) ([]Change, error) {
	if !(tolerance >= 0 && tolerance < 1) {
		return nil, fmt.Errorf("tolerance is %g, expected 0 to below 1", tolerance)
	}
	if old.Level != "" && old.Level != now.Level {
		return nil, fmt.Errorf("the old report was measured with kernels for %s, this one for %s, so that ratios say "+
			"nothing of a change; measure both at one --level", old.Level, now.Level)
	}
	if old.LlamaCpp != nil && !slices.Equal(old.LlamaCpp, now.LlamaCpp) {
		return nil, fmt.Errorf("the old report was measured beside a llama.cpp compiled for %s, this one beside one "+
			"for %s, so that ratios say nothing of a change; measure both with the same flags",
			strings.Join(old.LlamaCpp, " "), strings.Join(now.LlamaCpp, " "))
	}
	type key struct {
		model, typ, name string
		tokens, rank     int
	}
	of := func(c *Case) key {
		k := key{model: c.Model, typ: c.Type, name: c.Case, tokens: c.Tokens}
		if c.Rank != nil {
			k.rank = *c.Rank
		}
		return k
	}
	before := map[key]float64{}
	for i := range old.Cases {
		before[of(&old.Cases[i])] = old.Cases[i].Ratio
	}
	var out []Change
	fell := 0
	for i := range now.Cases {
		c := &now.Cases[i]
		was, ok := before[of(c)]
		if !ok {
			continue
		}
		ch := Change{Model: c.Model, Type: c.Type, Case: c.Case, Old: was, New: c.Ratio,
			Fell: !(c.Ratio >= was*(1-tolerance))}
		if ch.Fell {
			fell++
		}
		out = append(out, ch)
	}
	if len(out) == 0 {
		return nil, errors.New("the two reports have no case of the same model, type, row length and rank in common; " +
			"measure what the old report did")
	}
	if fell > 0 {
		return out, fmt.Errorf("%d of %d ratios are %w, by more than %g%%", fell, len(out), ErrFell, 100*tolerance)
	}
	return out, nil
}
