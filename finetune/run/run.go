package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rl"
	"github.com/ggtune/ggtune/finetune/sample"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// A run is one training run under way.
type run struct {
	setup
	numbers
	book
	refs    references
	lessons lessons
	meta    meta
	rep     report.Reporter
	told    *told // what rep is told, from begin on
	asked   asked
	probed  *verify.Scores // of a method that gives scores: what llama.cpp is to find
	source  source
	rolling *rolling
	barren  bool      // its answers teach nothing any more
	clock   time.Time // when the step under way began
	drawn   time.Time // when the losses were drawn
	// sampler answers prompts with the adapter in training; nil: nobody asks.
	sampler *sample.Sampler
	// twice is how many bytes of the model file are mapped a second time, for the samples.
	twice int64
	// saidFewer is that not all answers to prompts are written, saidShorter that they are shorter than was asked for.
	saidFewer, saidShorter bool
}

// Train runs a training run from its data to a result that llama.cpp has loaded, and tells rep what happens. On cancel
// it saves and returns context.Cause(ctx), and ErrAsked when somebody else asked it to stop (rundir.AskToStop); a
// *config.Error says that the settings are at fault and nothing was done.
func Train(ctx context.Context, cfg config.Config, rep report.Reporter) (_ report.Summary, err error) {
	if err := cfg.Validate(); err != nil {
		return report.Summary{}, err
	}
	if err := cfg.FindAdapters(); err != nil {
		return report.Summary{}, err
	}
	if err := CheckOutput(&cfg); err != nil {
		return report.Summary{}, err
	}
	if cfg.Threads == 0 {
		cfg.Threads = budget.PhysicalCores()
	}
	r := &run{setup: setup{cfg: cfg}, rep: rep}
	ctx, r.asked.stop = context.WithCancelCause(ctx)
	defer r.asked.stop(nil)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx, rep); err != nil {
		return report.Summary{}, err
	}
	if err := r.enter(ctx); err != nil {
		return report.Summary{}, err
	}
	if s := r.finished(); s != nil {
		return *s, nil
	}
	if err := r.begin(ctx); err != nil {
		return report.Summary{}, err
	}
	if err := r.train(ctx); err != nil {
		return report.Summary{}, r.leave(ctx, err)
	}
	s, err := r.finish(ctx)
	return s, r.leave(ctx, err)
}

// enter makes or takes over the run's directory, and brings the run to where it stands.
func (r *run) enter(ctx context.Context) (err error) {
	r.told = &told{Reporter: r.rep}
	r.rep = r.told
	if r.dir, err = openRunDir(&r.cfg); err != nil {
		return err
	}
	r.asked.heed(r.dir)
	r.store = checkpoint.Store{Dir: r.dir.file(dirCheckpoints), Keep: r.cfg.Keep, Beside: r.adapterBeside}
	if r.cfg.Resume {
		if err := r.begun(ctx); err != nil {
			return err
		}
	}
	if r.numbers, err = newNumbers(&r.setup); err != nil {
		return err
	}
	if r.meta, err = r.describe(r.rep); err != nil {
		return err
	}
	if r.cfg.Resume {
		return r.restore(ctx)
	}
	return nil
}

// begin tells of the run and measures the base, and leaves in the directory what makes it a run's.
func (r *run) begin(ctx context.Context) (err error) {
	r.announce()
	if err := r.openRolling(); err != nil {
		return err
	}
	// A base that cannot be measured begins no run. One that was stopped meanwhile has begun: it can be resumed.
	stopped := r.reference(ctx)
	if stopped == nil {
		stopped = r.teach(ctx)
	}
	if stopped == nil {
		stopped = r.measureBase(ctx)
	}
	if stopped != nil && ctx.Err() == nil {
		return stopped
	}
	if err := atomicfile.WriteFile(nil, r.dir.file(fileConfig), []byte(r.meta.Config), filePermissions); err != nil {
		return err
	}
	if err := r.told.keep(r.dir.file(fileStart), r.cfg.Resume); err != nil {
		return err
	}
	if r.log, err = report.OpenLog(r.dir.file(fileMetrics), r.meta.State.Step); err != nil {
		return err
	}
	if r.answered, err = report.OpenSamples(r.dir.file(fileSamples), r.meta.State.Step); err != nil {
		return err
	}
	if stopped == nil {
		r.openSampler()
	}
	return stopped
}

func (r *run) announce() {
	s := report.Started{Model: r.cfg.Model, Arch: r.model.Net().Arch, Types: r.model.StorageTypes(),
		Method: r.how.Name, Unit: r.how.Unit, Template: r.text.TemplateName(),
		Train: r.rows.Train.Counts, Memory: r.memory.Total, Steps: r.meta.Course.Steps, Step: r.meta.State.Step,
		Threads: r.cfg.Threads, Trained: r.count(), Chosen: r.chosen}
	if r.rows.Held != nil {
		s.Held = &r.rows.Held.Counts
	}
	r.rep.Report(s)
	for _, n := range r.rows.Notes {
		r.note("%s", n)
	}
}

