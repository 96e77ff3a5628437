package budget

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/sample"
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
	SampleBytes     int64 `json:"sample_bytes"`     // of llama.cpp, for answers while the model trains
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
	// DiskBytes is what the run's directory holds at most at one time.
	DiskBytes *int64 `json:"disk_bytes"`
	// Time, measured on a short row; null where it was not asked for.
	TokPerS *float64 `json:"tok_per_s"`
	Seconds *float64 `json:"seconds"` // of the reference pass and of training, without evaluations; null without data
	// ReferenceSeconds is the reference pass's part of Seconds, if no cache holds it; null too for methods without a
	// reference.
	ReferenceSeconds *float64 `json:"reference_seconds"`

	// Chosen says which settings were left to ggtune, and why they are as they are.
	Chosen []string `json:"chosen"`

	forward float64 // tok/s of a forward pass alone; 0 where it was not measured
}

// A planner works out a Forecast.
type planner struct {
	*Forecast
	cfg     *config.Config
	how     *method.Method
	model   *engine.Model
	rows    *corpus.Rows         // nil without data
	session engine.SessionConfig // as training would have it
	samples *sample.Plan         // what is asked meanwhile; nil: nothing
	shape   Shape
}

// NewForecast works out what a training run would take, from the model, from the data where cfg names some, and, if
// timed, from one short forward and backward pass. The error of a run that does not fit says what would; the forecast
// is returned with it.
func NewForecast(ctx context.Context, cfg config.Config, timed bool) (_ *Forecast, err error) {
	if err := cfg.ValidatePlan(); err != nil {
		return nil, err
	}
	if err := cfg.FindAdapters(); err != nil {
		return nil, err
	}
	if cfg.Threads == 0 {
		cfg.Threads = PhysicalCores()
	}
	p := &planner{cfg: &cfg}
	if p.how, err = cfg.Loss(); err != nil {
		return nil, err
	}
	if p.model, err = engine.Open(cfg.Model); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.model.Close()) }()
	if cfg.Full {
		if err := p.model.CheckFull(); err != nil {
			return nil, err
		}
	}
	p.Forecast = &Forecast{Model: cfg.Model, Types: p.model.StorageTypes(), ModelBytes: p.model.File().Bytes(),
		FreeBytes: FreeMemory()}
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	if p.session, err = cfg.Session(p.model); err != nil {
		return nil, err
	}
	if err := p.memory(); err != nil {
		return p.Forecast, err
	}
	if timed {
		if err := p.time(ctx); err != nil {
			return p.Forecast, err
		}
	}
	p.course()
	return p.Forecast, nil
}

// read reads the data, if there is any, and takes the largest micro-batch from it.
func (p *planner) read(ctx context.Context) (err error) {
	p.shape = Shape{Row: p.cfg.SeqLen, Counted: p.cfg.SeqLen, Rows: p.cfg.Batch}
	if len(p.cfg.Data) > 0 {
		text, err := corpus.Open(p.cfg, p.model, p.how)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, text.Close()) }()
		if p.rows, err = text.Read(ctx); err != nil {
			return err
		}
		p.shape.Row, p.shape.Counted, p.shape.Rows = p.rows.Largest()
		if p.Chosen, err = p.cfg.Resolve(p.how, p.rows.Fit(p.model)); err != nil {
			return err
		}
		prompts, err := sample.Prompts(ctx, p.cfg, text, p.rows)
		if err != nil {
			return err
		}
		// Where llama.cpp will not answer, a run goes on without.
		if p.samples, err = sample.NewPlan(p.cfg, p.model, prompts); err != nil {
			p.samples = nil
		}
	} else if p.Chosen, err = p.cfg.Resolve(p.how, config.Fit{Params: p.model.Params()}); err != nil {
		return err
	}
	p.Tokens, p.Counted = p.shape.Row*p.shape.Rows, p.shape.Counted*p.shape.Rows
	return nil
}

