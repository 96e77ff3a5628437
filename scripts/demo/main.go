// Command demo makes what the embedded demo model is trained from: a corpus in plain English drawn from a small
// grammar, a byte-level BPE vocabulary, a fresh model with random weights, and the dataset of `ggtune demo`. It does
// not train: scripts/make_demo.sh runs it and then ggtune itself.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("o", "build/demo-model",
		"directory to write corpus.jsonl, corpus-heldout.jsonl, base-f32.gguf, train.jsonl and heldout.jsonl to")
	seed := flag.Uint64("seed", 1, "seed of every random choice")
	n := flag.Int("n", 60000, "conversations in the corpus")
	flag.Parse()
	if err := run(*out, *seed, *n); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// The dataset of the demo: large enough that the style is learnt and not its rows, small enough for a minute on two
// cores.
const (
	styleTrain   = 640
	styleHeldout = 48
	corpusHeld   = 200
)

func run(dir string, seed uint64, n int) error {
	tables, err := parseTables(factsText)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	facts := allFacts(tables)
	g := newGenerator(tables, facts, seed)
	corpus := make([]conversation, n)
	var texts []string
	chars := 0
	for i := range corpus {
		corpus[i] = g.conversation()
		for _, m := range corpus[i].Messages {
			texts = append(texts, m.Role, m.Content) // the template writes the role into every turn
			chars += len(m.Content)
		}
	}
	held := newGenerator(tables, facts, seed+1)
	heldout := make([]conversation, corpusHeld)
	for i := range heldout {
		heldout[i] = held.conversation()
	}
	train, styleHeld := styleRows(facts, seed, styleTrain, styleHeldout)
	for name, rows := range map[string][]conversation{
		"corpus.jsonl": corpus, "corpus-heldout.jsonl": heldout, "train.jsonl": train, "heldout.jsonl": styleHeld,
	} {
		if err := writeRows(filepath.Join(dir, name), rows); err != nil {
			return err
		}
	}
	vocab, merges, err := trainBPE(texts, shape.vocab-len(specials))
	if err != nil {
		return err
	}
	params, err := writeModel(filepath.Join(dir, "base-f32.gguf"), vocab, merges, seed)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d facts, %d conversations, %d characters, %d merges, %d parameters\n", dir, len(facts), n, chars,
		len(merges), params)
	return nil
}

// writeRows writes one JSON object a line.
func writeRows(path string, rows []conversation) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}
