package budget

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/rollout"
	"github.com/ggtune/ggtune/finetune/sample"
)

// A Forecast is what a run would take.
type Forecast struct {
	Model      string `json:"model"`
	Types      string `json:"types"` // storage types of the matrices
	ModelBytes int64  `json:"model_bytes"`
	Trained    int64  `json:"trained_parameters"`
	// Dequantized counts the trained tensors whose storage type is quantized; they take DequantizedBytes of
	// ParamBytes, as Master, and 4 bytes a number for their gradients.
	Dequantized      int   `json:"dequantized_tensors"`
	DequantizedBytes int64 `json:"dequantized_bytes"`
	// Master is the type of trained matrices.
	Master string `json:"master"`

	// The largest micro-batch.
	Tokens  int `json:"micro_batch_tokens"`
	Counted int `json:"micro_batch_counted_tokens"`

	// Memory beside the mapped model file, bytes.
	ParamBytes      int64 `json:"param_bytes"` // trained parameters and their gradients
	OptimizerBytes  int64 `json:"optimizer_bytes"`
	WorkBytes       int64 `json:"work_bytes"`       // one layer's temporaries, and every layer's input
	ActivationBytes int64 `json:"activation_bytes"` // kept for the backward pass
	SampleBytes     int64 `json:"sample_bytes"`     // of llama.cpp, for answers while the model trains
	RolloutBytes    int64 `json:"rollout_bytes"`    // of llama.cpp, for the answers that are learned from
	// Of RolloutBytes, keys and values of RolloutParallel answers at a time, and copies of weights.
	RolloutParallel      int   `json:"rollout_parallel"`
	RolloutKVBytes       int64 `json:"rollout_kv_bytes"`
	RolloutRepackedBytes int64 `json:"rollout_repacked_bytes"`
	// TeacherWorkBytes is what a teacher takes who is asked about answers while they are learned from, beside its
	// mapped file of TeacherFileBytes.
	TeacherWorkBytes int64 `json:"teacher_work_bytes"`
	TeacherFileBytes int64 `json:"teacher_file_bytes"`
	KeptLayers       int   `json:"kept_layers"` // the others are computed again
	Layers           int   `json:"layers"`
	TotalBytes       int64 `json:"total_bytes"`
	// StartBytes is what working out how an adapter starts takes, one matrix at a time, before the rest is taken.
	StartBytes int64 `json:"start_bytes"`
	// PeakBytes is what the process will have resident at most: TotalBytes, the mapped models, and the program with its
	// data. 0 where the run does not fit.
	PeakBytes int64 `json:"peak_bytes"`
	FreeBytes int64 `json:"free_bytes"` // 0: the system does not say
	Fits      bool  `json:"fits"`
	// LargestBatch is how many rows of the longest one's length would fit at most, 0 if not one does.
	LargestBatch int `json:"largest_batch"`

	// GenerateBytes is what generating from the result (0: it makes vectors alone) takes beside the model file, with
	// keys and values for a text of the usual length; of it, RepackedBytes are copies of weights in layouts that
	// llama.cpp's fastest kernels want.
	GenerateBytes int64 `json:"generate_bytes"`
	RepackedBytes int64 `json:"repacked_bytes"`

	// With data: what the run does. Null without.
	Steps     *int `json:"steps"`
	RunTokens *int `json:"run_tokens"` // of all epochs or steps
	// DiskBytes is what the run's directory holds at most at one time.
	DiskBytes *int64 `json:"disk_bytes"`
	// Time, measured on rows of the run's own; null where it was not asked for.
	TokPerS *float64 `json:"tok_per_s"` // of training, updates included
	Seconds *float64 `json:"seconds"`   // of training, the reference pass and evaluations; null without data
	// ReferenceSeconds is the part of Seconds of the reference's pass, or the teacher's, which is taken to be as much
	// slower as it is larger, if no cache holds it; null too for methods with neither.
	ReferenceSeconds *float64 `json:"reference_seconds"`
	// Where the model learns from its own answers: how fast it writes them, all at a time that are, how long they are
	// as training starts, and the part of Seconds of that; null for other methods.
	WriteTokPerS   *float64 `json:"write_tok_per_s"`
	AnswerTokens   *float64 `json:"answer_tokens"`
	RolloutSeconds *float64 `json:"rollout_seconds"`
	// TeacherBytes is the size of the teacher's predictions on disk; null without one.
	TeacherBytes *int64 `json:"teacher_bytes"`
	// EvalSeconds is the part of Seconds that measuring takes: held-out rows in the course of the run, general text at
	// its end.
	EvalSeconds *float64 `json:"eval_seconds"`

	// Mixed says what is mixed in of other data.
	Mixed []*corpus.Mixed `json:"mixed"`
	// Chosen says which settings were left to ggtune, and why they are as they are.
	Chosen []string `json:"chosen"`

	pace pace
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
	program footing // when all is read
	planned Memory
	whole   engine.Whole
	larger  float64 // parameters of the teacher over those of the model; 1 without one
	// rollouts is what llama.cpp takes to write what is learned from.
	rollouts llama.Memory
	open     rollout.Config // how it is opened for that
	cached   int64          // bytes of the reference's log-probabilities or the teacher's predictions
	general  int            // tokens of the general text, 0 where the model cannot read it
}

