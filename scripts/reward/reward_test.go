package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
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
train) mkdir "$run" && echo '{"seconds":3}' >"$run/report.json" ;;
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
	equal := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) < 1e-9) {
			t.Errorf("%s %g, want %g", what, got, want)
		}
	}
	equal("the longer is what is not found", r.Longer.Value, 1-r.Reward.Value)
	equal("each kind", r.Balanced.Value, 0.5)
	equal("words tell all", r.Words.Value, 1)
	equal("over words", r.OverWords.Value, r.Reward.Value-1)
	equal("over longer", r.OverLonger.Value, r.Reward.Value-r.Longer.Value)
	equal("seconds", r.Seconds, 3)
	// "be e nice" is far from the length of "no bad words at all", and "eee" from that of "a long kind answer".
	equal("pairs of nearly equal lengths", float64(r.NearPairs), 0)
	o.work = filepath.Join(dir, "work")
	for i := range 2 { // the second time mkdir would fail
		o.Out = filepath.Join(dir, fmt.Sprint("kept-", i))
		if err := o.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		again, err := study.Read[result](o.Out)
		if err != nil || len(again) != 2 || again[0].Failed != "" || again[0].Reward.Value != r.Reward.Value {
			t.Errorf("with kept runs: %+v, %v", again, err)
		}
	}
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

// TestAtEqualLength: a lead that is length alone adds nothing, one that has nothing to do with it does, and equal
// answers are near.
func TestAtEqualLength(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var byLength, byWorth []length
	for i := range 400 {
		longer, worth := r.NormFloat64(), r.NormFloat64()
		// What is chosen follows from both.
		if r.Float64() > 1/(1+math.Exp(-longer-worth)) {
			longer, worth = -longer, -worth
		}
		byLength = append(byLength, length{longer + r.NormFloat64()/2, 100 * longer, i / 2})
		byWorth = append(byWorth, length{3 * worth, 100 * longer, i / 2})
	}
	a, b := atEqualLength(byLength, 200, 1), atEqualLength(byWorth, 200, 1)
	if !(a.Interval[0] < 0 && a.Interval[1] > 0 && math.Abs(a.Value) < 0.4) {
		t.Errorf("by length alone: %+v", a)
	}
	if !(b.Interval[0] > 0.6 && b.Interval[1] < 1.6 && b.Value > b.Interval[0] && b.Value < b.Interval[1]) {
		t.Errorf("by worth: %+v, drawn with 1", b)
	}
	if !near(pair{"", "12345", "1234"}) || near(pair{"", "12345", "123"}) {
		t.Error("5 bytes are near 4, and not 3")
	}
}
