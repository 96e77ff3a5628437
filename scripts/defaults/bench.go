package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ggtune/ggtune/internal/study"
)

// A result is a trial and what came of it.
type result struct {
	trial
	Updates int                `json:"updates"`
	Before  float64            `json:"before"` // the held-out rows' loss in the base
	After   map[string]float64 `json:"after"`  // the method's figures on them
	Seconds float64            `json:"seconds"`
}

// A bench runs trials.
type bench struct {
	options
	cache string // directory of references' log-probabilities
	end   time.Time
	done  map[string]bool

	mu sync.Mutex // of what follows, and of the file of results
	e  error
}

func (b *bench) all(ctx context.Context, trials []trial) error {
	var err error
	if b.cache, err = os.MkdirTemp("", "ggtune-references-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.cache)
	queue := make(chan trial)
	var wg sync.WaitGroup
	for range b.jobs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for t := range queue {
				if err := b.one(ctx, t); err != nil {
					b.mu.Lock()
					b.e = errors.Join(b.e, fmt.Errorf("%s: %w", t.name(), err))
					b.mu.Unlock()
				}
			}
		}()
	}
	for _, t := range trials {
		late := !b.end.IsZero() && time.Now().After(b.end)
		if late || ctx.Err() != nil || b.done[t.name()] || !strings.Contains(t.name(), b.only) {
			continue
		}
		queue <- t
	}
	close(queue)
	wg.Wait()
	return b.e
}

func (b *bench) one(ctx context.Context, t trial) error {
	dir, err := os.MkdirTemp("", "ggtune-defaults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	train, held, err := sources[t.Data].write(b.data, dir, t.Rows, t.Seed)
	if err != nil {
		return err
	}
	args := append([]string{"train", "-m", t.file, "-d", train, "--eval-data", held, "-o", filepath.Join(dir, "run"),
		"-t", "1", "--eval-every", "0", "--save-every", "0"}, t.options()...)
	if t.Method != "sft" { // the same rows have the same reference
		name := fmt.Sprintf("%s %s %d %s %d", t.Model, t.Data, t.Rows, t.Pack, t.Seed)
		args = append(args, "--ref-cache", filepath.Join(b.cache, name))
	}
	begin := time.Now()
	if out, err := exec.CommandContext(ctx, b.ggtune, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	r := result{trial: t, Seconds: time.Since(begin).Seconds()}
	if err := r.read(filepath.Join(dir, "run")); err != nil {
		return err
	}
	return b.add(r)
}

// read takes the figures of the held-out rows from a run's directory: the base's loss from its report, and those of the
// last step from its metrics.
func (r *result) read(run string) error {
	text, err := os.ReadFile(filepath.Join(run, "report.json"))
	if err != nil {
		return err
	}
	var report struct {
		Before float64 `json:"eval_loss_before"`
		Steps  int     `json:"steps"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("report.json: %w", err)
	}
	r.Before, r.Updates, r.After = report.Before, report.Steps, map[string]float64{}
	if text, err = os.ReadFile(filepath.Join(run, "metrics.jsonl")); err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var last map[string]any
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		return fmt.Errorf("metrics.jsonl: %w", err)
	}
	for k, v := range last {
		name, is := strings.CutPrefix(k, "eval_")
		if x, number := v.(float64); is && number {
			r.After[name] = x
		}
	}
	return nil
}

func (b *bench) add(r result) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Printf("%s: %d updates, %.4g → %.4g, accuracy %v, %.0f s\n", r.name(), r.Updates, r.Before, r.After["loss"],
		r.After["accuracy"], r.Seconds)
	return study.Append(b.out, r)
}
