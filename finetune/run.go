package finetune

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// A run is all that one training run has open.
type run struct {
	cfg    config.Config
	rep    report.Reporter
	how    *method.Method
	model  *engine.Model
	hash   *hashing
	text   *corpus.Reader
	rows   *corpus.Rows
	plan   budget.Memory
	start  engine.SessionConfig // with the adapter as training starts
	sess   *engine.Session
	course optim.Course
	opt    optim.Running
	dir    *runDir
	log    *report.Log
	store  checkpoint.Store
	meta   meta
	saved  checkpoint.ID // the newest checkpoint written or resumed from
	// The reference's log-probabilities, nil where the method needs none.
	refTrain, refHeld *reference
	source            *encode.Stream
	clock             time.Time // when the step under way began
}

// Train runs a training run from its data to a result that llama.cpp has loaded, and tells rep what happens. On cancel it
// saves and returns context.Cause(ctx); a *config.Error says that the settings are at fault and nothing was done.
func Train(ctx context.Context, cfg config.Config, rep report.Reporter) (_ report.Summary, err error) {
	if err := cfg.Validate(); err != nil {
		return report.Summary{}, err
	}
	if err := checkOutput(&cfg); err != nil {
		return report.Summary{}, err
	}
	if cfg.Threads == 0 {
		cfg.Threads = budget.PhysicalCores()
	}
	r := &run{cfg: cfg, rep: rep}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return report.Summary{}, err
	}
	if err := r.begin(ctx); err != nil {
		return report.Summary{}, err
	}
	if err := r.train(ctx); err != nil {
		return report.Summary{}, err
	}
	return r.finish(ctx)
}

// close gives back what is open, in reverse.
func (r *run) close() error {
	var errs []error
	errs = append(errs, r.log.Close())
	if r.sess != nil {
		errs = append(errs, r.sess.Close())
	}
	if r.hash != nil {
		r.hash.stop()
	}
	errs = append(errs, r.text.Close())
	if r.model != nil {
		errs = append(errs, r.model.Close())
	}
	r.log, r.sess, r.text, r.model = nil, nil, nil, nil
	return errors.Join(append(errs, r.dir.Close())...)
}

// open reads the model and the data and plans the memory; nothing is written yet.
func (r *run) open(ctx context.Context) error {
	var err error
	if r.how, err = r.cfg.Loss(); err != nil {
		return err
	}
	if err := r.cfg.Resolve(r.how); err != nil {
		return err
	}
	if r.model, err = engine.Open(r.cfg.Model); err != nil {
		return err
	}
	r.hash = startHashing(ctx, r.model)
	if r.cfg.Full {
		if err := r.model.CheckFull(); err != nil {
			return err
		}
	}
	if r.text, err = corpus.Open(&r.cfg, r.model, r.how); err != nil {
		return err
	}
	r.text.Progress = func(done, total int) { r.rep.Report(report.Progress{What: "read", Done: done, Total: total}) }
	if r.rows, err = r.text.Read(ctx); err != nil {
		return err
	}
	if r.course, err = r.cfg.Course(r.rows.Steps()); err != nil {
		return err
	}
	if r.start, err = r.cfg.Session(r.model); err != nil {
		return err
	}
	var shape budget.Shape
	shape.Row, shape.Counted, shape.Rows = r.rows.Largest()
	free := budget.FreeMemory()
	if r.plan, err = budget.PlanMemory(r.model, r.start, &r.cfg, shape, free); err != nil {
		return err
	}
	r.start.KeepBytes = r.plan.Keep
	if note := budget.Crowded(r.model.Path(), r.model.File().Bytes(), r.plan.Total, free); note != "" {
		r.rows.Notes = append(r.rows.Notes, note)
	}
	return nil
}

// begin makes or takes over the run's directory, and brings the run to where it stands.
func (r *run) begin(ctx context.Context) error {
	var err error
	if r.dir, err = openRunDir(&r.cfg); err != nil {
		return err
	}
	if r.sess, err = engine.NewSession(r.model, r.start); err != nil {
		return err
	}
	if r.opt, err = r.cfg.Optimizer().Start(r.sess.Params(), r.cfg.Settings, optim.Options{LoRAPlus: r.cfg.LoRAPlus, Threads: r.cfg.Threads}); err != nil {
		return err
	}
	r.store = checkpoint.Store{Dir: r.dir.file(dirCheckpoints), Keep: r.cfg.Keep}
	if err := r.describe(); err != nil {
		return err
	}
	if r.cfg.Resume {
		if err := r.restore(ctx); err != nil {
			return err
		}
	}
	r.announce()
	// A base that cannot be measured begins no run. One that was stopped meanwhile has begun: it can be resumed.
	stopped := r.reference(ctx)
	if stopped == nil {
		stopped = r.measureBase(ctx)
	}
	if stopped != nil && ctx.Err() == nil {
		return stopped
	}
	if err := atomicfile.WriteFile(nil, r.dir.file(fileConfig), []byte(r.meta.Config), filePermissions); err != nil {
		return err
	}
	if r.log, err = report.OpenLog(r.dir.file(fileMetrics), r.meta.State.Step); err != nil {
		return err
	}
	return stopped
}

