package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/report"
)

const (
	// ownText is the file in the run's directory that holds what the better file wrote: a text on each line, as JSON.
	ownText = "own-text.jsonl"
	// leastOwn is a text to learn from and one to measure on.
	leastOwn = 1024
	// mostEmpty is how many texts in a row may be empty before the model is taken to write none.
	mostEmpty = 20
)

// writeOwn lets the better file write text from nothing but what begins every text, at temperature 1 and with nothing
// cut from its predictions: what it is asked to learn from is then what the model itself finds likely. It makes that
// the run's data, and gives the number of tokens.
func writeOwn(ctx context.Context, cfg *Healing, rep report.Reporter) (tokens int, err error) {
	c := &cfg.Run
	gc := generate.Config{Model: c.Teacher, Threads: c.Threads, Ctx: c.SeqLen + 1}
	if gc.Threads == 0 {
		gc.Threads = budget.PhysicalCores()
	}
	rep.Report(report.Progress{What: "load " + c.Teacher})
	g, err := generate.Open(gc)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	prompt, err := g.Raw("")
	if err != nil {
		return 0, err
	}
	if len(prompt) == 0 {
		return 0, fmt.Errorf("%s has no token that begins a text, so that it cannot write one from nothing; give a "+
			"text to learn from with --data", c.Teacher)
	}
	var out bytes.Buffer
	empty := 0
	for n := uint32(0); tokens < cfg.OwnTokens; n++ {
		s := llama.Sampling{Temp: 1, TopP: 1, RepeatPenalty: 1, Seed: uint32(c.Seed) + n}
		r, err := g.Continue(ctx, prompt, c.SeqLen-len(prompt), s, nil)
		if err != nil {
			return 0, err
		}
		if strings.TrimSpace(r.Text) == "" {
			if empty++; empty == mostEmpty {
				return 0, fmt.Errorf("%s ended %d texts before it had written a word; give a text to learn from with "+
					"--data", c.Teacher, empty)
			}
			continue
		}
		empty = 0
		line, err := json.Marshal(map[string]string{"text": r.Text})
		if err != nil {
			return 0, err
		}
		out.Write(append(line, '\n'))
		tokens += r.Tokens
		rep.Report(report.Progress{What: "write own text", Done: min(tokens, cfg.OwnTokens), Total: cfg.OwnTokens})
	}
	name := filepath.Join(c.Output, ownText)
	c.Data = []string{name}
	return tokens, saveOwn(c.Output, name, out.Bytes())
}
