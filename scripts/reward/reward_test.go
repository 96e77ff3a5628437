package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/study"
)

// A program that trains nothing, and finds an answer the better the more often it has an e.
const pretender = `#!/bin/sh
command=$1
while [ $# -gt 0 ]; do
	case "$1" in
	-d) data=$2 ;;
	-o) run=$2 ;;
	esac
	shift
done
case "$command" in
train) mkdir "$run" ;;
score)
	n=0
	while read -r line; do
		n=$((n + 1))
		for which in chosen rejected; do
			answer=$(printf '%s' "$line" | sed "s/.*\"$which\":\"\([^\"]*\)\".*/\1/" | tr -cd e)
			echo "{\"source\":\"$data:$n\",\"answer\":\"$which\",\"score\":${#answer}.5}"
		done
	done <"$data" ;;
esac
`

// TestStudy: the file of results goes on where it was, and the figures are those of the scores.
func TestStudy(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pretender")
	if err := os.WriteFile(program, []byte(pretender), 0o777); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range 90 {
		chosen, rejected := "be e nice", "no bad words at all" // shorter, and found
		if i%3 == 0 {
			chosen, rejected = "a long kind answer", "eee" // longer, and not found
		}
		line, err := json.Marshal(map[string]string{"prompt": fmt.Sprintf("Passage %d\nQuestion", i/2),
			"chosen": chosen, "rejected": rejected})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	if err := os.WriteFile(filepath.Join(dir, sets[1].file), []byte(strings.Join(lines, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	o := options{Options: study.Options{Ggtune: program, Out: filepath.Join(dir, "o.jsonl"), Seeds: 2, Threads: 1},
		data: dir, model: "m.gguf", only: "mc-taco"}
	for range 2 {
		if err := o.run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	done, err := study.Read[result](o.Out)
	if err != nil || len(done) != 2 {
		t.Fatalf("%d results, want 2: %v", len(done), err)
	}
	r := done[0]
	if r.Failed != "" || r.Train+r.Held != 90 || r.Groups != r.Held/2 || done[1].Held != r.Held {
		t.Fatalf("%+v", r)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) < 1e-9) {
			t.Errorf("%s %g, want %g", what, got, want)
		}
	}
	near("the longer is what is not found", r.Longer.Value, 1-r.Reward.Value)
	near("each kind", r.Balanced.Value, 0.5)
	near("words tell all", r.Words.Value, 1)
	near("over words", r.OverWords.Value, r.Reward.Value-1)
	near("over longer", r.OverLonger.Value, r.Reward.Value-r.Longer.Value)
	o.Table = true
	if err := o.run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestSplit: seeds differ in order alone, and no group is on both sides.
func TestSplit(t *testing.T) {
	s := sets[1]
	var all []pair
	for i := range 300 {
		all = append(all, pair{fmt.Sprintf("passage %d\nquestion %d", i/3, i), "a", "b"})
	}
	train, held := s.split(all, 1, 0, 0)
	other, same := s.split(all, 2, 0, 0)
	if len(train)+len(held) != 300 || len(held) < 60 || len(held) > 140 || !slices.Equal(held, same) ||
		slices.Equal(train, other) {
		t.Errorf("%d and %d pairs", len(train), len(held))
	}
	seen := map[string]bool{}
	for _, p := range train {
		seen[s.group(p.prompt)] = true
	}
	for _, p := range held {
		if seen[s.group(p.prompt)] {
			t.Errorf("%q is trained on too", p.prompt)
		}
	}
	if train, held := s.split(all, 1, 10, 20); len(train) != 10 || len(held) != 20 {
		t.Errorf("asked for 10 and 20, got %d and %d", len(train), len(held))
	}
}

// TestWordModel: it learns which word is liked, and says nothing of unknown ones.
func TestWordModel(t *testing.T) {
	lead := wordModel([]pair{{"", "Thank you, sir", "Hey you"}, {"", "thank them", "hey them"}})
	if x := lead(pair{"", "thank all", "hey all"}); !(x > 1) {
		t.Errorf("lead %g, want more than 1", x)
	}
	if x := lead(pair{"", "new", "words"}); x != 0 {
		t.Errorf("lead %g of unknown words", x)
	}
}
