package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/study"
)

// TestCells: none is there twice, and --mergeable only where it can be.
func TestCells(t *testing.T) {
	seen := map[cell]bool{}
	for _, c := range cells("m", []string{"q8_0", "q4_1"}, 200, 1) {
		if seen[c] {
			t.Errorf("%s is there twice", c)
		}
		seen[c] = true
	}
	for c, want := range map[cell]bool{{"m", full, merged, 200, 1}: true, {"m", full, from, 200, 1}: false,
		{"m", "q8_0", tied, 200, 1}: false, {"m", "q4_1", tiedIn, 200, 1}: true, {"m", "q8_0", fullQuant, 200,
			1}: true} {
		if seen[c] != want {
			t.Errorf("%s: there %v, want %v", c, seen[c], want)
		}
	}
}

// TestTable: the mean over seeds with its deviation, the divergence behind a merged model, and what was not measured.
func TestTable(t *testing.T) {
	kl := 0.25
	file := filepath.Join(t.TempDir(), "cells.jsonl")
	s := &bench{options: options{Options: study.Options{Out: file}}}
	for _, r := range []result{{cell: cell{"m", "q4_1", merged, 200, 1}, Loss: 1, KL: &kl},
		{cell: cell{"m", "q4_1", merged, 200, 2}, Loss: 2, KL: &kl}, {cell: cell{"m", "q4_1", base, 200, 1}, Loss: 3},
		{cell: cell{"other", "q4_1", base, 200, 1}, Loss: 9}} {
		if err := s.add(r); err != nil {
			t.Fatal(err)
		}
	}
	results, err := study.Read[result](file)
	if err != nil || len(results) != 4 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	var b bytes.Buffer
	printTable(&b, results, "m", []string{"q4_1", "q8_0"}, 200)
	for _, want := range []string{"| q4_1 | 3.000 | not measured | 1.500 ± 0.707 (KL 0.25) | not measured |",
		"| q8_0 |" + strings.Repeat(" not measured |", 7) + "  |  |\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}
