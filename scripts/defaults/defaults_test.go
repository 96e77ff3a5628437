package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrite: a smaller part is the beginning of a larger one, what is held out is the same beside both and shares no
// text with them, and what there is too little of is said.
func TestWrite(t *testing.T) {
	data, file := t.TempDir(), "answers.jsonl"
	var text bytes.Buffer
	for i := range 400 {
		fmt.Fprintf(&text, `{"prompt": "Passage: %d\nQuestion: %d?", "completion": " %d", "label": %t}`+"\n", i/8, i/4,
			i, i%2 == 0)
	}
	if err := os.WriteFile(filepath.Join(data, file), text.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	s := source{file: file, held: 8, share: 8, most: noLimit, rows: pairs}
	read := func(n int) (train, held []string) {
		t.Helper()
		a, b, err := s.write(data, t.TempDir(), n, 1)
		if err != nil {
			t.Fatal(err)
		}
		return lines(t, a), lines(t, b)
	}
	few, held := read(40)
	many, again := read(200)
	if len(few) != 40 || len(many) != 200 || strings.Join(few, "") != strings.Join(many[:40], "") ||
		len(held) != 8 || strings.Join(held, "") != strings.Join(again, "") {
		t.Errorf("got %d and %d rows, and %d and %d held out", len(few), len(many), len(held), len(again))
	}
	about := map[string]bool{}
	for _, l := range held {
		about[passage(t, l)] = true
	}
	for _, l := range many {
		if about[passage(t, l)] {
			t.Errorf("%s is about a text that is held out", l)
		}
	}
	_, _, err := s.write(data, t.TempDir(), 1000, 1)
	if err == nil || !strings.Contains(err.Error(), "expected 1000 and 8") {
		t.Errorf("more than there is: got %v", err)
	}
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func passage(t *testing.T, line string) string {
	t.Helper()
	var r struct{ Prompt string }
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatal(err)
	}
	p, _, _ := strings.Cut(r.Prompt, "\n")
	return p
}

// TestTable: every cell of the grids is there, measured or not, and the lowest loss of a cell stands out.
func TestTable(t *testing.T) {
	r := result{trial: trial{Model: "m.Q4", Method: "sft", Data: "short", Rows: 40, LR: 2e-4, Accum: 4, Epochs: 3,
		Seed: 1,
		Pack: packed}, Updates: 3, Before: 1.5, After: map[string]float64{"loss": 1.25}}
	better := r
	better.LR, better.After = 8e-4, map[string]float64{"loss": 1.125}
	var b bytes.Buffer
	printTable(&b, []result{r, better}, []model{{name: "m.Q4"}, {name: "other"}})
	for _, want := range []string{
		"| sft, short | 40 | m | 0.0002 | best-fit | 4 | 3 |  | 3 | 1.5000 → 1.2500 |  |  |  |\n",
		"| sft, short | 40 | m | 0.0008 | best-fit | 4 | 3 |  | 3 | 1.5000 → **1.1250** |  |  |  |\n",
		"| sft, short | 40 | other | not measured |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	if got, want := strings.Count(b.String(), "\n"), 2+2*len(grids)+1; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
}

// TestChecks: what ggtune chose stands beside the best of the grid, and what was not run is named.
func TestChecks(t *testing.T) {
	m := []model{{name: "m"}}
	var results []result
	for i, tr := range checks(m)[:4] {
		results = append(results, result{trial: tr, Before: 3, After: map[string]float64{"loss": 2 - float64(i%3)/4}})
	}
	var b bytes.Buffer
	printChecks(&b, results, m)
	want := "| m | short | 1 | 3.0000 | 2.0000 | 1.5000 | lr 0.0004 | +33.3 % |\n| m | code | 1 | not measured"
	if !strings.Contains(b.String(), want) || strings.Count(b.String(), "\n") != 2+9 {
		t.Errorf("lacks %q:\n%s", want, b.String())
	}
	if got := strings.Join(checks(m)[0].options(), " "); got != "--method sft --seed 1" {
		t.Errorf("what is left to ggtune is told: %s", got)
	}
	some := "--method sft --seed 1 --lr 0.0002 --accum 1"
	if got := strings.Join(checks(m)[3].options(), " "); got != some {
		t.Errorf("got %s", got)
	}
}

// TestRead: the base's figures are the report's, and the last step's the metrics'.
func TestRead(t *testing.T) {
	run := t.TempDir()
	for name, text := range map[string]string{
		"report.json": `{"eval_loss_before": 0.7, "steps": 9}`,
		"metrics.jsonl": `{"step": 8, "loss": 1}` + "\n" +
			`{"step": 9, "loss": 0.5, "eval_loss": 0.6, "eval_accuracy": 0.75}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(run, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var r result
	if err := r.read(run); err != nil {
		t.Fatal(err)
	}
	if r.Before != 0.7 || r.Updates != 9 || len(r.After) != 2 || r.After["loss"] != 0.6 || r.After["accuracy"] != 0.75 {
		t.Errorf("got %+v", r)
	}
}

// TestPlan: no trial is there twice, and each has data.
func TestPlan(t *testing.T) {
	seen := map[string]bool{}
	for _, tr := range plan([]model{{name: "a"}, {name: "b"}}) {
		if seen[tr.name()] {
			t.Errorf("%s is there twice", tr.name())
		}
		seen[tr.name()] = true
		if sources[tr.Data].rows == nil {
			t.Errorf("%s has no data", tr.name())
		}
	}
}
