package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
)

// The files that a trial works with.
const (
	trainFile = "train.jsonl"
	heldFile  = "held.jsonl"
	otherFile = "other.jsonl"
)

// A measured is a figure that is measured on a file.
type measured struct {
	on, file, figure string
	corpus           bool // what is trained on is searched too
}

// A set is texts that are trained on, by a method, and others that are measured on.
type set struct {
	name, method string
	steps        int // of a run, unless the study is told; 0: one epoch
	measured     []measured
	// write writes a set's files and counts the examples that are trained on, and held out.
	write func(folder, dir string) (train, held int, err error)
}

// sets are what is measured: medical questions with their answers; sentences with people's scores, German ones to learn
// from, and English ones to see what is forgotten; and sentences alone, German and English, held to people's scores.
var sets = []set{
	{name: "medquad", method: "mnrl", write: questions, measured: []measured{
		{on: "held-out questions", file: heldFile, figure: "ndcg@10", corpus: true}}},
	{name: "stsb-de", method: "cosent", write: sentences, measured: []measured{
		{on: "stsb-de dev", file: heldFile, figure: "spearman"},
		{on: "stsb-en dev", file: otherFile, figure: "spearman"}}},
	{name: "simcse-de", method: "simcse", steps: fewSteps, write: alone("stsb-de", 5), measured: []measured{
		{on: "a fifth of stsb-de dev", file: heldFile, figure: "spearman"}}},
	{name: "simcse-en", method: "simcse", steps: manySteps, write: alone("stsb-en", 1), measured: []measured{
		{on: "stsb-en dev", file: heldFile, figure: "spearman"}}},
}

// What two cores make in some three minutes, of a model of 135 million parameters and of one of 22.
const (
	fewSteps  = 12
	manySteps = 80
)

// heldShare: one question in so many is held out.
const heldShare = 6

// questions writes medquad's questions and answers. A question stands on one side only.
func questions(folder, dir string) (train, held int, err error) {
	from, err := os.Open(filepath.Join(folder, "medquad_qa.jsonl"))
	if err != nil {
		return 0, 0, err
	}
	defer from.Close()
	var to [2][]any
	for dec := json.NewDecoder(bufio.NewReader(from)); dec.More(); {
		var r struct{ Question, Answer string }
		if err := dec.Decode(&r); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", from.Name(), err)
		}
		h := fnv.New32a()
		h.Write([]byte(r.Question))
		side := 0
		if h.Sum32()%heldShare == 0 {
			side = 1
		}
		to[side] = append(to[side], map[string]string{"question": r.Question, "answer": r.Answer})
	}
	for side, name := range []string{trainFile, heldFile} {
		if err := writeLines(filepath.Join(dir, name), to[side]); err != nil {
			return 0, 0, err
		}
	}
	return len(to[0]), len(to[1]), nil
}

// sentences writes the sentences of the STS benchmark, whose tables have no header.
func sentences(folder, dir string) (train, held int, err error) {
	var n [3]int
	for i, name := range []string{"stsb-de-train.csv", "stsb-de-dev.csv", "stsb-en-dev.csv"} {
		rows, err := scored(filepath.Join(folder, name))
		if err != nil {
			return 0, 0, err
		}
		n[i] = len(rows)
		if err := writeLines(filepath.Join(dir, []string{trainFile, heldFile, otherFile}[i]), rows); err != nil {
			return 0, 0, err
		}
	}
	return n[0], n[1], nil
}

// alone writes the sentences of a table of the STS benchmark that are trained on, each once, without their scores, and
// one in so many of the pairs that are measured on with theirs.
func alone(table string, one int) func(folder, dir string) (train, held int, err error) {
	return func(folder, dir string) (train, held int, err error) {
		var rows [2][]any
		for i, part := range []string{"train", "dev"} {
			if rows[i], err = scored(filepath.Join(folder, table+"-"+part+".csv")); err != nil {
				return 0, 0, err
			}
		}
		var texts []any
		seen := map[string]bool{}
		for _, row := range rows[0] {
			r := row.(likeness)
			for _, text := range []string{r.Sentence1, r.Sentence2} {
				if !seen[text] {
					seen[text] = true
					texts = append(texts, map[string]string{"text": text})
				}
			}
		}
		var pairs []any
		for i := 0; i < len(rows[1]); i += one {
			pairs = append(pairs, rows[1][i])
		}
		return len(texts), len(pairs), errors.Join(writeLines(filepath.Join(dir, trainFile), texts),
			writeLines(filepath.Join(dir, heldFile), pairs))
	}
}

// A likeness is two sentences with people's score.
type likeness struct {
	Sentence1 string  `json:"sentence1"`
	Sentence2 string  `json:"sentence2"`
	Score     float64 `json:"score"`
}

func scored(path string) (out []any, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = 3
	all, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, row := range all {
		score, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", path, i+1, err)
		}
		out = append(out, likeness{row[0], row[1], score})
	}
	return out, nil
}

func writeLines(path string, rows []any) error {
	var text []byte
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	return os.WriteFile(path, text, 0o666)
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
