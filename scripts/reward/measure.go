package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/internal/study"
)

// A trial says what a result is of.
type trial struct {
	Model    string `json:"model"`
	Set      string `json:"set"`
	Seed     int    `json:"seed"`
	Rows     int    `json:"rows"`      // asked for; 0: all
	HeldRows int    `json:"held_rows"` // asked for; 0: all
}

// A result is what came of a trial. Accuracies are with 95 % intervals over groups that are held out together.
type result struct {
	trial
	Train   int        `json:"train"` // pairs
	Held    int        `json:"held"`
	Groups  int        `json:"groups"`
	Seconds float64    `json:"seconds"`
	Reward  eval.Share `json:"reward"`
	Longer  eval.Share `json:"longer"`
	Words   eval.Share `json:"words"`
	// Of pairs of which the longer answer is chosen, and those of which the shorter one is, the mean of both
	// accuracies: length alone gives a half there.
	Balanced eval.Share `json:"balanced"`
	// Of pairs of nearly equal lengths, and how many they are.
	Near      *eval.Share `json:"near,omitempty"` // nil: there are none
	NearPairs int         `json:"near_pairs"`
	// What a standard deviation of the reward's lead adds to the log-odds of being chosen where lengths are equal.
	AtEqual *eval.Share `json:"at_equal_length,omitempty"`
	// How much more often the reward model is right than either, pair by pair.
	OverLonger eval.Share `json:"over_longer"`
	OverWords  eval.Share `json:"over_words"`
	Failed     string     `json:"failed,omitempty"`
}

func (o options) one(ctx context.Context, s set, t trial) (r result, err error) {
	r.trial = t
	all, err := s.read(o.data)
	if err != nil {
		return r, err
	}
	dir := filepath.Join(o.work, fmt.Sprintf("%s-%d-%d", s.name, t.Rows, t.Seed))
	if o.work == "" {
		if dir, err = os.MkdirTemp("", "ggtune-reward-"); err != nil {
			return r, err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return r, err
	}
	train, held := s.split(all, uint64(t.Seed), o.rows, o.held)
	r.Train, r.Held = len(train), len(held)
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := s.write(file("train.jsonl"), train); err != nil {
		return r, err
	}
	if err := s.write(file("held.jsonl"), held); err != nil {
		return r, err
	}
	if r.Seconds, err = o.trained(ctx, s, t, file("train.jsonl"), file("run")); err != nil {
		return r, err
	}
	out, err := o.ask(ctx, "score", "-a", file("run"), "-d", file("held.jsonl"), "--json")
	if err != nil {
		return r, err
	}
	leads, err := leadsOf(out, len(held))
	if err != nil {
		return r, err
	}
	r.sumUp(s, held, leads, wordModel(train))
	return r, nil
}

// trained trains a run, unless that has been done, and says how long it took.
func (o options) trained(ctx context.Context, s set, t trial, data, run string) (seconds float64, err error) {
	if seconds, err = secondsOf(run); err == nil {
		return seconds, nil
	}
	if err := os.RemoveAll(run); err != nil {
		return 0, err
	}
	args := []string{"-d", data, "-o", run, "--method", "reward", "--seed", strconv.Itoa(t.Seed), "--eval-split", "0",
		"--json"}
	if s.row > 0 {
		args = append(args, "--seq-len", strconv.Itoa(s.row))
	}
	if _, err := o.ask(ctx, "train", args...); err != nil {
		return 0, err
	}
	return secondsOf(run)
}

// secondsOf reads how long training took from the report that a run ends with.
func secondsOf(run string) (float64, error) {
	var report struct{ Seconds float64 }
	text, err := os.ReadFile(filepath.Join(run, "report.json"))
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	return report.Seconds, err
}

// ask runs the program with the model, and gives what it printed.
func (o options) ask(ctx context.Context, command string, args ...string) (said string, err error) {
	_, err = study.Ask(ctx, &said, o.Ggtune, append([]string{command, "-m", o.model, "--threads",
		strconv.Itoa(o.Threads)}, args...)...)
	return said, err
}

// leadsOf reads the scores of pairs: by how much each chosen answer is ahead, by the line of its pair. A pair that was
// left out, being longer than a row, is not there.
func leadsOf(out string, pairs int) (map[int]float64, error) {
	leads := map[int]float64{}
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var x struct {
			Source, Answer string
			Score          float64
		}
		if err := dec.Decode(&x); err == io.EOF {
			return leads, nil
		} else if err != nil {
			return nil, err
		}
		line, err := strconv.Atoi(x.Source[strings.LastIndexByte(x.Source, ':')+1:])
		if err != nil || line < 1 || line > pairs {
			return nil, fmt.Errorf("a score of %q, of %d pairs", x.Source, pairs)
		}
		if x.Answer == "rejected" {
			x.Score = -x.Score
		}
		leads[line-1] += x.Score
	}
}

