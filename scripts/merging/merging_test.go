package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/results"
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
	s := &study{options: options{out: file}}
	for _, r := range []result{{cell: cell{"m", "q4_1", merged, 200, 1}, Loss: 1, KL: &kl},
		{cell: cell{"m", "q4_1", merged, 200, 2}, Loss: 2, KL: &kl}, {cell: cell{"m", "q4_1", base, 200, 1}, Loss: 3},
		{cell: cell{"other", "q4_1", base, 200, 1}, Loss: 9}} {
		if err := s.add(r); err != nil {
			t.Fatal(err)
		}
	}
	results, err := results.Read[result](file)
	if err != nil || len(results) != 4 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	var b bytes.Buffer
	printTable(&b, results, "m", []string{"q4_1", "q8_0"}, 200)
	for _, want := range []string{"| q4_1 | 3.000 | not measured | 1.500 ± 0.707 (KL 0.25) |",
		"| q8_0 | not measured | not measured | not measured | not measured | not measured | not measured |  |  |\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

// TestSplit: what is held out is the same for all seeds and none of it is trained on; what there is too little of is
// said.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	var rows []map[string]string
	for i := range 800 {
		rows = append(rows, map[string]string{"instruction": fmt.Sprint("what is ", i), "output": fmt.Sprint(i)})
	}
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "d.json")
	if err := os.WriteFile(data, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "m"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := &study{options: options{data: data, work: dir, rows: 200}}
	lines := func(file string) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	var trains, helds [2][]string
	for i := range trains {
		train, held, err := s.split(cell{Model: "m", Seed: i + 1})
		if err != nil {
			t.Fatal(err)
		}
		trains[i], helds[i] = lines(train), lines(held)
	}
	if len(trains[0]) != 200 || len(helds[0]) != heldRows || slices.Equal(trains[0], trains[1]) ||
		!slices.Equal(helds[0], helds[1]) {
		t.Errorf("%d and %d rows, alike: %v and %v", len(trains[0]), len(helds[0]), slices.Equal(trains[0], trains[1]),
			slices.Equal(helds[0], helds[1]))
	}
	for _, l := range trains[1] {
		if slices.Contains(helds[0], l) {
			t.Errorf("%s is held out and trained on", l)
		}
	}
	s.rows = 5000
	if _, _, err := s.split(cell{Model: "m", Seed: 1}); err == nil || !strings.Contains(err.Error(), "expected 5000") {
		t.Errorf("more than there is: got %v", err)
	}
}
