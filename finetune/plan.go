package finetune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
)

// A Forecast is what a run would take.
type Forecast struct {
	Model      string `json:"model"`
	Types      string `json:"types"` // storage types of the matrices
	ModelBytes int64  `json:"model_bytes"`
	Trained    int64  `json:"trained_parameters"`

	// The largest micro-batch.
	Tokens  int `json:"micro_batch_tokens"`
	Counted int `json:"micro_batch_counted_tokens"`

	// Memory beside the mapped model file, bytes.
	ParamBytes      int64 `json:"param_bytes"` // trained parameters and their gradients
	OptimizerBytes  int64 `json:"optimizer_bytes"`
	WorkBytes       int64 `json:"work_bytes"`       // one layer's temporaries, and every layer's input
	ActivationBytes int64 `json:"activation_bytes"` // kept for the backward pass
	KeptLayers      int   `json:"kept_layers"`      // the others are computed again
	Layers          int   `json:"layers"`
	TotalBytes      int64 `json:"total_bytes"`
	FreeBytes       int64 `json:"free_bytes"` // 0: the system does not say
	Fits            bool  `json:"fits"`
	// LargestBatch is how many rows of the longest one's length would fit at most, 0 if not one does.
	LargestBatch int `json:"largest_batch"`

	// With data: what the run does. Null without.
	Steps     *int `json:"steps"`
	RunTokens *int `json:"run_tokens"` // of all epochs or steps
	// Time, measured on a short row; null where it was not asked for.
	TokPerS *float64 `json:"tok_per_s"`
	Seconds *float64 `json:"seconds"` // of the reference pass and of training, without evaluations; null without data
	// ReferenceSeconds is the reference pass's part of Seconds, if no cache holds it; null too for methods without a reference.
	ReferenceSeconds *float64 `json:"reference_seconds"`

	forward float64 // tok/s of a forward pass alone; 0 where it was not measured
}

// PlanRun works out what a training run would take, from the model, from the data where cfg names some, and, if timed, from
// one short forward and backward pass. The error of a run that does not fit says what would; the forecast is returned with
// it.
func PlanRun(ctx context.Context, cfg config.Config, timed bool) (_ *Forecast, err error) {
	if err := cfg.ValidatePlan(); err != nil {
		return nil, err
	}
	if cfg.Threads == 0 {
		cfg.Threads = PhysicalCores()
	}
	r := &run{cfg: cfg}
	defer func() { err = errors.Join(err, r.close()) }()
	if r.how, err = cfg.Loss(); err != nil {
		return nil, err
	}
	if r.model, err = engine.Open(cfg.Model); err != nil {
		return nil, err
	}
	if cfg.Full {
		if err := r.model.CheckFull(); err != nil {
			return nil, err
		}
	}
	f := &Forecast{Model: cfg.Model, Types: r.model.StorageTypes(), ModelBytes: r.model.File().Bytes(), FreeBytes: FreeMemory()}
	longest, counted, batch := cfg.SeqLen, cfg.SeqLen, cfg.Batch
	if len(cfg.Data) > 0 {
		if r.text, err = corpus.Open(&r.cfg, r.model, r.how); err != nil {
			return nil, err
		}
		if err := r.read(ctx); err != nil {
			return nil, err
		}
		longest, counted, batch = r.rows.Largest()
	}
	f.Tokens, f.Counted = longest*batch, counted*batch
	sc, err := r.sessionConfig()
	if err != nil {
		return nil, err
	}
	if err := f.memory(r, sc, longest, counted); err != nil {
		return f, err
	}
	if timed {
		if err := f.time(ctx, r); err != nil {
			return f, err
		}
	}
	f.course(r)
	return f, nil
}

// memory works out the footprint, and whether it fits.
func (f *Forecast) memory(r *run, sc engine.SessionConfig, longest, counted int) error {
	var refused error
	if r.plan, refused = planMemory(r.model, sc, &r.cfg, f.Tokens, f.Counted, longest, f.FreeBytes); refused != nil {
		r.plan.keep = 0
	}
	sc.KeepBytes = r.plan.keep
	p, err := engine.Plan(r.model, sc, f.Tokens, f.Counted, longest)
	if err != nil {
		return err
	}
	f.Trained, f.Layers, f.KeptLayers = p.Trained, p.Layers, p.KeptLayers
	f.ParamBytes, f.OptimizerBytes, f.WorkBytes, f.ActivationBytes = p.Params, optimizerBytes*p.Trained, p.Work+p.Inputs, p.Kept
	f.TotalBytes, f.Fits = p.Total()+f.OptimizerBytes, refused == nil
	f.LargestBatch = f.largestBatch(r, sc, longest, counted)
	return refused
}