// sumUp works out the accuracies.
func (r *result) sumUp(s set, held []pair, leads map[int]float64, words func(pair) float64) {
	var g grouped
	for i, p := range held {
		lead, is := leads[i]
		if !is {
			continue
		}
		group := p.prompt
		if s.group != nil {
			group = s.group(group)
		}
		length := len(p.chosen) - len(p.rejected)
		g.add(group, side(lead), side(float64(length)), side(words(p)), length)
		g.addLength(group, p, lead)
	}
	r.Held, r.Groups = g.n, len(g.names)
	at := func(k int) eval.Share { return eval.RatioOf(g.sums[k], g.pairs, uint64(r.Seed)) }
	r.Reward, r.Longer, r.Words = at(reward), at(longer), at(bag)
	r.OverLonger, r.OverWords = at(overLonger), at(overBag)
	if r.NearPairs = g.nNear; g.nNear > 0 {
		s := eval.RatioOf(g.sums[ofNear], g.nears, uint64(r.Seed))
		r.Near = &s
	}
	equal := atEqualLength(g.lengths, len(g.names), uint64(r.Seed))
	r.AtEqual = &equal
	// Each pair weighs what makes both kinds count alike.
	r.Balanced = eval.RatioOf(g.balanced(), g.balance(), uint64(r.Seed))
}

func side(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return 0
	}
	return 0.5
}

// What is summed for each group.
const (
	reward = iota
	longer
	bag
	overLonger
	overBag
	ofLonger  // rewards of pairs of which the longer answer is chosen
	ofShorter // and the others
	ofNear    // of those of nearly equal lengths
	figures
)

// grouped are sums over groups.
type grouped struct {
	names            map[string]int
	sums             [figures][]float64
	pairs            []float64
	longs, shorts    []float64 // pairs of either kind
	nears            []float64
	lengths          []length
	n, nLong, nShort int
	nNear            int
}

func (g *grouped) add(group string, right, long, words float64, length int) {
	if g.names == nil {
		g.names = map[string]int{}
	}
	at, is := g.names[group]
	if !is {
		at = len(g.names)
		g.names[group] = at
		for k := range g.sums {
			g.sums[k] = append(g.sums[k], 0)
		}
		g.pairs, g.longs, g.shorts = append(g.pairs, 0), append(g.longs, 0), append(g.shorts, 0)
		g.nears = append(g.nears, 0)
	}
	for k, x := range []float64{right, long, words, right - long, right - words} {
		g.sums[k][at] += x
	}
	switch {
	case length > 0:
		g.sums[ofLonger][at] += right
		g.longs[at]++
		g.nLong++
	case length < 0:
		g.sums[ofShorter][at] += right
		g.shorts[at]++
		g.nShort++
	}
	g.pairs[at]++
	g.n++
}

// addLength adds to a group, which is there, what controls for length.
func (g *grouped) addLength(group string, p pair, lead float64) {
	at := g.names[group]
	g.lengths = append(g.lengths, length{lead, float64(len(p.chosen) - len(p.rejected)), at})
	if near(p) {
		g.sums[ofNear][at] += side(lead)
		g.nears[at]++
		g.nNear++
	}
}

// balanced and balance are the sums and weights of the mean over both kinds.
func (g *grouped) balanced() []float64 { return g.mixed(g.sums[ofLonger], g.sums[ofShorter]) }
func (g *grouped) balance() []float64  { return g.mixed(g.longs, g.shorts) }

func (g *grouped) mixed(long, short []float64) []float64 {
	out := make([]float64, len(g.pairs))
	for i := range out {
		out[i] = long[i]/float64(max(g.nLong, 1)) + short[i]/float64(max(g.nShort, 1))
	}
	return out
}

// printTable prints results as the docs have them.
func printTable(w io.Writer, all []result) {
	fmt.Fprintln(w, "| model | pairs | seed | trained on | held out | reward model | longer answer | words | over "+
		"longer | over words | length balanced | lengths within a quarter | log-odds at equal length |\n"+
		strings.Repeat("|---", 13)+"|")
	of := func(s eval.Share) string {
		return fmt.Sprintf("%.3f (%.3f to %.3f)", s.Value, s.Interval[0], s.Interval[1])
	}
	for _, r := range all {
		if r.Failed != "" {
			fmt.Fprintf(w, "| %s | %s | %d | %d | %d | failed: %.60q |\n", r.Model, r.Set, r.Seed, r.Train, r.Held,
				r.Failed)
			continue
		}
		near, equal := "no pairs", "not measured"
		if r.Near != nil {
			near = fmt.Sprintf("%s, %d pairs", of(*r.Near), r.NearPairs)
		}
		if r.AtEqual != nil {
			equal = of(*r.AtEqual)
		}
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d of %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Model, r.Set,
			r.Seed, r.Train, r.Held, r.Groups,
			of(r.Reward), of(r.Longer), of(r.Words), of(r.OverLonger), of(r.OverWords),
			of(r.Balanced), near, equal)
	}
}