// NewForecast works out what a training run would take, from the model, from the data where cfg names some, and, if
// timed, from some of its micro-batches. The error of a run that does not fit says what would; the forecast
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
	defer func() { err = errors.Join(err, p.close()) }()
	p.Forecast = &Forecast{Model: cfg.Model, Types: p.model.StorageTypes(), ModelBytes: p.model.File().Bytes(),
		FreeBytes: FreeMemory()}
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	if p.session, err = cfg.Session(p.model); err != nil {
		return nil, err
	}
	if p.rows != nil {
		config.Invoke(p.session, p.rows.Invocation)
	}
	if p.whole, err = p.model.Whole(p.session.Sets[0]); err != nil {
		return nil, err
	}
	p.Dequantized, p.DequantizedBytes, p.Master = p.whole.Dequantized, p.whole.Bytes, cfg.Master
	if err := p.memory(); err != nil {
		return p.Forecast, err
	}
	if !p.model.Net().Headless {
		llama, err := generate.PlanMemory(generate.Config{Model: cfg.Model, Threads: cfg.Threads,
			Ctx: generate.UsualCtx(p.model.HParams().NCtxTrain)})
		if err != nil {
			return p.Forecast, err
		}
		p.GenerateBytes, p.RepackedBytes = llama.Total(), llama.Repacked
	}
	live, err := p.measure(ctx, timed)
	if err != nil {
		return p.Forecast, err
	}
	p.PeakBytes = p.peak(live)
	p.course(timed)
	return p.Forecast, nil
}

// close lets go of the models.
func (p *planner) close() error {
	var err error
	if t := p.shape.Teacher; t != nil {
		err = t.Close()
	}
	return errors.Join(err, p.model.Close())
}

