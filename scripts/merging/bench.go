package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ggtune/ggtune/internal/study"
)

// A result is a cell and what was measured.
type result struct {
	cell
	Loss    float64  `json:"loss"` // nats per counted token of the held-out rows
	Tokens  int      `json:"counted_tokens"`
	KL      *float64 `json:"kl"` // of a merged model from the adapter kept apart; null for others
	Seconds float64  `json:"seconds"`
}

// A bench measures cells.
type bench struct {
	options
	done map[string]bool
	kl   *float64 // of the merging that the cell at hand made
}

// measure measures a cell of the model that is in file.
func (s *bench) measure(ctx context.Context, file string, c cell) error {
	begin := time.Now()
	s.kl = nil
	if err := os.MkdirAll(filepath.Join(s.work, c.Model), 0o777); err != nil {
		return err
	}
	train, held, err := s.split(c)
	if err != nil {
		return err
	}
	weights, err := s.quantized(ctx, file, c)
	if err != nil {
		return err
	}
	model, adapter, err := s.made(ctx, file, weights, train, held, c)
	if err != nil {
		return err
	}
	args := []string{"eval", "-m", model, "-d", held, "--json"}
	if adapter != "" {
		args = append(args, "-a", adapter)
	}
	var e struct {
		Loss   float64 `json:"loss"`
		Tokens int     `json:"counted_tokens"`
	}
	if err := s.json(ctx, &e, args...); err != nil {
		return err
	}
	return s.add(result{cell: c, Loss: e.Loss, Tokens: e.Tokens, KL: s.kl, Seconds: time.Since(begin).Seconds()})
}

// made gives the model of a cell, and its adapter if it has one. weights are the base's in the cell's type.
func (s *bench) made(ctx context.Context, file, weights, train, held string, c cell) (model, adapter string,
	err error) {
	trainedOn, of := weights, c.Type
	switch c.What {
	case base:
		return weights, "", nil
	case fullApart, fullQuant:
		trainedOn, of = file, full
	}
	var extra []string
	if c.What == tied || c.What == tiedIn {
		of, extra = of+"-mergeable", []string{"--mergeable"}
	}
	if adapter, err = s.trained(ctx, trainedOn, train, of, extra, c); err != nil {
		return "", "", err
	}
	switch c.What {
	case apart, fullApart, tied:
		return weights, adapter, nil
	case merged, tiedIn:
		model, err = s.merge(ctx, held, c, "-m", weights, "-a", adapter)
	case near:
		model, err = s.merge(ctx, held, c, "-m", weights, "-a", adapter, "--rounding", "nearest")
	case from:
		model, err = s.merge(ctx, held, c, "-m", weights, "--from", file, "-a", adapter)
	case fullQuant:
		if model, err = s.merge(ctx, held, c, "-m", file, "-a", adapter); err == nil {
			s.kl = nil // that of a merging which loses nothing
			model, err = s.quantize(ctx, model, s.path(c, "fullquant.gguf"), c.Type)
		}
	}
	return model, "", err
}

// path names a file of the study.
func (s *bench) path(c cell, name string) string {
	return filepath.Join(s.work, c.Model, fmt.Sprintf("%d-%d-%s", c.Rows, c.Seed, name))
}

// quantized gives the base in the cell's type, made once.
func (s *bench) quantized(ctx context.Context, file string, c cell) (string, error) {
	if c.Type == full {
		return file, nil
	}
	out := filepath.Join(s.work, c.Model, c.Type+".gguf")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	return s.quantize(ctx, file, out, c.Type)
}

func (s *bench) quantize(ctx context.Context, in, out, typ string) (string, error) {
	return out, s.json(ctx, nil, "quantize", "--type", typ, in, out, "--force", "--json")
}

// trained gives an adapter trained on a model, made once for a seed.
func (s *bench) trained(ctx context.Context, model, train, of string, extra []string, c cell) (string, error) {
	run := s.path(c, "run-"+of)
	if _, err := os.Stat(filepath.Join(run, "report.json")); err == nil {
		return run, nil
	}
	if err := os.RemoveAll(run); err != nil {
		return "", err
	}
	return run, s.json(ctx, nil, append([]string{"train", "-m", model, "-d", train, "-o", run, "--eval-split", "0",
		"--sample-every", "0", "--save-every", "0", "--seed", strconv.Itoa(c.Seed)}, extra...)...)
}

// merge merges, and keeps how far the merged model is from the adapter kept apart.
func (s *bench) merge(ctx context.Context, held string, c cell, what ...string) (string, error) {
	out := s.path(c, "merged.gguf")
	var r struct {
		Report struct {
			Merged struct {
				KL float64 `json:"kl_mean"`
			} `json:"merged"`
		} `json:"report"`
	}
	err := s.json(ctx, &r, append([]string{"merge", "-o", out, "--force", "--report", held, "--json"}, what...)...)
	s.kl = &r.Report.Merged.KL
	return out, err
}

// json runs ggtune, and reads what it prints into a value, if there is one.
func (s *bench) json(ctx context.Context, into any, args ...string) error {
	if args[0] != "quantize" {
		args = append(args, "--threads", strconv.Itoa(s.Threads))
	}
	_, err := study.Ask(ctx, into, s.Ggtune, args...)
	return err
}

func (s *bench) add(r result) error {
	fmt.Printf("%s: %.4f, %.0f s\n", r.cell, r.Loss, r.Seconds)
	return study.Append(s.Out, r)
}

const (
	heldRows = 64
	longest  = 300 // characters of a row: short ones take less time
)

// split writes the training rows of a seed, and the held-out ones, which are the same for all seeds.
func (s *bench) split(c cell) (train, held string, err error) {
	train, held = s.path(c, "train.jsonl"), s.path(c, "held.jsonl")
	return train, held, study.Split(s.data, longest, uint64(c.Seed), study.Part{Path: train, Rows: s.rows},
		study.Part{Path: held, Rows: heldRows})
}