// describe fills in what a checkpoint says about the run.
func (r *run) describe() error {
	text, err := r.cfg.TOML()
	if err != nil {
		return err
	}
	if r.cfg.InitAdapter != "" {
		text = append([]byte(aboutAdapter(r.cfg.InitAdapter, r.start.Adapter)), text...)
	}
	r.meta = meta{Version: version(), Config: string(text), Course: r.course, TrainData: fingerprint(r.rows.Train), HeldData: fingerprint(r.rows.Held)}
	if r.how.Reference {
		if _, r.meta.RefAdapter, err = referenceAdapter(&r.cfg); err != nil {
			return err
		}
	}
	if r.cfg.InitAdapter != "" {
		if r.meta.InitAdapter, err = fileSHA256(r.cfg.InitAdapter); err != nil {
			return fmt.Errorf("--init-adapter: %w", err)
		}
	}
	r.meta.BaseSHA256, err = r.hash.wait()
	return err
}

// aboutAdapter is a comment for run.toml on the adapter that training starts from.
func aboutAdapter(path string, a *adapter.Adapter) string {
	var ranks []int64
	for i := range a.Pairs {
		ranks = append(ranks, a.Pairs[i].Rank)
	}
	slices.Sort(ranks)
	return fmt.Sprintf("# init_adapter %q has rank %s and alpha %g\n\n", path, strings.Trim(fmt.Sprint(slices.Compact(ranks)), "[]"), a.Alpha)
}

func (r *run) announce() {
	s := report.Started{Model: r.cfg.Model, Arch: r.model.Net().Arch, Types: r.model.StorageTypes(), Method: r.how.Name, Unit: r.how.Unit, Template: r.text.TemplateName(),
		Train: r.rows.Train.Counts, Memory: r.plan.Total, Steps: r.meta.Course.Steps, Step: r.meta.State.Step, Threads: r.cfg.Threads}
	if r.rows.Held != nil {
		s.Held = &r.rows.Held.Counts
	}
	for _, p := range r.sess.Params() {
		s.Trained += p.Len()
	}
	r.rep.Report(s)
	for _, n := range r.rows.Notes {
		r.note("%s", n)
	}
}

func (r *run) note(format string, args ...any) {
	r.rep.Report(report.Notice{Text: fmt.Sprintf(format, args...)})
}

// measureBase takes the measurements that are only possible, or only meaningful, before the first step.
func (r *run) measureBase(ctx context.Context) error {
	if r.meta.State.Step > 0 || r.meta.State.Pending.Micros > 0 {
		return nil
	}
	if r.rows.HeldRows != nil && r.meta.EvalBefore == nil {
		res, err := r.measure(ctx, eval.Options{NoAdapter: !r.cfg.Full && r.cfg.InitAdapter == ""})
		if err != nil {
			return err
		}
		r.meta.EvalBefore = &res.Loss
		r.rep.Report(report.Evaluated{Loss: res.Loss, Perplexity: res.Perplexity(), Metrics: res.Metrics})
	}
	return r.measureDistance(ctx, &r.meta)
}

// measureDistance measures for m, where it does not hold it, llama.cpp's distance from a base that is trained in full. The
// session must hold the base.
func (r *run) measureDistance(ctx context.Context, m *meta) error {
	tokens := r.rows.Probe()
	if !r.cfg.Full || m.BaseDiff != nil || tokens == nil {
		return nil
	}
	// llama.cpp maps the file that is mapped here, so that the weights are in memory once; what it takes beside them is a
	// context of a few tokens.
	p, err := verify.NewProbe(ctx, r.sess, tokens)
	if err != nil {
		return err
	}
	d, err := p.Distance(ctx, r.cfg.Model, r.cfg.Threads)
	if err != nil {
		return err
	}
	m.BaseDiff = &d
	return nil
}

// measure evaluates on the held-out rows.
func (r *run) measure(ctx context.Context, o eval.Options) (eval.Result, error) {
	o.Progress = func(rows int) {
		r.rep.Report(report.Progress{What: "evaluate", Done: rows, Total: r.rows.HeldRows.Rows()})
	}
	o.Reference = r.refHeld.of
	return eval.Run(ctx, r.sess, r.rows.HeldRows, r.how, o)
}

