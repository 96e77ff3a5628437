package study

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// share: one row of so many is held out, by its words: none is trained on under another seed's order.
const share = 6

// A Part is a file to be written, with so many rows.
type Part struct {
	Path string
	Rows int
}

// Split writes rows of a JSON array of objects with instruction, input and output as prompts and completions that every
// model reads alike: training rows in a seed's order, and held-out ones, which are the same for all seeds. Rows of more
// characters than longest are left out.
func Split(file string, longest int, seed uint64, train Part, held ...Part) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var all []struct{ Instruction, Input, Output string }
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var trainRows, heldOut []string
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(len(all)) {
		ask := strings.TrimSpace(all[i].Instruction + "\n" + all[i].Input)
		if len(ask)+len(all[i].Output) > longest {
			continue
		}
		line, err := json.Marshal(map[string]string{"prompt": "Question: " + ask + "\nAnswer:",
			"completion": " " + all[i].Output})
		if err != nil {
			return err
		}
		h := fnv.New64a()
		h.Write([]byte(ask))
		if h.Sum64()%share == 0 {
			heldOut = append(heldOut, string(line))
		} else {
			trainRows = append(trainRows, string(line))
		}
	}
	slices.Sort(heldOut)
	if err := train.write(&trainRows, file); err != nil {
		return err
	}
	for _, p := range held {
		if err := p.write(&heldOut, file); err != nil {
			return err
		}
	}
	return nil
}

// write writes the first rows, and takes them away.
func (p Part) write(rows *[]string, from string) error {
	if len(*rows) < p.Rows {
		return fmt.Errorf("%s has %d rows left for %s, expected %d", from, len(*rows), p.Path, p.Rows)
	}
	text := strings.Join((*rows)[:p.Rows], "\n") + "\n"
	*rows = (*rows)[p.Rows:]
	return os.WriteFile(p.Path, []byte(text), 0o666)
}