// read reads the data, if there is any, and takes the largest micro-batch from it.
func (p *planner) read(ctx context.Context) (err error) {
	p.shape = Shape{Row: p.cfg.SeqLen, Counted: p.cfg.SeqLen, Rows: p.cfg.Batch, Want: p.cfg.Wants(p.how),
		Critic: p.cfg.OwnValues()}
	if p.shape.Pooling, err = p.cfg.VectorsOf(p.how, p.model); err != nil {
		return err
	}
	if p.how.Need.Pools() {
		p.shape.Texts = 1
	}
	if len(p.cfg.Data) > 0 {
		text, err := corpus.Open(p.cfg, p.model, p.how)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, text.Close()) }()
		if err := text.InvokeTrained(p.model.Net()); err != nil {
			return err
		}
		if err := p.lookAtOther(text); err != nil {
			return err
		}
		if p.rows, err = text.Read(ctx); err != nil {
			return err
		}
		p.Mixed = p.rows.Mixed
		if p.cached = p.rows.CachedBytes(p.how, p.named()); p.how.Teacher && !p.rolls() {
			p.TeacherBytes = &p.cached
		}
		// else a run says so
		items, err := text.Literal("general text", eval.GeneralText, eval.GeneralWindow)
		if err == nil && p.how.Value != method.AtEnds && !p.how.Need.Pools() { // which writes no text
			for i := range items {
				p.general += len(items[i].Tokens)
			}
		}
		if p.Chosen, err = p.cfg.Resolve(p.how, p.rows.Fit(p.model)); err != nil {
			return err
		}
		p.shape.Row, p.shape.Counted, p.shape.Rows = p.rows.Largest()
		p.shape.Texts = p.rows.MostTexts()
		prompts, err := sample.Prompts(ctx, p.cfg, text, p.rows)
		if err != nil {
			return err
		}
		// Where llama.cpp will not answer, a run goes on without.
		if p.samples, err = sample.NewPlan(p.cfg, p.model, prompts); err != nil {
			p.samples = nil
		}
	} else if err := p.lookAtOther(nil); err != nil {
		return err
	} else if p.Chosen, err = p.cfg.Resolve(p.how, config.Fit{Params: p.model.Params()}); err != nil {
		return err
	}
	if p.rows != nil {
		if err := p.rows.Bound(); err != nil {
			return err
		}
	}
	if p.how.Teacher {
		p.shape.Named = p.named()
	}
	if err := p.planRollouts(); err != nil {
		return err
	}
	p.program = measureProgram() // with the tokenizer, which a run keeps
	p.Tokens, p.Counted = p.shape.Row*p.shape.Rows, p.shape.Counted*p.shape.Rows
	return nil
}

// lookAtOther says how much larger than the model the other one is that is learned from, keeps a teacher open that is
// asked while it trains, and has text encoded for another embedder.
func (p *planner) lookAtOther(text *corpus.Reader) error {
	p.larger = 1
	path, option := p.cfg.OtherModel(p.how)
	if path == "" {
		return nil
	}
	t, err := engine.Open(path)
	if err != nil {
		return fmt.Errorf("--%s: %w", option, err)
	}
	p.larger = float64(t.Params()) / float64(p.model.Params())
	if p.rolls() {
		p.shape.Teacher, p.TeacherFileBytes = t, t.File().Bytes()
		return nil
	}
	if text != nil && p.how.Need.Pools() {
		err = text.Other(t)
	}
	return errors.Join(err, t.Close())
}

// named is how many tokens the teacher names for each that counts.
func (p *planner) named() int { return p.cfg.Named(p.model.HParams().NVocab) }

// memory works out the footprint, and whether it fits.
func (p *planner) memory() error {
	m, note, refused := FitRollouts(p.model, p.session, p.cfg, p.shape, p.samples.Bytes, &p.open, &p.rollouts,
		p.FreeBytes)
	if note != "" {
		p.Chosen = append(p.Chosen, note)
	}
	if refused != nil {
		m.Keep = 0
	}
	p.session.KeepBytes, p.shape.Cache = m.Keep, p.open.Cache()
	f, err := p.shape.footprint(p.model, p.session)
	if err != nil {
		return err
	}
	p.Trained, p.Layers, p.KeptLayers = f.Trained, f.Layers, f.KeptLayers
	state, update := p.cfg.OptimizerBytes(f.List)
	apart := leaving(p.session, &f)
	p.ParamBytes, p.OptimizerBytes, p.WorkBytes, p.ActivationBytes = f.Params+apart, state+update, f.Work+f.Inputs,
		f.Kept
	p.RolloutBytes, p.RolloutParallel, p.TeacherWorkBytes = m.Rollouts, p.open.Parallel, m.Teacher
	p.RolloutKVBytes, p.RolloutRepackedBytes = p.rollouts.KV+f.Cache, p.rollouts.Repacked
	p.SampleBytes, p.StartBytes, p.planned = m.Samples, p.cfg.StartBytes(p.session), m
	if p.cfg.Explains() {
		p.StartBytes += f.Work + f.Inputs
	}
	p.TotalBytes = f.Total() - f.Cache + apart + p.OptimizerBytes + p.SampleBytes + p.RolloutBytes + p.TeacherWorkBytes
	p.Fits = refused == nil
	p.LargestBatch = p.largestBatch()
	return refused
}