// train runs the loop from where the run stands.
func (r *run) train(ctx context.Context) error {
	sched, err := optim.GetSchedule(r.cfg.Schedule)
	if err != nil {
		return err
	}
	st := r.meta.State
	if err := r.owed(ctx, &st); err != nil {
		return err
	}
	if r.meta.Best.Stop(r.cfg.Patience) {
		return nil
	}
	if st.Step < r.meta.Course.Steps {
		if err := r.dir.unfinish(); err != nil {
			return err
		}
	}
	r.source, r.clock = encode.NewStream(r.rows.TrainRows), time.Now()
	err = Loop(ctx, Parts{
		Engine: r.sess, Source: r.source, Method: r.how, Optimizer: r.opt, Reference: r.refTrain.of,
		LR:    func(step int) float64 { return r.cfg.LR * sched.Factor(r.meta.Course, step) },
		Accum: r.cfg.Accum, Steps: r.meta.Course.Steps, Clip: r.cfg.Clip, Threads: r.cfg.Threads,
		AfterStep: r.afterStep, Save: r.saveEarly,
		Progress: func(st *State) {
			r.rep.Report(report.Progress{What: "train", Done: st.Pending.Micros, Total: r.cfg.Accum})
		},
	}, &st)
	r.meta.State = st
	return err
}

// saveEarly saves a run that ends before its time, the seconds of its unfinished step included.
func (r *run) saveEarly(st *State) error {
	r.meta.Seconds += time.Since(r.clock).Seconds()
	return r.save(st)
}

// afterStep reports a step, evaluates, saves, and decides whether to stop.
func (r *run) afterStep(ctx context.Context, st *State, s StepStats) (stop bool, err error) {
	elapsed := time.Since(r.clock).Seconds()
	defer func() { r.clock = time.Now() }()
	r.meta.Seconds += elapsed
	line := report.Line{Step: s.Step, Loss: s.Loss, LR: s.LR, GradNorm: s.GradNorm, Tokens: s.Tokens, Counted: s.Counted, TokPerS: float64(s.Tokens) / elapsed,
		Epoch: r.source.Epoch(), Figures: figures(nil, "", s.Metrics)}
	if err := r.log.Append(line); err != nil {
		return false, err
	}
	r.rep.Report(report.Step{Line: line, Steps: r.meta.Course.Steps, Memory: report.PeakBytes()})
	better := false
	if every := r.cfg.EvalEvery; every > 0 && s.Step%every == 0 {
		if better, err = r.evaluate(ctx, s.Step); err != nil {
			// The step itself is done and must not be lost; the evaluation is owed.
			return false, endedBy(err, r.save(st))
		}
	}
	last := st.Step >= r.meta.Course.Steps
	stop = r.meta.Best.Stop(r.cfg.Patience)
	if every := r.cfg.SaveEvery; better || last || stop || every > 0 && s.Step%every == 0 {
		err = r.save(st)
	}
	return stop, err
}

// owed makes up for an evaluation that an interruption prevented.
func (r *run) owed(ctx context.Context, st *State) error {
	every := r.cfg.EvalEvery
	if every == 0 || st.Step == 0 || st.Step%every != 0 || r.meta.Evaluated == st.Step || st.Pending.Micros > 0 {
		return nil
	}
	_, err := r.evaluate(ctx, st.Step) // the step's checkpoint is there already
	return err
}

// evaluate measures the held-out loss after a step, adds it to the step's line, and says whether it is the lowest yet.
func (r *run) evaluate(ctx context.Context, step int) (better bool, err error) {
	res, err := r.measure(ctx, eval.Options{})
	if err != nil {
		return false, err
	}
	better = r.meta.Best.Add(step, res.Loss)
	r.meta.Evaluated, r.meta.LastEval = step, &res.Loss
	r.rep.Report(report.Evaluated{Step: step, Loss: res.Loss, Perplexity: res.Perplexity(), Best: better, Metrics: res.Metrics})
	return better, r.log.Amend(func(l *report.Line) {
		l.EvalLoss = &res.Loss
		l.Figures = figures(l.Figures, "eval_", res.Metrics)
	})
}

// figures adds a method's figures to a map, under names with prefix before them.
func figures(to map[string]float64, prefix string, metrics []method.Metric) map[string]float64 {
	for _, m := range metrics {
		if to == nil {
			to = map[string]float64{}
		}
		to[prefix+m.Name] = m.Sum / m.Weight
	}
	return to
}

func savedEvent(what, path string, step int) report.Saved {
	return report.Saved{What: what, Path: path, Step: step}
}

// A hashing computes the base's hash beside everything else.
type hashing struct {
	cancel context.CancelFunc
	done   chan struct{}
	sum    string
	err    error
}

func startHashing(ctx context.Context, m *engine.Model) *hashing {
	ctx, cancel := context.WithCancel(ctx)
	h := &hashing{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.sum, h.err = m.SHA256(ctx)
	}()
	return h
}

// wait gives the hash in hex.
func (h *hashing) wait() (string, error) {
	<-h.done
	return h.sum, h.err
}

// stop ends the computation and waits for its goroutine: the model may be closed after.
func (h *hashing) stop() {
	h.cancel()
	<-h.done
}

// version is that of the module, as the Go tools recorded it in the binary.
func version() string {
	const module = "github.com/ggtune/ggtune"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Path == module {
			return info.Main.Version
		}
		for _, m := range info.Deps { // a program that uses ggtune as a library
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "unknown"
}
