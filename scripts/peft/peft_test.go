package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/study"
)

// a program that trains nothing: the loss follows from the learning rate, and is least at 9e-3.
const pretender = `#!/bin/sh
case "$1" in
plan) echo '{"trained_parameters": 7}' ;;
eval) echo '{"loss": 2.5}' ;;
train)
	while [ $# -gt 0 ]; do
		case "$1" in
		-o) run=$2 ;;
		--lr) lr=$2 ;;
		esac
		shift
	done
	case "$lr" in
	0.009) loss=1 ;;
	0.003) loss=2 ;;
	0.081 | 0.027 | 0.24) echo diverged >&2; exit 1 ;;
	*) loss=3 ;;
	esac
	mkdir "$run"
	touch "$run/adapter.gguf"
	echo "{\"steps\": 20, \"eval_loss_after\": $loss, \"peak_bytes\": 5000000,
		\"general\": {\"loss_before\": 3, \"loss_after\": 3.25, \"kl\": 0.5}}" >"$run/report.json" ;;
esac
`

// TestSearch: the learning rate is searched for beyond the three that it begins with, the other seeds take the best,
// and what is in the file is not run again. A run that fails is a result.
func TestSearch(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pretender")
	if err := os.WriteFile(program, []byte(pretender), 0o777); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "d.json")
	var rows []string
	for i := range 2000 {
		what := strings.Repeat("x", i%100) + strings.Repeat("y", i/100)
		rows = append(rows, `{"instruction": "say `+what+`", "output": "z"}`)
	}
	if err := os.WriteFile(data, []byte("["+strings.Join(rows, ",")+"]"), 0o666); err != nil {
		t.Fatal(err)
	}
	b := &bench{options: options{Options: study.Options{Ggtune: program, Out: filepath.Join(dir, "o.jsonl"), Seeds: 2,
		Threads: 1}, data: data, model: "m.gguf", rate: 1e-3, rows: 10, accum: 3}}
	if err := b.kind(context.Background(), kinds[0]); err != nil {
		t.Fatal(err)
	}
	var rates []float64
	for _, r := range b.done {
		if r.Seed == 1 {
			rates = append(rates, r.Rate)
		}
	}
	if want := []float64{0.00033, 0.001, 0.003, 0.009, 0.027}; !slices.Equal(rates, want) {
		t.Errorf("rates %v, want %v", rates, want)
	}
	if last := b.done[len(b.done)-1]; last.Seed != 2 || last.Rate != 0.009 || last.Trained != 7 {
		t.Errorf("the last run is %+v", last)
	}
	if err := b.kind(context.Background(), kinds[1]); err != nil {
		t.Fatal(err)
	}
	if r, is := b.find(b.trial(kinds[1], 0.009, 2, time)); !is || r.Failed != "" {
		t.Errorf("as long as a LoRA takes: %+v, %v", r, is)
	}
	if err := b.one(context.Background(), kinds[1], b.trial(kinds[1], 0.081, 1, tokens)); err != nil {
		t.Fatal(err)
	}
	if r := b.done[len(b.done)-1]; !strings.Contains(r.Failed, "diverged") {
		t.Errorf("a run that fails: %+v", r)
	}
	all, err := study.Read[result](b.Out)
	if err != nil || len(all) != len(b.done) {
		t.Fatalf("%d results of %d, %v", len(all), len(b.done), err)
	}
	again := &bench{options: b.options, done: all}
	if err := again.kind(context.Background(), kinds[0]); err != nil || len(again.done) != len(all) {
		t.Errorf("%d runs made again, %v", len(again.done)-len(all), err)
	}
	refused := kind{name: "refused", rate: 81}
	if err := b.kind(context.Background(), refused); err != nil || b.done[len(b.done)-1].Kind != "refused" ||
		b.done[len(b.done)-1].Rate == 0 {
		t.Errorf("a kind that no run ends of: %+v, %v", b.done[len(b.done)-1], err)
	}
	var table bytes.Buffer
	again.printTable(&table)
	for _, want := range []string{"the untouched base: 2.500", "| LoRA | 7 | 0.009 | 2.500 ± 0.000 | +0.250 ± 0.000 |",
		"| full | not measured |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("lacks %q:\n%s", want, table.String())
		}
	}
}