// peak is the most that the process will have resident, where live is what is in use on Go's heap with a session open.
func (p *planner) peak(live int64) int64 {
	computed, heap := eval.GeneralBytes(p.model.HParams().NVocab)
	training := p.program.grown(live+heap) + p.TotalBytes + computed
	return p.ModelBytes + p.TeacherFileBytes + max(training, p.program.grown(live+p.StartBytes))
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
		shape := p.shape
		shape.Rows = n
		f, err := shape.footprint(p.model, sc)
		teaching, asked := shape.taught(sc.Threads)
		state, update := p.cfg.OptimizerBytes(f.List)
		return err == nil && asked == nil && f.Total()+state+update+p.SampleBytes+p.RolloutBytes+teaching <= allowed
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

// referenceTokens is how many tokens the reference is run over, training rows taken at their mean length.
func (p *planner) referenceTokens() float64 {
	_, rows := p.rows.Reached()
	n := float64(p.rows.Train.Counts.Tokens) * float64(rows) / float64(p.rows.TrainRows.Rows())
	if p.rows.Held != nil {
		n += float64(p.rows.Held.Counts.Tokens)
	}
	return n
}

// measure opens a session as training would have it, measures how fast it is, if asked, and says what is in use on Go's
// heap then: an adapter's numbers, as they are read and written, and what describes the computation.
func (p *planner) measure(ctx context.Context, timed bool) (live int64, err error) {
	sess, err := engine.NewSession(p.model, p.session)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	if timed {
		if p.pace, err = p.measurePace(ctx, sess); err != nil {
			return 0, err
		}
	}
	return measureProgram().live, nil
}

// course adds what the run does with its data, and how long that takes.
func (p *planner) course(timed bool) {
	if p.rows == nil {
		if timed {
			p.TokPerS = &p.pace.train
		}
		return
	}
	steps, perEpoch, tokens := p.rows.Steps(), p.rows.StepsPerEpoch(), p.rows.Train.Counts.Tokens
	all := int(float64(tokens) * float64(steps) / float64(perEpoch))
	p.Steps, p.RunTokens = &steps, &all
	disk := PlanDisk(p.cfg, Course{Trained: p.Trained, Params: p.planned.Params, Fixed: p.planned.Fixed,
		Adapter: config.AdapterBytes(p.session), State: p.planned.State, Model: p.whole.File, Steps: steps,
		Every: p.rows.EvalEvery(), Cached: p.cached,
		Samples:  p.samples.Disk(p.rows.Samplings()),
		Rollouts: RolloutDisk(p.cfg, p.how, p.model, p.rows.TrainRows.Rows(), steps)})
	p.DiskBytes = &disk.Total
	if p.rolls() {
		p.rollTime(steps, timed)
		return
	}
	if !timed {
		return
	}
	s := float64(all)/p.pace.train + float64(steps)*p.pace.update
	speed := float64(all) / s
	p.TokPerS = &speed
	if p.how.Reference || p.how.Teacher {
		ref := p.referenceTokens() / p.pace.forward * p.larger
		p.ReferenceSeconds = &ref
		s += ref
	}
	measured := float64(eval.GeneralReads * p.general)
	measured += float64(p.rows.Evaluations() * p.rows.HeldTokens())
	measured /= p.pace.forward
	s += measured
	p.EvalSeconds, p.Seconds = &measured, &s
}
