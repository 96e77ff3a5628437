package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// PlanRollouts says how what writes answers is opened for those to the longest prompt of rows (nil: one that leaves an
// answer room in a row), and what llama.cpp takes for them beside the mapped model and the adapter. What a session of
// the engine takes that writes them itself is part of its own memory (Shape.Cache); whoever opens it names the session.
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
	answers := cfg.RolloutPrompts * max(cfg.NumGenerations.N, 1)
	open = rollout.Config{Model: cfg.Model, Threads: cfg.Threads, Ctx: longest + cfg.MaxCompletion,
		Parallel: min(cfg.RolloutParallel, answers), Lean: cfg.RolloutLean}
	if trained := m.HParams().NCtxTrain; trained > 0 {
		if longest >= trained {
			return open, memory, fmt.Errorf("the longest prompt has %d tokens, and %s was trained to read %d at "+
				"once, which leaves no answer room; lower --seq-len, beyond which prompts are left out", longest,
				m.Path(), trained)
		}
		open.Ctx = min(open.Ctx, trained) // an answer that comes to the end of it is cut off
	}
	if cfg.OwnRollouts() {
		open.Own = &rollout.Own{Samples: cfg.MeasuredGenerations()}
	}
	memory, err = rollout.PlanMemory(open)
	return open, memory, err
}

// FitRollouts is PlanMemory of a run whose model writes what it learns from, as open says. Where there is no room for
// that, or only if the model is read from disk over and over, a new run writes fewer answers at a time, and without
// llama.cpp's copies of the weights: open, takes and cfg say so then, and note says why. A run that goes on writes as
// it did, for other kernels round otherwise.
func FitRollouts(m *engine.Model, sc engine.SessionConfig, cfg *config.Config, shape Shape,
	samples func(trained int64) int64, open *rollout.Config, takes *llama.Memory, free int64) (b Memory, note string,
	err error) {
	try := func(open rollout.Config, takes llama.Memory) (b Memory, roomy bool, err error) {
		shape.Cache = open.Cache()
		b, err = PlanMemory(m, sc, cfg, shape, samples, takes, free)
		return b, err == nil && Crowded(m.Path(), m.File().Bytes(), b.Total, free) == "", err
	}
	b, roomy, err := try(*open, *takes)
	if roomy || cfg.Resume || takes.Total() == 0 && open.Own == nil {
		return b, "", err
	}
	type way struct {
		open   rollout.Config
		takes  llama.Memory
		memory Memory
	}
	var best *way
	for _, o := range sparing(*open, takes.Repacked > 0) {
		w := way{open: o}
		var failed error
		if w.takes, failed = rollout.PlanMemory(o); failed != nil {
			return b, "", failed
		}
		if w.memory, roomy, failed = try(o, w.takes); failed == nil && best == nil || roomy {
			best = &w
		} else if best == nil && err != nil {
			err = failed // of the way that takes the least
		}
		if roomy {
			break
		}
	}
	if best == nil || err == nil && !roomy { // nothing is won
		return b, "", err
	}
	note = fmt.Sprintf("answers are written %d at a time, not %d", best.open.Parallel, open.Parallel)
	if best.open.Lean != open.Lean {
		note = fmt.Sprintf("answers are written %d at a time, and without llama.cpp's copies of the weights (%s)",
			best.open.Parallel, report.Bytes(takes.Repacked))
	}
	*open, *takes, cfg.RolloutParallel, cfg.RolloutLean = best.open, best.takes, best.open.Parallel, best.open.Lean
	return best.memory, note + ": there is no room for more", nil
}

// sparing are ways of writing answers in less and less memory than open does. Copies of weights go before fewer answers
// than keep a processor's kernels busy are written at a time.
func sparing(open rollout.Config, copies bool) (ways []rollout.Config) {
	const busy = 8
	add := func(parallel int, lean bool) {
		o := open
		o.Parallel, o.Lean = parallel, lean
		ways = append(ways, o)
	}
	for n := open.Parallel / 2; n >= busy; n /= 2 {
		add(n, open.Lean)
	}
	if copies {
		add(open.Parallel, true)
	}
	for n := open.Parallel / 2; n >= 1; n /= 2 {
		if copies || n < busy {
			add(n, open.Lean || copies)
		}
	}
	return ways
}

// RolloutDisk is how many bytes the rollouts have on disk, at most at one time, that a run of so many steps on so
// many prompts keeps; 0 for other methods. A rollout without signal makes no step, and is not counted.
func RolloutDisk(cfg *config.Config, how *method.Method, m *engine.Model, prompts, steps int) int64 {
	if how.Need != method.Rollouts {
		return 0
	}
	const float, comma = 4, 1 // bytes
	const about = 100         // of what is said of an answer besides
	// A token's number as text, and its log-probability as drawn and as training sees it.
	each := int64(comma+len(strconv.Itoa(m.HParams().NVocab))) + 2*float
	if how.Reference {
		each += float
	}
	if how.Value != method.NoValues {
		each += float
	}
	answers := int64(min(cfg.RolloutPrompts, prompts)) * int64(cfg.NumGenerations.N)
	// Rollouts stay while one of the newest checkpoints may need them, and until the first is written.
	updates, since := cfg.NumIterations.N*cfg.NumMiniBatches, steps
	if cfg.SaveEvery > 0 {
		since = min(steps, (cfg.Keep+1)*cfg.SaveEvery)
	}
	return int64(since/updates+1) * answers * (each*int64(cfg.MaxCompletion) + about)
}

