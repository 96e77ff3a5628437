package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/internal/study"
)

// The task is to answer politely, as llms_from_scratch_preference.json (rasbt/LLMs-from-scratch) has people prefer it.
// One reward model, the proxy, learns from the pairs of one half of the prompts, and all others from the same pairs or
// from what it says of their own answers to the same prompts. The gold one learns from the other half, and only
// measures (Gao et al. 2022). All begin with start, which has learned to answer both politely and not. A third, small,
// learns from so few of the proxy's pairs that whoever goes far by it should find where it is wrong.
const (
	judgedHeld  = 200 // prompts that are measured on
	judgedHalf  = 270 // of each half
	judgedSmall = 30  // of the first half, that the small reward model learns from
	judgedMost  = 32  // tokens of an answer
	judgedEach  = 2   // answers to each prompt
	drawPrompts = 20  // prompts of which drawn is measured
	drawEach    = 64  // answers to each of them
)

// The files that prepareJudged writes.
const (
	proxyFile  = "proxy.jsonl"  // pairs of one half
	smallFile  = "small.jsonl"  // some of them
	goldFile   = "gold.jsonl"   // of the other half
	bothFile   = "both.jsonl"   // all answers of the proxy's
	chosenFile = "chosen.jsonl" // the better ones
	askedFile  = "asked.jsonl"  // pairs held out
)

var judged = plan{name: "judged", figures: []string{"accuracy", "proxy", "gold", "kl", "distinct-2", "words"},
	prepare: (*options).prepareJudged, measure: (*options).measureJudged,
	arms: []arm{
		{name: "proxy", data: proxyFile, args: []string{"--method", "reward"}},
		{name: "gold", data: goldFile, args: []string{"--method", "reward"}},
		{name: "small", data: smallFile, args: []string{"--method", "reward", "--epochs", "3"}},
		{name: preferred, needs: []string{"proxy", "gold"}},
		{name: notPreferred, needs: []string{"proxy", "gold"}},
		{name: "start", data: bothFile, args: []string{"--epochs", "2"}, needs: []string{"proxy", "gold"}},
		{name: "sft", from: "start", data: chosenFile, repeated: true, args: []string{"--epochs", "3"}},
		{name: "dpo", from: "start", data: proxyFile, repeated: true, args: []string{"--method", "dpo"}},
		{name: "best-of-n", from: "start", data: proxyFile, repeated: true, args: byProxy("best-of-n",
			"--rollout-prompts", strconv.Itoa(judgedHalf), "--num-mini-batches", "34", "--num-iterations", "2")},
		{name: "rloo", from: "start", data: proxyFile, repeated: true, args: byProxy("rloo", "--rollout-prompts", "16",
			"--steps", "30")},
		{name: "ppo", from: "start", data: proxyFile, repeated: true, args: byProxy("ppo", "--rollout-prompts", "64",
			"--head", "WORK/proxy-1/head.gguf", "--steps", "24", "--lr", "1e-4", "--schedule", "constant",
			"--warmup", "0")},
		// By the small one, without a penalty for leaving the start, at ten times the usual rate.
		{name: "grpo far", from: "start", needs: []string{"small"}, data: proxyFile, args: judgedBy("small", "grpo",
			"--rollout-prompts", "4", "--steps", "40", "--lr", "5e-4", "--schedule", "constant", "--warmup", "0")},
		{name: drawn, from: "start", needs: []string{"proxy", "gold"}},
		{name: drawnSmall, from: "start", needs: []string{"proxy", "gold", "small"}},
	}}

// The data's own answers to the prompts that are measured on: nothing is trained.
const (
	preferred    = "chosen"
	notPreferred = "rejected"
)

// The best of many answers of start, by the proxy or by the small reward model: nothing is trained.
const (
	drawn      = "drawn"
	drawnSmall = "drawn by small"
)

