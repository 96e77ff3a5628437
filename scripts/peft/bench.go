package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/internal/study"
)

// A trial is one run. Where its number of updates is not that of ggtune's defaults, it is made as long as a LoRA takes.
type trial struct {
	Model string  `json:"model"`
	Kind  string  `json:"kind"`
	Rate  float64 `json:"lr"`
	Rows  int     `json:"rows"`
	Seed  int     `json:"seed"`
	Equal string  `json:"equal"` // tokens or time
}

const (
	tokens = "tokens"
	time   = "time"
)

// A result is a trial and what came of it. Losses are nats per counted token.
type result struct {
	trial
	Valid     float64 `json:"valid_loss"` // of the rows that the learning rate is chosen by
	Test      float64 `json:"test_loss"`
	Base      float64 `json:"base_test_loss"` // of the untouched base
	General   float64 `json:"general_change"` // loss on a general text, after minus before
	KL        float64 `json:"general_kl"`     // on that text, of the base's predictions from the trained model's
	Trained   int64   `json:"trained_parameters"`
	Updates   int     `json:"updates"`
	Processor float64 `json:"processor_seconds"` // of the training command, on all cores
	Peak      int64   `json:"peak_bytes"`
	Failed    string  `json:"failed,omitempty"` // why there are no figures
}

// A bench runs trials.
type bench struct {
	options
	done []result
}

const (
	validRows, testRows = 48, 64
	longest             = 300 // characters of a row: short ones take less time
	step                = 3   // between the learning rates of a search
	most                = 6   // rates of one search
)

// kind measures all of a kind: the search for its learning rate, with one seed; the other seeds at the best; and as
// long as a LoRA takes.
func (b *bench) kind(ctx context.Context, k kind) error {
	var rates []float64
	at := func(rate float64) { rates = append(rates, digits(rate)) }
	for _, times := range []float64{1. / step, 1, step} {
		at(k.rate * b.rate * times)
	}
	for {
		for _, r := range rates {
			if err := b.one(ctx, k, b.trial(k, r, 1, tokens)); err != nil {
				return err
			}
		}
		best := b.best(k.name)
		if math.IsInf(best.Valid, 1) {
			return nil // none has figures: the kind is not for this model, and the results say why
		}
		if best.Rate == slices.Min(rates) && len(rates) < most {
			at(best.Rate / step)
		} else if best.Rate == slices.Max(rates) && len(rates) < most {
			at(best.Rate * step)
		} else {
			break
		}
	}
	rate := b.best(k.name).Rate
	for seed := 1; seed <= b.Seeds; seed++ {
		for _, equal := range []string{tokens, time} {
			if equal == time && k.name == kinds[0].name {
				continue // its own time
			}
			if err := b.one(ctx, k, b.trial(k, rate, seed, equal)); err != nil {
				return err
			}
		}
	}
	return nil
}

// digits rounds a rate to two digits, so that a file of results finds it again, whichever way it was computed.
func digits(rate float64) float64 {
	rate, _ = strconv.ParseFloat(strconv.FormatFloat(rate, 'g', 2, 64), 64)
	return rate
}

func (b *bench) trial(k kind, rate float64, seed int, equal string) trial {
	name := strings.TrimSuffix(filepath.Base(b.model), ".gguf")
	return trial{name, k.name, rate, b.rows, seed, equal}
}

// find gives the result of a trial.
func (b *bench) find(t trial) (result, bool) {
	i := slices.IndexFunc(b.done, func(r result) bool { return r.trial == t })
	if i < 0 {
		return result{}, false
	}
	return b.done[i], true
}

// best gives the run of a kind with the lowest loss on the rows for choosing, with seed 1.
func (b *bench) best(kind string) result {
	best := result{Valid: math.Inf(1)}
	model := b.trial(kinds[0], 1, 1, tokens).Model
	for _, r := range b.done {
		if r.Kind == kind && r.Model == model && r.Rows == b.rows && r.Seed == 1 && r.Equal == tokens &&
			r.Failed == "" && r.Valid < best.Valid {
			best = r
		}
	}
	return best
}

