package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ggtune/ggtune/internal/results"
)

// A result is a cell and what was measured.
type result struct {
	cell
	Loss    float64  `json:"loss"` // nats per counted token of the held-out rows
	Tokens  int      `json:"counted_tokens"`
	KL      *float64 `json:"kl"` // of a merged model from the adapter kept apart; null for others
	Seconds float64  `json:"seconds"`
}

// A study measures cells.
type study struct {
	options
	done map[string]bool
	kl   *float64 // of the merging that the cell at hand made
}

// measure measures a cell of the model that is in file.
func (s *study) measure(ctx context.Context, file string, c cell) error {
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
func (s *study) made(ctx context.Context, file, weights, train, held string, c cell) (model, adapter string,
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
func (s *study) path(c cell, name string) string {
	return filepath.Join(s.work, c.Model, fmt.Sprintf("%d-%d-%s", c.Rows, c.Seed, name))
}

// quantized gives the base in the cell's type, made once.
func (s *study) quantized(ctx context.Context, file string, c cell) (string, error) {
	if c.Type == full {
		return file, nil
	}
	out := filepath.Join(s.work, c.Model, c.Type+".gguf")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	return s.quantize(ctx, file, out, c.Type)
}

func (s *study) quantize(ctx context.Context, in, out, typ string) (string, error) {
	return out, s.json(ctx, nil, "quantize", "--type", typ, in, out, "--force", "--json")
}

// trained gives an adapter trained on a model, made once for a seed.
func (s *study) trained(ctx context.Context, model, train, of string, extra []string, c cell) (string, error) {
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
func (s *study) merge(ctx context.Context, held string, c cell, what ...string) (string, error) {
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
func (s *study) json(ctx context.Context, into any, args ...string) error {
	if args[0] != "quantize" {
		args = append(args, "--threads", strconv.Itoa(s.threads))
	}
	var said, failed strings.Builder
	cmd := exec.CommandContext(ctx, s.ggtune, args...)
	cmd.Stdout, cmd.Stderr = &said, &failed
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ggtune %s: %w: %s", strings.Join(args, " "), err, failed.String())
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(said.String()), into); err != nil {
		return fmt.Errorf("ggtune %s: %w", args[0], err)
	}
	return nil
}

func (s *study) add(r result) error {
	fmt.Printf("%s: %.4f, %.0f s\n", r.cell, r.Loss, r.Seconds)
	return results.Append(s.out, r)
}

const (
	heldRows = 64
	share    = 6   // one row of so many is held out, by its words: none is trained on under another seed's order
	longest  = 300 // characters of a row: short ones take less time
)

// split writes the training rows of a seed, and the held-out ones, which are the same for all seeds.
func (s *study) split(c cell) (train, held string, err error) {
	text, err := os.ReadFile(s.data)
	if err != nil {
		return "", "", err
	}
	var all []struct{ Instruction, Input, Output string }
	if err := json.Unmarshal(text, &all); err != nil {
		return "", "", fmt.Errorf("%s: %w", s.data, err)
	}
	var trainRows, heldOut []string
	for _, i := range rand.New(rand.NewPCG(uint64(c.Seed), 0)).Perm(len(all)) {
		ask := strings.TrimSpace(all[i].Instruction + "\n" + all[i].Input)
		if len(ask)+len(all[i].Output) > longest {
			continue
		}
		line, err := json.Marshal(map[string]string{"prompt": "Question: " + ask + "\nAnswer:",
			"completion": " " + all[i].Output})
		if err != nil {
			return "", "", err
		}
		h := fnv.New64a()
		h.Write([]byte(ask))
		if h.Sum64()%share == 0 {
			heldOut = append(heldOut, string(line))
		} else if len(trainRows) < s.rows {
			trainRows = append(trainRows, string(line))
		}
	}
	slices.Sort(heldOut)
	if len(trainRows) < s.rows || len(heldOut) < heldRows {
		return "", "", fmt.Errorf("%s has %d rows to train on and %d to hold out; expected %d and %d", s.data,
			len(trainRows), len(heldOut), s.rows, heldRows)
	}
	train, held = s.path(c, "train.jsonl"), s.path(c, "held.jsonl")
	for _, f := range []struct {
		path string
		rows []string
	}{{train, trainRows}, {held, heldOut[:heldRows]}} {
		if err := os.WriteFile(f.path, []byte(strings.Join(f.rows, "\n")+"\n"), 0o666); err != nil {
			return "", "", err
		}
	}
	return train, held, nil
}
