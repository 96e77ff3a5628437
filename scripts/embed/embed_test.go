package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/study"
)

// A program that trains nothing, and finds a figure twice as good as before.
const pretender = `#!/bin/sh
command=$1
while [ $# -gt 0 ]; do
	case "$1" in
	-o) run=$2 ;;
	--corpus) words=',"bm25":{"ndcg@10":0.3}' ;;
	esac
	shift
done
case "$command" in
train) mkdir "$run" && echo '{"seconds":3}' >"$run/report.json" ;;
eval) echo '{"ndcg@10":0.5,"base_ndcg@10":0.25,"ndcg@10_change_interval":[0.1,0.4],"spearman":0.8,"base_spearman":0.4,"spearman_change_interval":[0.2,0.6]'"$words"'}' ;;
esac
`

// TestStudy: what is measured is written once, and what is there already is not run again.
func TestStudy(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pretender")
	if err := os.WriteFile(program, []byte(pretender), 0o777); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf(`{"question": "q%d", "answer": "a%d"}`, i, i))
	}
	files := map[string]string{"medquad_qa.jsonl": strings.Join(lines, "\n"),
		"stsb-de-train.csv": "a,b,1.5\nc,\"d, e\",0\n", "stsb-de-dev.csv": "f,g,5\n", "stsb-en-dev.csv": "h,i,2\n",
		"stsb-en-train.csv": "k,l,1\nl,k,3\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	o := options{data: dir, model: "m.gguf"}
	o.Ggtune, o.Out, o.Seeds = program, filepath.Join(dir, "runs.jsonl"), 2
	for range 2 {
		if err := o.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := study.Read[result](o.Out)
	if err != nil || len(got) != 8 {
		t.Fatalf("%+v, %v", got, err)
	}
	words := 0.3
	want := finding{On: "held-out questions", Figure: "ndcg@10", Before: 0.25, After: 0.5,
		Interval: [2]float64{0.1, 0.4}, BM25: &words}
	said := func(x any) string {
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if r := got[0]; r.Failed != "" || r.Train+r.Held != 40 || r.Held == 0 || r.Seconds != 3 ||
		said(r.Found) != said([]finding{want}) {
		t.Errorf("%+v", r)
	}
	if r := got[2]; r.Failed != "" || r.Train != 2 || r.Held != 1 || len(r.Found) != 2 || r.Found[1].After != 0.8 {
		t.Errorf("%+v", r)
	}
	if r := got[6]; r.Failed != "" || r.Train != 2 || r.Held != 1 || r.Steps != manySteps || len(r.Found) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestMissing: a figure that is not said is no figure.
func TestMissing(t *testing.T) {
	if f, err := findingOf(map[string]any{"ndcg@10": 0.5}, sets[0].measured[0]); err == nil {
		t.Errorf("%+v", f)
	}
}