// byProxy are the arguments of those that learn from the proxy.
func byProxy(method string, more ...string) []string { return judgedBy("proxy", method, more...) }

// judgedBy are the arguments of those that learn from a reward model. What the gold one says is shown beside it.
func judgedBy(judge, method string, more ...string) []string {
	return append(append([]string{"--method", method, "--max-completion-length", strconv.Itoa(judgedMost), "--batch",
		"4"}, judges(judge)...), more...)
}

func judges(first string) []string {
	return []string{"--reward", "model=WORK/" + first + "-1", "--reward", "model=WORK/gold-1", "--reward-weights",
		"1,0"}
}

// A pair is a prompt with a better and a worse answer.
type pair struct {
	Prompt   string `json:"prompt"`
	Chosen   string `json:"chosen"`
	Rejected string `json:"rejected"`
}

// prepareJudged shares the prompts out by their words.
func (o *options) prepareJudged() error {
	text, err := os.ReadFile(o.data)
	if err != nil {
		return err
	}
	var all []struct{ Instruction, Input, Chosen, Rejected string }
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("%s: %w", o.data, err)
	}
	place := map[uint64]pair{}
	for _, x := range all {
		ask := strings.TrimSpace(x.Instruction + "\n" + x.Input)
		h := fnv.New64a()
		h.Write([]byte(ask))
		if x.Chosen != x.Rejected { // of a prompt that is there twice the last pair
			place[h.Sum64()] = pair{"Question: " + ask + "\nAnswer:", " " + x.Chosen, " " + x.Rejected}
		}
	}
	var order []uint64
	for h := range place {
		order = append(order, h)
	}
	if len(order) < judgedHeld+2*judgedHalf {
		return fmt.Errorf("%s has %d prompts, expected %d", o.data, len(order), judgedHeld+2*judgedHalf)
	}
	slices.Sort(order)
	var pairs []pair
	for _, h := range order {
		pairs = append(pairs, place[h])
	}
	proxy, rest := pairs[:judgedHalf], pairs[judgedHalf:]
	var both, chosen []command
	for _, p := range proxy {
		chosen = append(chosen, command{p.Prompt, p.Chosen})
		both = append(both, command{p.Prompt, p.Chosen}, command{p.Prompt, p.Rejected})
	}
	if err := write(o.file(bothFile), both); err != nil {
		return err
	}
	if err := write(o.file(chosenFile), chosen); err != nil {
		return err
	}
	for file, list := range map[string][]pair{proxyFile: proxy, smallFile: proxy[:judgedSmall],
		goldFile: rest[:judgedHalf], askedFile: rest[judgedHalf : judgedHalf+judgedHeld]} {
		if err := write(o.file(file), list); err != nil {
			return err
		}
	}
	return nil
}

// measureJudged has a run answer the held-out prompts. Of a reward model it is how often it finds the better answer.
func (o *options) measureJudged(ctx context.Context, a arm, run string, r *result) error {
	switch a.name {
	case "proxy", "gold", "small":
		var e evaluated
		if _, err := study.Ask(ctx, &e, o.Ggtune, "eval", "-m", o.model, "-a", run, "-d", o.file(askedFile), "--json",
			"--threads", strconv.Itoa(o.Threads)); err != nil {
			return err
		}
		return r.accuracy(e)
	case preferred, notPreferred:
		return o.given(ctx, a.name == preferred, r)
	case drawn:
		return o.draw(ctx, "proxy", r)
	case drawnSmall:
		return o.draw(ctx, "small", r)
	}
	file := filepath.Join(run, "answers.jsonl")
	if err := o.answered(ctx, run, askedFile, file, judgedEach, r); err != nil {
		return err
	}
	of, err := recorded(file)
	if err != nil {
		return err
	}
	if r.Figures["kl"], err = o.klOf(ctx, run, o.runOf("start", 1), of); err != nil {
		return err
	}
	r.describe(of)
	r.Curve, err = rollouts(run)
	return err
}