// memory works out the footprint, and whether it fits.
func (p *planner) memory() error {
	m, refused := PlanMemory(p.model, p.session, p.cfg, p.shape, p.samples.Bytes, p.FreeBytes)
	if refused != nil {
		m.Keep = 0
	}
	p.session.KeepBytes = m.Keep
	f, err := p.shape.footprint(p.model, p.session)
	if err != nil {
		return err
	}
	p.Trained, p.Layers, p.KeptLayers = f.Trained, f.Layers, f.KeptLayers
	p.ParamBytes, p.OptimizerBytes, p.WorkBytes, p.ActivationBytes = f.Params, p.cfg.Optimizer().StateBytes(f.Trained),
		f.Work+f.Inputs, f.Kept
	p.SampleBytes = m.Samples
	p.TotalBytes, p.Fits = f.Total()+p.OptimizerBytes+p.SampleBytes, refused == nil
	p.LargestBatch = p.largestBatch()
	return refused
}

// largestBatch finds how many rows fit, up to the power of two that is more than anybody asks for.
func (p *planner) largestBatch() int {
	const most = 256
	sc := p.session
	sc.KeepBytes = 0
	allowed := p.FreeBytes
	if asked := int64(p.cfg.Memory) * 1e6; asked > 0 && (allowed == 0 || asked < allowed) {
		allowed = asked
	}
	if allowed == 0 {
		return most // nobody says what there is
	}
	fits := func(n int) bool {
		f, err := Shape{Row: p.shape.Row, Counted: p.shape.Counted, Rows: n}.footprint(p.model, sc)
		return err == nil && f.Total()+p.cfg.Optimizer().StateBytes(f.Trained)+p.SampleBytes <= allowed
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

// timedTokens is the length of the row that speed is measured on: enough for the products to be what takes the time,
// short enough that a large model answers in seconds.
const timedTokens = 128

// time measures a forward and backward pass and, for a method with a reference, a forward pass.
func (p *planner) time(ctx context.Context) (err error) {
	sess, err := engine.NewSession(p.model, p.session)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	hp := p.model.HParams()
	n := min(timedTokens, p.cfg.SeqLen, hp.NCtxTrain)
	row := engine.Row{Segments: []engine.Segment{{Len: n, Parent: -1}}}
	rng := rand.New(rand.NewPCG(p.cfg.Seed, 0))
	// As many tokens count as do in the data: the output head works for those only.
	share := float64(p.Counted) / float64(p.Tokens)
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
	grad := engine.Outputs{engine.LogP: make([]float32, len(row.Counted))}
	logp := grad[engine.LogP]
	for i := range logp {
		logp[i] = -1 / float32(len(logp))
	}
	forward := func() error {
		_, err := sess.Forward(ctx, batch, engine.Options{})
		return err
	}
	speed, err := measured(ctx, n, func() error {
		if p.how.Coupled {
			if err := forward(); err != nil { // as the loop does
				return err
			}
		}
		if _, err := sess.Forward(ctx, batch, engine.Options{Backward: true, Dropout: true}); err != nil {
			return err
		}
		return sess.Backward(ctx, grad, nil)
	})
	if err != nil {
		return err
	}
	p.TokPerS = &speed
	if p.how.Reference {
		p.forward, err = measured(ctx, n, forward)
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
func (p *planner) referenceTokens() float64 {
	_, rows := p.rows.Reached()
	n := float64(p.rows.Train.Counts.Tokens) * float64(rows) / float64(p.rows.TrainRows.Rows())
	if p.rows.Held != nil {
		n += float64(p.rows.Held.Counts.Tokens)
	}
	return n
}

// course adds what the run does with its data.
func (p *planner) course() {
	if p.rows == nil {
		return
	}
	steps, perEpoch, tokens := p.rows.Steps(), p.rows.StepsPerEpoch(), p.rows.Train.Counts.Tokens
	all := int(float64(tokens) * float64(steps) / float64(perEpoch))
	p.Steps, p.RunTokens = &steps, &all
	disk := PlanDisk(p.cfg, Course{Trained: p.Trained, Model: p.ModelBytes, Steps: steps,
		Every: p.rows.EvalEvery(), Reference: p.rows.ReferenceTokens(p.how)})
	p.DiskBytes = &disk.Total
	if p.TokPerS == nil {
		return
	}
	s := float64(all) / *p.TokPerS
	if p.how.Reference {
		ref := p.referenceTokens() / p.forward
		p.ReferenceSeconds = &ref
		s += ref
	}
	p.Seconds = &s
}