func (r *run) note(format string, args ...any) {
	r.rep.Report(report.Notice{Text: fmt.Sprintf(format, args...)})
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
	src, ref := r.newSource()
	r.source, r.clock = src, time.Now()
	err = finetune.Loop(ctx, finetune.Parts{
		Engine: r.engine(), Source: r.source, Method: r.how, Optimizer: &r.numbers, Reference: ref, Temp: r.temp(),
		Pooling: r.pooling, Own: r.own.part(),
		Teacher: r.teacher(),
		LR:      func(step int) float64 { return r.cfg.LR.N * sched.Factor(r.meta.Course, step) },
		Accum:   r.cfg.Micros(r.how), Steps: r.meta.Course.Steps, Clip: r.cfg.Clip,
		AfterStep: r.afterStep, Save: r.saveEarly,
		Progress: func(st *finetune.State) {
			r.rep.Report(report.Progress{What: "train", Done: st.Pending.Micros, Total: r.rows.MicrosAStep()})
		},
	}, &st)
	r.meta.State = st
	if errors.Is(err, rl.ErrBarren) && st.Step > 0 {
		r.note("the run ends at step %d of %d: %v", st.Step, r.meta.Course.Steps, err)
		r.barren = true
		return nil
	}
	return err
}

// close gives back what is open, in reverse.
func (r *run) close() error {
	r.asked.end()
	return errors.Join(r.endSamples(), r.rolling.close(), r.answered.Close(), r.log.Close(), r.lessons.close(),
		r.numbers.close(),
		r.setup.close(), r.dir.Close())
}

// saveEarly saves a run that ends before its time, the seconds of its unfinished step included.
func (r *run) saveEarly(st *finetune.State) error {
	r.meta.Seconds += time.Since(r.clock).Seconds()
	return r.save(st)
}

// drawEvery is how long a plot of the losses stands while the run goes on: a long run's takes about 50 ms to draw.
const drawEvery = 10 * time.Second

// afterStep reports a step, evaluates, saves, and decides whether to stop.
func (r *run) afterStep(ctx context.Context, st *finetune.State, s finetune.StepStats) (stop bool, err error) {
	elapsed := time.Since(r.clock).Seconds()
	defer func() { r.clock = time.Now() }()
	r.meta.Seconds += elapsed
	found, rolled := r.rolled(experts(figures(nil, "", s.Metrics), r.sess.Loads()))
	line := report.Line{Step: s.Step, Loss: s.Loss, LR: s.LR, GradNorm: s.GradNorm, Tokens: s.Tokens,
		Counted: s.Counted, TokPerS: float64(s.Tokens) / (elapsed - rolled),
		Peak: r.peak(), Epoch: r.source.Epoch(), Figures: found}
	if err := r.log.Append(line); err != nil {
		return false, err
	}
	r.rep.Report(report.Step{Line: line, Steps: r.meta.Course.Steps})
	if err := r.show(s.Step, st.Step >= r.meta.Course.Steps); err != nil {
		return false, err
	}
	if r.rolling != nil && r.how.Stop(s.Metrics) {
		r.rolling.source.Leave()
		st.Place = r.source.Place()
	}
	if time.Since(r.drawn) > drawEvery {
		if err := r.draw(); err != nil {
			return false, err
		}
		r.drawn = time.Now()
	}
	better := false
	if every := r.rows.EvalEvery(); every > 0 && s.Step%every == 0 {
		if better, err = r.evaluate(ctx, s.Step); err != nil {
			// The step itself is done and must not be lost; the evaluation is owed.
			return false, finetune.EndedBy(err, r.save(st))
		}
	}
	last := st.Step >= r.meta.Course.Steps
	stop = r.meta.Best.Stop(r.cfg.Patience)
	if !last && !stop && r.due(s.Step) { // the last answers are finish's
		if err := r.sample(ctx, s.Step); err != nil {
			return false, finetune.EndedBy(err, r.save(st))
		}
	}
	if every := r.cfg.SaveEvery; better || last || stop || every > 0 && s.Step%every == 0 {
		err = r.save(st)
	}
	return stop, err
}

// save writes a checkpoint of st.
func (r *run) save(st *finetune.State) error {
	r.meta.State = *st
	if err := r.told.err; err != nil {
		return err
	}
	if err := r.book.save(&r.meta, r.tensors(st.Pending.Micros > 0)); err != nil {
		return err
	}
	r.rep.Report(report.Saved{What: "checkpoint", Path: r.store.Path(r.saved), Step: st.Step})
	return r.forgetRollouts()
}