// given takes what proxy and gold say of the data's better or worse answers.
func (o *options) given(ctx context.Context, better bool, r *result) error {
	pairs, err := study.Read[pair](o.file(askedFile))
	if err != nil {
		return err
	}
	var of [][]answer
	for _, p := range pairs {
		said := p.Rejected
		if better {
			said = p.Chosen
		}
		of = append(of, []answer{{Prompt: p.Prompt, Answer: said, Ended: true}})
	}
	for _, judge := range []string{"proxy", "gold"} {
		scores, err := o.scores(ctx, judge, of)
		if err != nil {
			return err
		}
		r.Figures[judge] = shareOf(eval.MeanOf(slices.Concat(scores...), 1))
	}
	r.Prompts, r.Answers = len(of), len(of)
	r.describe(of)
	return nil
}

// answered has a run answer the prompts of a file, and takes what proxy and gold say of the answers, which go to
// another, what is said of them beside it: what is there is not asked for again.
func (o *options) answered(ctx context.Context, run, prompts, file string, each int, r *result) error {
	beside := file + ".said"
	if text, err := os.ReadFile(beside); err == nil {
		t := r.trial
		err := json.Unmarshal(text, r)
		r.trial = t // another arm may have asked
		return err
	}
	args := recorder(file)
	for _, x := range judges("proxy") {
		args = append(args, strings.ReplaceAll(x, "WORK", o.work))
	}
	args[len(args)-1] += ",0"
	e, err := o.answers(ctx, run, prompts, each, judgedMost, args...)
	if err != nil {
		return err
	}
	if err := r.take(e, "reward_model", "reward_model_2"); err != nil {
		return err
	}
	r.Figures["proxy"], r.Figures["gold"] = r.Figures["reward_model"], r.Figures["reward_model_2"]
	delete(r.Figures, "reward_model")
	delete(r.Figures, "reward_model_2")
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(beside, text, 0o666)
}

// accuracy takes that of a reward model.
func (r *result) accuracy(e evaluated) error {
	var s struct {
		Prompts  int
		Accuracy eval.Share
	}
	if err := e.read("scores", &s); err != nil {
		return err
	}
	r.Prompts, r.Figures["accuracy"] = s.Prompts, shareOf(s.Accuracy)
	return nil
}

// A point of a curve is what came of going so far from the start.
type point struct {
	At    int     `json:"at"`    // the update, or how many answers are chosen from
	KL    float64 `json:"kl"`    // nats per answer
	Proxy share   `json:"proxy"` // by what was learned from, or chosen by
	Gold  share   `json:"gold"`
}

// curvePoints is how many points there are of a run.
const curvePoints = 10

