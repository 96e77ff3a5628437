package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rollout"
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
	wc := rollout.Config{Model: c.Teacher, Threads: c.Threads, Ctx: c.SeqLen, Parallel: c.RolloutParallel}
	if wc.Threads == 0 {
		wc.Threads = budget.PhysicalCores()
	}
	rep.Report(report.Progress{What: "load " + c.Teacher})
	w, err := rollout.Open(wc)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	begin, err := w.Beginning()
	if err != nil {
		return 0, err
	}
	if len(begin) == 0 {
		return 0, fmt.Errorf("%s has no token that begins a text, so that it cannot write one from nothing; give a "+
			"text to learn from with --data", c.Teacher)
	}
	w.Progress = func(_, more int) {
		rep.Report(report.Progress{What: "write own text", Done: min(tokens+more, cfg.OwnTokens), Total: cfg.OwnTokens})
	}
	var out ownLines
	for round := 0; tokens < cfg.OwnTokens; round++ {
		n := (cfg.OwnTokens - tokens + c.SeqLen - 1) / c.SeqLen // so many texts are missing at least
		texts, err := w.Write(ctx, []rollout.Prompt{{Tokens: begin}}, n,
			rollout.Sampling{Temp: 1, MaxTokens: c.SeqLen, Seed: c.Seed, Step: round})
		if err != nil {
			return 0, err
		}
		for _, t := range texts {
			n, err := out.add(w, t)
			if err != nil {
				return 0, err
			}
			tokens += n
		}
		if out.empty >= mostEmpty {
			return 0, fmt.Errorf("%s ended %d texts before it had written a word; give a text to learn from with "+
				"--data", c.Teacher, out.empty)
		}
	}
	name := filepath.Join(c.Output, ownText)
	c.Data = []string{name}
	return tokens, saveOwn(c.Output, name, out.Bytes())
}

// ownLines are the texts as lines.
type ownLines struct {
	bytes.Buffer
	empty int // how many of the last texts were
}

// add adds a text unless it is empty, and gives the number of its tokens.
func (o *ownLines) add(w *rollout.Writer, t rollout.Answer) (int, error) {
	text, err := w.Text(t)
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(text) == "" {
		o.empty++
		return 0, nil
	}
	o.empty = 0
	line, err := json.Marshal(map[string]string{"text": text})
	o.Write(append(line, '\n'))
	return len(t.Tokens), err
}
