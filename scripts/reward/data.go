package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A pair is a prompt with a better and a worse answer.
type pair struct{ prompt, chosen, rejected string }

// A set is a file of pairs.
type set struct {
	name, file string
	// chat puts the prompt through the model's template; without it prompt and answers are literal text.
	chat bool
	// row is the length of a row in tokens, which holds a prompt with both answers; 0: ggtune's own.
	row int
	// group tells apart what must not be on both sides; nil: prompts.
	group func(prompt string) string
}

// sets are what is measured. Of MC-TACO several questions share a passage, which is held out as a whole.
var sets = []set{
	{name: "polite", file: "llms_from_scratch_preference.json", chat: true},
	{name: "mc-taco", file: "mctaco_answer_pairs.jsonl", group: func(prompt string) string {
		passage, _, _ := strings.Cut(prompt, "\n")
		return passage
	}},
	{name: "alpaca-eval", file: "alpaca_eval_gpt4_judged.jsonl", chat: true, row: 1024},
}

// A record is one of any of the files.
type record struct{ Instruction, Input, Prompt, Chosen, Rejected string }

// read reads the pairs of a folder's file, without those whose answers are equal.
func (s set) read(folder string) ([]pair, error) {
	path := filepath.Join(folder, s.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []record
	if strings.HasSuffix(path, ".json") {
		err = json.Unmarshal(text, &all)
	} else {
		for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
			var r record
			if err = dec.Decode(&r); err != nil {
				break
			}
			all = append(all, r)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []pair
	for _, r := range all {
		if r.Prompt == "" {
			r.Prompt = strings.TrimSpace(r.Instruction + "\n" + r.Input)
		}
		if r.Chosen != r.Rejected {
			out = append(out, pair{r.Prompt, r.Chosen, r.Rejected})
		}
	}
	return out, nil
}

// share: one group of so many is held out, by its words.
const share = 3

// split gives the pairs to train on in a seed's order, and those held out, at most so many of each; 0: all.
func (s set) split(all []pair, seed uint64, rows, held int) (train, heldOut []pair) {
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(len(all)) {
		group := all[i].prompt
		if s.group != nil {
			group = s.group(group)
		}
		h := fnv.New64a()
		h.Write([]byte(group))
		if h.Sum64()%share == 0 {
			heldOut = append(heldOut, all[i])
		} else {
			train = append(train, all[i])
		}
	}
	slices.SortFunc(heldOut, func(a, b pair) int {
		return strings.Compare(a.prompt+a.chosen+a.rejected, b.prompt+b.chosen+b.rejected)
	})
	if held > 0 && held < len(heldOut) { // by words too, and not the first of the alphabet
		heldOut = spread(heldOut, held)
	}
	return train[:atMost(rows, len(train))], heldOut
}

func atMost(n, have int) int {
	if n == 0 {
		return have
	}
	return min(n, have)
}

// spread takes n pairs evenly.
func spread(all []pair, n int) (out []pair) {
	for i := range n {
		out = append(out, all[i*len(all)/n])
	}
	return out
}

// write writes pairs as ggtune reads them.
func (s set) write(path string, pairs []pair) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, p := range pairs {
		row := map[string]any{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected}
		if s.chat {
			for field, role := range map[string]string{"prompt": "user", "chosen": "assistant",
				"rejected": "assistant"} {
				row[field] = []map[string]any{{"role": role, "content": row[field]}}
			}
		}
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}