// rollouts reads the curve of a run, of what it has written itself while it was trained. nil: it has written nothing.
func rollouts(run string) (out []point, err error) {
	f, err := os.Open(filepath.Join(run, "metrics.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type line struct {
		Step  int      `json:"step"`
		Proxy *float64 `json:"reward_model"`
		Gold  *float64 `json:"reward_model_2"`
		KL    float64  `json:"answer_kl"`
	}
	var all []line
	for dec := json.NewDecoder(bufio.NewReader(f)); ; {
		var x line
		if err := dec.Decode(&x); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if x.Proxy != nil && x.Gold != nil {
			all = append(all, x)
		}
	}
	n := min(curvePoints, len(all))
	for i := range n {
		some := all[i*len(all)/n : (i+1)*len(all)/n]
		var proxy, gold []float64
		p := point{At: some[len(some)-1].Step}
		for _, x := range some {
			proxy, gold = append(proxy, *x.Proxy), append(gold, *x.Gold)
			p.KL += x.KL / float64(len(some))
		}
		p.Proxy, p.Gold = shareOf(eval.MeanOf(proxy, 1)), shareOf(eval.MeanOf(gold, 1))
		out = append(out, p)
	}
	return out, nil
}

// draw has start write many answers to some prompts, and works out what the best by a reward model of n = 1, 2, 4, …
// is worth.
func (o *options) draw(ctx context.Context, judge string, r *result) error {
	some, err := study.Read[pair](o.file(askedFile))
	if err != nil {
		return err
	}
	const promptsFile = "drawn.jsonl"
	if err := write(o.file(promptsFile), some[:drawPrompts]); err != nil {
		return err
	}
	file := o.file("drawn-answers.jsonl")
	if err := o.answered(ctx, o.runOf("start", 1), promptsFile, file, drawEach, r); err != nil {
		return err
	}
	of, err := recorded(file)
	if err != nil {
		return err
	}
	proxy, err := o.scores(ctx, judge, of)
	if err != nil {
		return err
	}
	gold, err := o.scores(ctx, "gold", of)
	if err != nil {
		return err
	}
	for n := 1; n <= drawEach; n *= 2 {
		var p, g []float64
		for i := range of {
			if len(proxy[i]) < n { // for its empty answers
				continue
			}
			p = append(p, bestOf(n, proxy[i], proxy[i]))
			g = append(g, bestOf(n, proxy[i], gold[i]))
		}
		r.Curve = append(r.Curve, point{n, math.Log(float64(n)) - float64(n-1)/float64(n),
			shareOf(eval.MeanOf(p, 1)), shareOf(eval.MeanOf(g, 1))})
	}
	return nil
}

// scores asks a reward model of all answers. Empty ones, which are no data to be scored, are left out, as they are of
// both models' scores.
func (o *options) scores(ctx context.Context, judge string, of [][]answer) ([][]float64, error) {
	var rows []map[string]any
	for _, list := range of {
		for _, a := range list {
			if strings.TrimSpace(a.Answer) != "" {
				rows = append(rows, map[string]any{"prompt": a.Prompt, "completion": a.Answer})
			}
		}
	}
	file := o.file("scored.jsonl")
	if err := write(file, rows); err != nil {
		return nil, err
	}
	var said string
	if _, err := study.Ask(ctx, &said, o.Ggtune, "score", "-m", o.model, "-a", o.runOf(judge, 1), "-d", file, "--json",
		"--threads", strconv.Itoa(o.Threads)); err != nil {
		return nil, err
	}
	out := make([][]float64, len(of))
	dec := json.NewDecoder(strings.NewReader(said))
	for i, list := range of {
		for _, a := range list {
			if strings.TrimSpace(a.Answer) == "" {
				continue
			}
			var x struct{ Score float64 }
			if err := dec.Decode(&x); err != nil {
				return nil, fmt.Errorf("%s: scores of %d answers: %w", file, len(rows), err)
			}
			out[i] = append(out[i], x.Score)
		}
	}
	return out, nil
}

// bestOf is what the best by one score of n answers drawn without putting back is worth by another, in the mean over
// all that may be drawn.
func bestOf(n int, by, worth []float64) (mean float64) {
	order := make([]int, len(by))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by[b], by[a]) })
	left := 1.0 // how likely none of the better ones is drawn
	for k, i := range order {
		chance := float64(n) / float64(len(order)-k) // that this one is, then
		mean += left * chance * worth[i]
		if left *= 1 - chance; left <= 0 {
			break
		}
	}
	return mean
}

// printCurves prints the curves of results.
func printCurves(w io.Writer, all []result) {
	for _, r := range all {
		for i, p := range r.Curve {
			if i == 0 {
				fmt.Fprintf(w, "\n`%s`, seed %d\n\n| at | √KL | proxy | gold |\n|---|---|---|---|\n", r.Arm, r.Seed)
			}
			fmt.Fprintf(w, "| %d | %.2f | %s | %s |\n", p.At, math.Sqrt(max(p.KL, 0)), p.Proxy, p.Gold)
		}
	}
}
