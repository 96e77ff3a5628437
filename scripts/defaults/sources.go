package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// A source is real data as rows that every model reads alike: literal prompts and answers, no template. What is held
// out follows from the text that a row is about, so that no held-out row shares it with a training row.
type source struct {
	file  string
	held  int    // rows held out
	share uint64 // one text of so many is held out
	most  int    // bytes of the longest row that is used: short rows take less time
	rows  func(text []byte) ([]row, error)
}

// A row is what is written for ggtune, and the text that it is about.
type row struct {
	about string
	json  map[string]any
}

const noLimit = math.MaxInt

var sources = map[string]source{
	"gsm8k":        {"instruct/gsm8k_train_alpaca.json", 32, 24, noLimit, alpaca},
	"code":         {"instruct/code_alpaca_2k.json", 64, 8, 400, alpaca},
	"short":        {"instruct/llms_from_scratch_instructions.json", 64, 8, 300, alpaca},
	"mctaco":       {"preference/mctaco_answers_kto.jsonl", 64, 8, 260, pairs},
	"mctaco-all":   {"preference/mctaco_answers_kto.jsonl", 64, 24, noLimit, pairs},
	"verdicts":     {"preference/mctaco_answers_kto.jsonl", 64, 8, 260, verdicts},
	"verdicts-all": {"preference/mctaco_answers_kto.jsonl", 64, 24, noLimit, verdicts},
}

func alpaca(text []byte) (out []row, err error) {
	var in []struct{ Instruction, Input, Output string }
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, err
	}
	for _, r := range in {
		ask := strings.TrimSpace(r.Instruction + "\n" + r.Input)
		out = append(out, row{ask, map[string]any{"prompt": "Question: " + ask + "\nAnswer:",
			"completion": " " + r.Output}})
	}
	return out, nil
}

type verdict struct {
	Prompt, Completion string
	Label              bool
}

func readVerdicts(text []byte) (out []verdict, err error) {
	s := bufio.NewScanner(bytes.NewReader(text))
	for s.Scan() {
		var v verdict
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, s.Err()
}

func verdicts(text []byte) (out []row, err error) {
	in, err := readVerdicts(text)
	for _, v := range in {
		about, _, _ := strings.Cut(v.Prompt, "\n")
		out = append(out, row{about, map[string]any{"prompt": v.Prompt, "completion": v.Completion, "label": v.Label}})
	}
	return out, err
}

// pairs sets every likely answer to a question against every unlikely one.
func pairs(text []byte) (out []row, err error) {
	in, err := readVerdicts(text)
	for _, c := range in {
		for _, r := range in {
			if c.Label && !r.Label && c.Prompt == r.Prompt {
				about, _, _ := strings.Cut(c.Prompt, "\n")
				out = append(out, row{about, map[string]any{"prompt": c.Prompt, "chosen": c.Completion,
					"rejected": r.Completion}})
			}
		}
	}
	return out, err
}

// shuffled gives the rows in an order that follows from the seed.
func shuffled(rows []row, seed uint64) []row {
	out := make([]row, len(rows))
	for i, j := range rand.New(rand.NewPCG(seed, 0)).Perm(len(rows)) {
		out[i] = rows[j]
	}
	return out
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// write puts n training rows and the held-out rows of a source into files of dir. Which rows, follows from their hashes
// and the seed: a smaller n takes the first of a larger one's.
func (s source) write(data, dir string, n int, seed uint64) (train, held string, err error) {
	text, err := os.ReadFile(filepath.Join(data, s.file))
	if err != nil {
		return "", "", err
	}
	rows, err := s.rows(text)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", s.file, err)
	}
	var parts [2][][]byte
	for _, r := range shuffled(rows, seed) {
		line, err := json.Marshal(r.json)
		if err != nil {
			return "", "", err
		}
		part, full := 0, n
		if hash(r.about)%s.share == 0 {
			part, full = 1, s.held
		}
		if len(line) <= s.most && len(parts[part]) < full {
			parts[part] = append(parts[part], line)
		}
	}
	if len(parts[0]) < n || len(parts[1]) < s.held {
		return "", "", fmt.Errorf("%s has %d rows for training and %d held out; expected %d and %d", s.file,
			len(parts[0]), len(parts[1]), n, s.held)
	}
	train, held = filepath.Join(dir, "train.jsonl"), filepath.Join(dir, "held.jsonl")
	for i, f := range []string{train, held} {
		if err := os.WriteFile(f, append(bytes.Join(parts[i], []byte("\n")), '\n'), 0o666); err != nil {
			return "", "", err
		}
	}
	return train, held, nil
}