// largestBatch finds how many rows fit, up to the power of two that is more than anybody asks for.
func (f *Forecast) largestBatch(r *run, sc engine.SessionConfig, longest, counted int) int {
	const most = 256
	sc.KeepBytes = 0
	allowed := f.FreeBytes
	if asked := int64(r.cfg.Memory) * 1e6; asked > 0 && (allowed == 0 || asked < allowed) {
		allowed = asked
	}
	if allowed == 0 {
		return most // nobody says what there is
	}
	fits := func(n int) bool {
		p, err := engine.Plan(r.model, sc, longest*n, counted*n, longest)
		return err == nil && p.Total()+optimizerBytes*p.Trained <= allowed
	}
	lo, hi := 0, most+1 // lo fits, hi does not
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; fits(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// timedTokens is the length of the row that speed is measured on: enough for the products to be what takes the time, short
// enough that a large model answers in seconds.
const timedTokens = 128

// time measures a forward and backward pass and, for a method with a reference, a forward pass.
func (f *Forecast) time(ctx context.Context, r *run) error {
	sc, err := r.sessionConfig()
	if err != nil {
		return err
	}
	if r.sess, err = engine.NewSession(r.model, sc); err != nil {
		return err
	}
	hp := r.model.HParams()
	n := min(timedTokens, r.cfg.SeqLen, hp.NCtxTrain)
	row := engine.Row{Segments: []engine.Segment{{Len: n, Parent: -1}}}
	rng := rand.New(rand.NewPCG(r.cfg.Seed, 0))
	// As many tokens count as do in the data: the output head works for those only.
	share := float64(f.Counted) / float64(f.Tokens)
	for i := range n {
		row.Tokens = append(row.Tokens, int32(rng.IntN(hp.NVocab)))
		if i > 0 && float64(len(row.Counted)) < share*float64(i) {
			row.Counted = append(row.Counted, int32(i))
		}
	}
	if len(row.Counted) == 0 {
		return fmt.Errorf("plan: rows of %d tokens are too short to measure", n)
	}
	batch := &engine.Batch{Rows: []engine.Row{row}}
	grad := &engine.OutputGrad{LogP: make([]float32, len(row.Counted))}
	for i := range grad.LogP {
		grad.LogP[i] = -1 / float32(len(grad.LogP))
	}
	forward := func() error {
		_, err := r.sess.Forward(ctx, batch, engine.Options{})
		return err
	}
	speed, err := measured(ctx, n, func() error {
		if r.how.Coupled {
			if err := forward(); err != nil { // see accumulateCoupled
				return err
			}
		}
		if _, err := r.sess.Forward(ctx, batch, engine.Options{Backward: true, Dropout: true}); err != nil {
			return err
		}
		return r.sess.Backward(ctx, grad)
	})
	if err != nil {
		return err
	}
	f.TokPerS = &speed
	if r.how.Reference {
		f.forward, err = measured(ctx, n, forward)
	}
	return err
}

// measured gives the tok/s of a pass over n tokens. The first one, which reads the model from disk, does not count.
func measured(ctx context.Context, n int, pass func() error) (tokPerS float64, err error) {
	var began time.Time
	for range 2 {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		began = time.Now()
		if err := pass(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// referenceTokens is how many tokens the reference is run over, training rows taken at their mean length.
func (r *run) referenceTokens() float64 {
	_, rows := r.rows.Reached()
	n := float64(r.rows.Train.Counts.Tokens) * float64(rows) / float64(r.rows.TrainRows.Rows())
	if r.rows.Held != nil {
		n += float64(r.rows.Held.Counts.Tokens)
	}
	return n
}

// course adds what the run does with its data.
func (f *Forecast) course(r *run) {
	if r.rows == nil {
		return
	}
	steps, perEpoch, tokens := r.rows.Steps(), r.rows.StepsPerEpoch(), r.rows.Train.Counts.Tokens
	all := int(float64(tokens) * float64(steps) / float64(perEpoch))
	f.Steps, f.RunTokens = &steps, &all
	if f.TokPerS == nil {
		return
	}
	s := float64(all) / *f.TokPerS
	if r.how.Reference {
		ref := r.referenceTokens() / f.forward
		f.ReferenceSeconds = &ref
		s += ref
	}
	f.Seconds = &s
}