// rolls says that the run learns from answers that its model writes.
func (p *planner) rolls() bool { return p.how.Need == method.Rollouts }

// planRollouts works out what writing the answers takes, and the largest micro-batch of a run without data.
func (p *planner) planRollouts() (err error) {
	if !p.rolls() {
		return nil
	}
	if p.rows == nil {
		p.shape.Counted = p.cfg.RowAnswers()
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

// madeUpTree is a prompt of random tokens with as many answers as share a row, of as many tokens as they may have.
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
	for range max(p.cfg.RowAnswers()/p.cfg.MaxCompletion, 1) {
		add(p.cfg.MaxCompletion, 0)
	}
	return &engine.Batch{Rows: []engine.Row{row}}
}

// measureWriting has the model, as training starts, write answers to the first prompts, and says how fast it is, in
// tok/s, and how long they are.
func (p *planner) measureWriting(ctx context.Context, sess *engine.Session) (tokPerS, answerLen float64, err error) {
	w, err := rollout.Open(p.open.By(sess))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if a, ok := p.session.Sets[0].Adapter.(*adapter.Adapter); ok && p.open.Own == nil {
		if err := w.Hold(ctx, a); err != nil {
			return 0, 0, err
		}
	}
	m, _, err := p.rows.TrainRows.Next(encode.Cursor{})
	if err != nil {
		return 0, 0, err
	}
	g := p.cfg.NumGenerations.N
	var prompts []rollout.Prompt
	for _, row := range m.Batch.Rows[:min(len(m.Batch.Rows), (p.open.Parallel+g-1)/g)] {
		prompts = append(prompts, rollout.Prompt{Tokens: row.Tokens})
	}
	how := rollout.Sampling{Temp: p.cfg.Temperature, MaxTokens: 1, Seed: p.cfg.Seed}
	const some = 16       // tokens of an answer, whatever it takes
	var tokens, ended int // of the last time
	for try := range 3 {  // the first reads the model from disk, the second says what is to be had in time
		began := time.Now()
		answers, err := w.Write(ctx, prompts, g, how)
		if err != nil {
			return 0, 0, err
		}
		tokens, ended = 0, 0
		for _, a := range answers {
			tokens += len(a.Tokens)
			if a.Ended {
				ended++
			}
		}
		tokPerS = float64(tokens) / time.Since(began).Seconds()
		if how.MaxTokens = min(some, p.cfg.MaxCompletion); try > 0 {
			how.MaxTokens = min(max(how.MaxTokens, int(patience*tokPerS)/len(answers)), p.cfg.MaxCompletion)
		}
	}
	return tokPerS, expectedLen(ended, tokens, p.cfg.MaxCompletion), nil
}

// expectedLen is how many tokens an answer has on average, of at most so many, where of all tokens seen so many ended
// one, and any other might have: what was cut off tells as much as it can.
func expectedLen(ended, tokens, most int) float64 {
	if ended == 0 {
		return float64(most)
	}
	end := float64(ended) / float64(tokens)
	return (1 - math.Pow(1-end, float64(most))) / end
}

// rollTime adds what a run whose model writes its own answers does and takes, of answers as long as those that were
// measured, or as they may be.
func (p *planner) rollTime(steps int, timed bool) {
	cfg := p.cfg
	each := float64(cfg.MaxCompletion)
	if timed {
		each = p.pace.answerLen
		p.AnswerTokens = &each
	}
	answers := float64(cfg.NumGenerations.N) * each // tokens to a prompt
	rollouts := float64(steps) / float64(cfg.NumIterations.N*cfg.NumMiniBatches)
	prompts := rollouts * float64(min(cfg.RolloutPrompts, p.rows.TrainRows.Rows()))
	read := prompts * (float64(p.promptLen()) + answers)
	all := int(read * float64(cfg.NumIterations.N))
	p.RunTokens = &all
	if !timed {
		return
	}
	written := prompts * answers / p.pace.write
	var passes float64
	if p.open.Own == nil || p.how.Value != method.NoValues { // else the writer has told what it says
		passes += read / p.pace.forward
	}
	switch {
	case p.how.Teacher: // each time that it is gone through
		passes = float64(all) / p.pace.forward * p.larger
		p.ReferenceSeconds = &passes
		written *= p.cfg.Lmbda
	case p.how.Reference:
		passes += read / p.pace.forward
	}
	trained := float64(all)/p.pace.train + float64(steps)*p.pace.update
	speed := float64(all) / trained
	measured := float64(p.rows.Evaluations()*p.rows.HeldPrompts())*each/p.pace.write +
		float64(eval.GeneralReads*p.general)/p.pace.forward
	s := written + passes + trained + measured
	p.TokPerS, p.WriteTokPerS = &speed, &p.pace.write
	p.RolloutSeconds, p.EvalSeconds, p.Seconds = &written, &measured, &s
}
