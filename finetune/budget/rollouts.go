package budget

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// PlanRollouts says how llama.cpp is opened for answers to the longest prompt of rows (nil: one that leaves an answer
// room in a row), and what it takes beside the mapped model and the adapter.
func PlanRollouts(cfg *config.Config, m *engine.Model, rows *corpus.Rows) (open rollout.Config, memory llama.Memory,
	err error) {
	longest := cfg.SeqLen - cfg.MaxCompletion
	if rows != nil {
		longest = 0
		for _, l := range []*encode.Loader{rows.TrainRows, rows.HeldRows} {
			if l != nil {
				tokens, _ := l.Longest()
				longest = max(longest, tokens)
			}
		}
	}
	open = rollout.Config{Model: cfg.Model, Threads: cfg.Threads, Ctx: longest + cfg.MaxCompletion,
		Lean: cfg.RolloutLean}
	if trained := m.HParams().NCtxTrain; trained > 0 {
		if longest >= trained {
			return open, memory, fmt.Errorf("the longest prompt has %d tokens, and %s was trained to read %d at "+
				"once, which leaves no answer room; lower --seq-len, beyond which prompts are left out", longest,
				m.Path(), trained)
		}
		open.Ctx = min(open.Ctx, trained) // an answer that comes to the end of it is cut off
	}
	memory, err = rollout.PlanMemory(open)
	return open, memory, err
}

// rolls says that the run learns from answers that its model writes.
func (p *planner) rolls() bool { return p.how.Need == method.Rollouts }

// planRollouts works out what writing the answers takes, and the largest micro-batch of a run without data.
func (p *planner) planRollouts() (err error) {
	if !p.rolls() {
		return nil
	}
	if p.rows == nil {
		p.shape.Counted = p.cfg.NumGenerations.N * p.cfg.MaxCompletion
		p.shape.Row = p.cfg.SeqLen - p.cfg.MaxCompletion + p.shape.Counted
	}
	p.open, p.rollouts, err = PlanRollouts(p.cfg, p.model, p.rows)
	return err
}

// promptLen is the mean length of a prompt.
func (p *planner) promptLen() int {
	if p.rows == nil {
		return p.cfg.SeqLen - p.cfg.MaxCompletion
	}
	c := p.rows.Train.Counts
	return max(c.Tokens/c.Items, 1)
}

// madeUpTree is a prompt of random tokens with as many answers as are written to one, of as many tokens as they may
// have.
func (p *planner) madeUpTree() *engine.Batch {
	rng := rand.New(rand.NewPCG(p.cfg.Seed, 0))
	var row engine.Row
	add := func(n, parent int) {
		row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: n, Parent: parent})
		for range n {
			if parent >= 0 {
				row.Counted = append(row.Counted, int32(len(row.Tokens)))
			}
			row.Tokens = append(row.Tokens, int32(rng.IntN(p.model.HParams().NVocab)))
		}
	}
	add(p.promptLen(), -1)
	for range p.cfg.NumGenerations.N {
		add(p.cfg.MaxCompletion, 0)
	}
	return &engine.Batch{Rows: []engine.Row{row}}
}

// measureWriting measures how fast answers are written, in tok/s.
func (p *planner) measureWriting(ctx context.Context) (tokPerS float64, err error) {
	w, err := rollout.Open(p.open)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	tree := p.madeUpTree().Rows[0]
	prompts := []rollout.Prompt{{Tokens: tree.Tokens[:tree.Segments[0].Len]}}
	const some = 16 // tokens of an answer
	how := rollout.Sampling{Temp: p.cfg.Temperature, MaxTokens: min(some, p.cfg.MaxCompletion), Seed: p.cfg.Seed}
	g := max(p.cfg.NumGenerations.N, min(p.cfg.RolloutPrompts, rollout.DefaultParallel))
	var spent float64
	tokens := 0
	for range 2 { // the first reads the model from disk
		tokens = 0
		began := time.Now()
		answers, err := w.Write(ctx, prompts, g, how)
		if err != nil {
			return 0, err
		}
		for _, a := range answers {
			tokens += len(a.Tokens)
		}
		spent = time.Since(began).Seconds()
	}
	return float64(tokens) / spent, nil
}

// rollTime adds what a run whose model writes its own answers does and takes, of answers as long as they may be.
func (p *planner) rollTime(steps int, timed bool) {
	cfg := p.cfg
	answers := cfg.NumGenerations.N * cfg.MaxCompletion // tokens to a prompt
	rollouts := float64(steps) / float64(cfg.NumIterations.N*cfg.NumMiniBatches)
	prompts := rollouts * float64(min(cfg.RolloutPrompts, p.rows.TrainRows.Rows()))
	read := prompts * float64(p.promptLen()+answers)
	all := int(read * float64(cfg.NumIterations.N))
	p.RunTokens = &all
	if !timed {
		return
	}
	written := prompts * float64(answers) / p.pace.write
	passes := read / p.pace.forward
	if p.how.Reference {
		passes *= 2
	}
	trained := float64(all)/p.pace.train + float64(steps)*p.pace.update
	speed := float64(all) / trained
	measured := float64(p.rows.Evaluations()*p.rows.HeldPrompts()*cfg.MaxCompletion)/p.pace.write +
		float64(eval.GeneralReads*p.general)/p.pace.forward
	s := written + passes + trained + measured
	p.TokPerS, p.WriteTokPerS = &speed, &p.pace.write
	p.RolloutSeconds, p.EvalSeconds, p.Seconds = &written, &measured, &s
}