// one makes a run, unless it is made. One that fails is a result.
func (b *bench) one(ctx context.Context, k kind, t trial) error {
	if _, is := b.find(t); is {
		return nil
	}
	dir, err := os.MkdirTemp("", "ggtune-peft-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := result{trial: t}
	if err := b.measure(ctx, k, &r, dir); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		r.Failed = err.Error()
	}
	fmt.Printf("%s, lr %.4g, seed %d, equal %s: valid %.4f, test %.4f, general %+.4f, %.0f s of the processor %s\n",
		t.Kind, t.Rate, t.Seed, t.Equal, r.Valid, r.Test, r.General, r.Processor, r.Failed)
	b.done = append(b.done, r)
	return study.Append(b.Out, r)
}

func (b *bench) measure(ctx context.Context, k kind, r *result, dir string) error {
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := study.Split(b.data, longest, uint64(r.Seed), study.Part{Path: file("train.jsonl"), Rows: r.Rows},
		study.Part{Path: file("valid.jsonl"), Rows: validRows},
		study.Part{Path: file("test.jsonl"), Rows: testRows}); err != nil {
		return err
	}
	threads := []string{"--threads", strconv.Itoa(b.Threads), "--json"}
	settings := append([]string{"-m", b.model, "-d", file("train.jsonl"), "--eval-data", file("valid.jsonl"),
		"--eval-every", "0", "--sample-every", "0", "--save-every", "0", "--lr", fmt.Sprint(r.Rate), "--seed",
		strconv.Itoa(r.Seed), "--accum", strconv.Itoa(b.accum), "--packing", "none"}, k.options...)
	if k.from {
		settings = append(settings, "--from", b.from)
	}
	if r.Equal == time {
		n, err := b.updates(*r)
		if err != nil {
			return err
		}
		settings = append(settings, "--steps", strconv.Itoa(n))
	}
	settings = append(settings, threads...)
	var planned struct {
		Trained int64 `json:"trained_parameters"`
	}
	if _, err := study.Ask(ctx, &planned, b.Ggtune, append([]string{"plan"}, settings...)...); err != nil {
		return err
	}
	r.Trained = planned.Trained
	took, err := study.Ask(ctx, nil, b.Ggtune, append([]string{"train", "-o", file("run")}, settings...)...)
	if err != nil {
		return err
	}
	r.Processor = took.Seconds()
	model, err := r.report(b.model, file("run"))
	if err != nil {
		return err
	}
	for _, m := range []struct {
		args []string
		loss *float64
	}{{[]string{"-m", b.model}, &r.Base}, {model, &r.Test}} {
		var e struct {
			Loss float64 `json:"loss"`
		}
		args := slices.Concat([]string{"eval", "-d", file("test.jsonl")}, m.args, threads)
		if _, err := study.Ask(ctx, &e, b.Ggtune, args...); err != nil {
			return err
		}
		*m.loss = e.Loss
	}
	return nil
}

// updates is how many updates of a kind take as long as all of a LoRA's of the same seed, starts included.
func (b *bench) updates(r result) (int, error) {
	own, lora := r.trial, b.best(kinds[0].name).trial
	own.Equal, lora.Seed = tokens, r.Seed
	mine, is := b.find(own)
	his, was := b.find(lora)
	if !is || !was || mine.Failed != "" || his.Failed != "" {
		return 0, fmt.Errorf("no run of as many tokens, of this kind and of a LoRA, to take the time from")
	}
	return max(1, int(math.Round(float64(mine.Updates)*his.Processor/mine.Processor))), nil
}

// report takes a run's figures from its report, and gives the options of eval for what it made.
func (r *result) report(base, run string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(run, "report.json"))
	if err != nil {
		return nil, err
	}
	var report struct {
		Steps   int      `json:"steps"`
		After   *float64 `json:"eval_loss_after"`
		Peak    int64    `json:"peak_bytes"`
		General *struct {
			Before float64 `json:"loss_before"`
			After  float64 `json:"loss_after"`
			KL     float64 `json:"kl"`
		} `json:"general"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("report.json: %w", err)
	}
	if report.After == nil || report.General == nil {
		return nil, fmt.Errorf("report.json has no loss of held-out rows, or none of a general text")
	}
	r.Valid, r.Updates, r.Peak = *report.After, report.Steps, report.Peak
	r.General, r.KL = report.General.After-report.General.Before, report.General.KL
	if adapter := filepath.Join(run, "adapter.gguf"); exists(adapter) {
		return []string{"-m", base, "-a", adapter}, nil // even where it leaves merged
	}
	return []string{"-m", filepath.Join(run, "model.gguf")}, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
