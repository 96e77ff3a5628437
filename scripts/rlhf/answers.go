package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/internal/study"
)

// An answer is one that a model wrote, as a program that rewards is told of it.
type answer struct {
	Prompt   string `json:"prompt"`
	Messages []turn `json:"messages"`
	Answer   string `json:"answer"`
	Ended    bool   `json:"ended"`
}

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// recorder are the arguments with which eval, beside rewards, writes the answers to a file; they are all worth
// the same by it, and not 0 or 1, which would make it a check.
func recorder(file string) []string {
	return []string{"--reward-cmd", "tee '" + file + "' | while read -r x; do echo 0.5; done"}
}

// recorded reads answers, those to one prompt together. They come in the order of the prompts, and of one prompt's in
// that in which they were drawn.
func recorded(file string) (out [][]answer, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return out, nil
		}
		var a answer
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if n := len(out); n > 0 && out[n-1][0].Prompt == a.Prompt {
			out[n-1] = append(out[n-1], a)
		} else {
			out = append(out, []answer{a})
		}
	}
}

// row is the answer as data to learn from, or to be scored.
func (a answer) row() map[string]any {
	if len(a.Messages) == 0 {
		return map[string]any{"prompt": a.Prompt, "completion": a.Answer}
	}
	return map[string]any{"messages": append(a.Messages[:len(a.Messages):len(a.Messages)],
		turn{"assistant", a.Answer})}
}

// A nll is the loss of answers: nats in all, and how many answers they are.
type nll struct {
	nats, tokens float64
	answers      int
}

// lossOf is the loss of the answers that ended and say something, to a run's model or to the base's where run is "".
func (o *options) lossOf(ctx context.Context, run string, of [][]answer) (n nll, err error) {
	var rows []map[string]any
	for _, list := range of {
		for _, a := range list {
			if a.Ended && strings.TrimSpace(a.Answer) != "" {
				rows = append(rows, a.row())
			}
		}
	}
	if len(rows) == 0 {
		return n, nil
	}
	file := o.file("ended.jsonl")
	if err := write(file, rows); err != nil {
		return n, err
	}
	args := []string{"eval", "-m", o.model, "-d", file, "--method", "sft", "--json", "--threads",
		strconv.Itoa(o.Threads)}
	if run != "" {
		args = append(args, "-a", run)
	}
	var said struct {
		Loss    float64 `json:"loss"`
		Counted float64 `json:"counted_tokens"`
		Data    struct{ Items int }
	}
	if _, err := study.Ask(ctx, &said, o.Ggtune, args...); err != nil {
		return n, err
	}
	if said.Data.Items != len(rows) {
		return n, fmt.Errorf("%s: eval measured %d of %d answers", file, said.Data.Items, len(rows))
	}
	return nll{said.Loss * said.Counted, said.Counted, len(rows)}, nil
}

// parts is how many parts prompts are shared into where what one asks of ggtune is a mean over many.
const parts = 8

// t7 is the quantile of Student's t for 95 % with parts-1 degrees of freedom.
const t7 = 2.365

// overParts is the mean of what each part of the prompts gives, with its interval by the spread between them.
func overParts(of [][]answer, f func(of [][]answer) (float64, error)) (s share, err error) {
	var x [parts]float64
	for i := range x {
		if x[i], err = f(of[i*len(of)/parts : (i+1)*len(of)/parts]); err != nil {
			return s, err
		}
		s.Value += x[i] / parts
	}
	ss := 0.0
	for _, v := range x {
		ss += (v - s.Value) * (v - s.Value)
	}
	half := t7 * math.Sqrt(ss/(parts-1)/parts)
	s.Interval = [2]float64{s.Value - half, s.Value + half}
	return s, nil
}

// klOf is how far a run's model is from another's, nats per answer: the mean of log π/start of its own answers. Those
// that were cut off are left out, and empty ones, which data to learn from may not have.
func (o *options) klOf(ctx context.Context, run, start string, of [][]answer) (share, error) {
	return overParts(of, func(of [][]answer) (float64, error) {
		own, err := o.lossOf(ctx, run, of)
		if err != nil || own.answers == 0 {
			return 0, err
		}
		other, err := o.lossOf(ctx, start, of)
		return (other.nats - own.nats) / float64(own.answers), err
	})
}

// perplexityOf is the base's of the answers.
func (o *options) perplexityOf(ctx context.Context, of [][]answer) (share, error) {
	s, err := overParts(of, func(of [][]answer) (float64, error) {
		n, err := o.lossOf(ctx, "", of)
		return n.nats / max(n.tokens, 1), err
	})
	return share{math.Exp(s.Value), [2]float64{math.Exp(s.Interval[0]), math.Exp(s.Interval[1])}}, err
}

// describe adds how varied and how long the first answers to the prompts are: which share of the runs of two words in
// all of them is there but once counted (fewer answers have more of them, so that only as many may be compared), and
// words an answer. Intervals are by a bootstrap over prompts; of the first it would count prompts drawn twice as
// repetition, and there is none.
func (r *result) describe(of [][]answer) {
	seen, all := map[string]bool{}, 0
	var words []float64
	for _, list := range of {
		w := strings.Fields(list[0].Answer)
		words = append(words, float64(len(w)))
		for i := 0; i+2 <= len(w); i++ {
			seen[w[i]+" "+w[i+1]] = true
			all++
		}
	}
	d := float64(len(seen)) / float64(max(all, 1))
	r.Figures["distinct-2"] = share{d, [2]float64{d, d}}
	r.Figures["words"] = shareOf(eval.MeanOf(words, 1))
}

func shareOf(s eval.Share) share { return share{s.Value, s.Interval} }
