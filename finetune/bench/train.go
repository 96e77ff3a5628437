package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/optim"
)

// Train says what a training session for one case does. It is plain data, to be handed to another process.
type Train struct {
	Path      string `json:"path"`
	Case      string `json:"case"`
	Threads   int    `json:"threads"`
	Tokens    int    `json:"tokens"`
	Rank      int    `json:"rank"` // 0 with full training
	KeepBytes int64  `json:"keep_bytes"`
	Level     string `json:"level,omitempty"` // of our kernels; "" is the best
}

// train makes the session's data of one case.
func (c *Config) train(path string, p workload) Train {
	t := Train{Path: path, Case: p.name, Threads: c.Threads, Tokens: c.Tokens, Rank: c.Rank, KeepBytes: c.KeepBytes,
		Level: c.Level}
	if p.session.rank > 0 {
		t.Rank = p.session.rank
	}
	if p.session.full {
		t.Rank = 0
	}
	switch {
	case p.session.recompute:
		t.KeepBytes = 0
	case t.KeepBytes == 0:
		t.KeepBytes = freeMemory() / 2
	}
	return t
}

// freeMemory is what the process may still take; where the system does not say, 4 GB are assumed.
func freeMemory() int64 {
	if free := budget.FreeMemory(); free > 0 {
		return free
	}
	return 4e9
}

func (t Train) config(m *engine.Model, profile bool) (engine.SessionConfig, error) {
	cfg := engine.SessionConfig{Threads: t.Threads, KeepBytes: t.KeepBytes, Seed: 1, Profile: profile}
	if t.Rank == 0 {
		cfg.Sets = []engine.Set{{Whole: engine.Everything}}
		return cfg, nil
	}
	a, err := adapter.New(m.Net(),
		adapter.Config{Rank: t.Rank, Alpha: 2 * float64(t.Rank), Init: adapter.Inits()[0], Seed: 1})
	cfg.Sets = []engine.Set{{Adapter: a}}
	return cfg, err
}

// A trainer is a session with its optimizer.
type trainer struct {
	cfg       engine.SessionConfig
	session   *engine.Session
	optimizer *optim.Running
	vocab     int
}

func newTrainer(m *engine.Model, t Train, profile bool) (*trainer, error) {
	cfg, err := t.config(m, profile)
	if err != nil {
		return nil, err
	}
	s, err := engine.NewSession(m, cfg)
	if err != nil {
		return nil, err
	}
	o, err := optim.AdamW.Start(s.Params(), nil, optim.Options{})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &trainer{cfg: cfg, session: s, optimizer: o, vocab: m.HParams().NVocab}, nil
}

// close frees the session and what works on it.
func (t *trainer) close() error {
	t.optimizer.Close()
	return t.session.Close()
}

// learningRate is small enough that the loss of random tokens stays finite over any number of rounds.
const learningRate = 1e-5

// step trains on one row: the loss is minus the mean of what the model says. It returns how long it took, and of that
// the optimizer.
func (t *trainer) step(ctx context.Context, row engine.Row) (whole, optimizer time.Duration, err error) {
	began := time.Now()
	if err := t.session.ZeroGrad(); err != nil {
		return 0, 0, err
	}
	m := t.session.Model()
	out, err := t.session.Forward(ctx, batchOf(row),
		engine.Options{Backward: true, Dropout: true, Pooling: m.Net().Pooling.OrMean()})
	if err != nil {
		return 0, 0, err
	}
	grad := slices.Repeat([]float32{-1}, len(out[m.Says()]))
	if err := t.session.Backward(ctx, engine.Outputs{m.Says(): grad}, nil); err != nil {
		return 0, 0, err
	}
	computed := time.Now()
	n := float64(len(grad))
	norm, err := t.optimizer.GradNorm()
	if err != nil {
		return 0, 0, err
	}
	if err := t.optimizer.Update(learningRate, optim.ClipScale(norm/n, 1)/n); err != nil {
		return 0, 0, err
	}
	done := time.Now()
	return done.Sub(began), done.Sub(computed), nil
}

// batchOf is a batch of one row, of which a vector is asked for each segment.
func batchOf(row engine.Row) *engine.Batch {
	row.Pooled = nil
	for i := range row.Segments {
		row.Pooled = append(row.Pooled, int32(i))
	}
	return &engine.Batch{Rows: []engine.Row{row}}
}

// forward computes what the model says of a row alone.
func (t *trainer) forward(ctx context.Context, row engine.Row, opt engine.Options) (time.Duration, error) {
	began := time.Now()
	opt.Pooling = t.session.Model().Net().Pooling.OrMean()
	_, err := t.session.Forward(ctx, batchOf(row), opt)
	return time.Since(began), err
}

// newRand seeds the rows: the same in every process and round.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 512)) }

// peakSteps are enough to reach the greatest use of memory: all of it is allocated in the first step; the second finds
// the optimizer's moments touched.
const peakSteps = 2

// TrainPeak trains a few steps and returns the most memory this process has had resident, in bytes, the mapped model
// file included. It is meant for a process that does nothing else.
func TrainPeak(ctx context.Context, t Train) (peak int64, err error) {
	found, err := workloadsOf([]string{t.Case})
	if err != nil {
		return 0, err
	}
	restore, err := setLevel(t.Level)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	m, err := engine.Open(t.Path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	tr, err := newTrainer(m, t, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tr.close()) }()
	row := found[0].row(newRand(), t.Tokens, tr.vocab)
	for range peakSteps {
		if _, _, err := tr.step(ctx, row); err != nil {
			return 0, fmt.Errorf("step: %w", err)
		}
	}
	return peakBytes()
}
