package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/sample"
	"github.com/ggtune/ggtune/internal/count"
)

// A setup is what a run is made from: its settings, model and rows. Nothing is written for it.
type setup struct {
	cfg     config.Config
	how     *method.Method
	model   *engine.Model
	hash    *hashing
	text    *corpus.Reader
	rows    *corpus.Rows
	chosen  []string // what was left to ggtune, and why it is as it is
	course  optim.Course
	memory  budget.Memory
	samples *sample.Plan // what is asked meanwhile; nil: nothing
	planned *planned
	pooling arch.Pooling         // of vectors; 0: what the model's file says
	other   *other               // whose vectors are the reference's; nil: the model's
	start   engine.SessionConfig // with the adapter as training starts
}

// open reads the model and the data and plans the memory.
func (s *setup) open(ctx context.Context, rep report.Reporter) error {
	var err error
	if s.how, err = s.cfg.Loss(); err != nil {
		return err
	}
	if s.model, err = engine.Open(s.cfg.Model); err != nil {
		return err
	}
	if err := s.pool(); err != nil {
		return err
	}
	s.hash = startHashing(ctx, s.model)
	if s.text, err = corpus.Open(&s.cfg, s.model, s.how); err != nil {
		return err
	}
	if err := s.text.InvokeTrained(s.model.Net()); err != nil {
		return err
	}
	if s.other, err = openOther(&s.cfg, s.how, s.text); err != nil {
		return err
	}
	s.text.Progress = func(done, total int) { rep.Report(report.Progress{What: "read", Done: done, Total: total}) }
	if s.rows, err = s.text.Read(ctx); err != nil {
		return err
	}
	if err := s.cfg.NeedHeld(s.rows.Held != nil); err != nil {
		return err
	}
	if err := s.choose(); err != nil {
		return err
	}
	if s.course, err = s.cfg.Course(s.rows.Steps()); err != nil {
		return err
	}
	if s.start, err = s.cfg.Session(s.model); err != nil {
		return err
	}
	config.Invoke(s.start, s.rows.Invocation)
	whole, err := s.model.Whole(s.start.Sets[0])
	if err != nil {
		return err
	}
	if n := whole.Dequantized; n > 0 {
		s.note("%s of quantized types: trained as %s, which takes %s, and 4 bytes a number for gradients",
			count.Of(n, "tensor"), s.cfg.Master, report.Bytes(whole.Bytes))
		if s.start.Sets[0].Type == nil {
			s.note("they are written as %s; --outtype chooses another type, and ggtune quantize makes the file "+
				"small again", s.cfg.Master)
		}
	}
	if err := s.sayUnfit(); err != nil {
		return err
	}
	s.sayExperts()
	s.sayScores()
	s.sayVectors()
	if s.cfg.EMA > 0 {
		s.note("held-out losses, and what is written, are of a moving average of what is trained (--ema %g)", s.cfg.EMA)
	}
	if a, ok := s.start.Sets[0].Adapter.(*adapter.Adapter); ok {
		for _, note := range a.Notes {
			s.note("%s: %s", s.cfg.InitAdapter, note)
		}
	}
	if err := s.planRollouts(ctx, rep); err != nil {
		return err
	}
	shape := budget.Shape{Want: s.cfg.Wants(s.how), Critic: s.cfg.OwnValues(), Teacher: s.planned.whom().shown()}
	shape.Row, shape.Counted, shape.Rows = s.rows.Largest()
	shape.Texts, shape.Pooling = s.rows.MostTexts(), s.pooling
	if s.how.Teacher {
		shape.Named = s.cfg.Named(s.model.HParams().NVocab)
	}
	free := budget.FreeMemory()
	if err := s.planSamples(ctx); err != nil {
		return err
	}
	if err := s.planMemory(shape, free); err != nil {
		return err
	}
	if s.samples != nil && s.memory.Samples == 0 {
		s.note("no samples while training: there is no room for the %s that llama.cpp takes for them",
			report.Bytes(s.samples.Bytes(s.memory.Trained)))
		s.samples = nil
	}
	s.start.KeepBytes = s.memory.Keep
	if !s.cfg.Resume { // else it may be in the run's directory
		if err := s.derive(ctx, rep); err != nil {
			return err
		}
	}
	// Memory is planned for all held-out rows: a run that goes on may have measured on others than it would now.
	if err := s.rows.Bound(); err != nil {
		return err
	}
	room := budget.Course{Trained: s.memory.Trained, Params: s.memory.Params, Fixed: s.memory.Fixed,
		Adapter: config.AdapterBytes(s.start), State: s.memory.State, Model: whole.File, Steps: s.course.Steps,
		Every: s.rows.EvalEvery(), Cached: s.rows.CachedBytes(s.how, s.cfg.Named(s.model.HParams().NVocab)),
		Samples:  2 * s.samples.Disk(s.rows.Samplings()), // samples.jsonl, and the page of them
		Rollouts: budget.RolloutDisk(&s.cfg, s.how, s.model, s.rows.TrainRows.Rows(), s.course.Steps)}
	if err := budget.CheckDisk(budget.PlanDisk(&s.cfg, room), s.cfg.Output, budget.FreeDisk(s.cfg.Output)); err != nil {
		return err
	}
	mapped := s.model.File().Bytes()
	if t := s.planned.whom().shown(); t != nil {
		mapped += t.File().Bytes()
	}
	if note := budget.Crowded(s.model.Path(), mapped, s.memory.Total, free); note != "" {
		s.note("%s", note)
	}
	return nil
}

// planMemory decides what the run takes of the memory that is free.
func (s *setup) planMemory(shape budget.Shape, free int64) (err error) {
	if s.planned == nil {
		s.memory, err = budget.PlanMemory(s.model, s.start, &s.cfg, shape, s.samples.Bytes, llama.Memory{}, free)
		return err
	}
	var note string
	s.memory, note, err = budget.FitRollouts(s.model, s.start, &s.cfg, shape, s.samples.Bytes, &s.planned.open,
		&s.planned.memory, free)
	if note != "" {
		s.note("%s", note)
	}
	return err
}

// derive fills what an adapter starts with that follows from weights.
func (s *setup) derive(ctx context.Context, rep report.Reporter) error {
	notes, err := s.cfg.Begin(ctx, s.model, s.start, func(done, total int) {
		rep.Report(report.Progress{What: "init", Done: done, Total: total})
	})
	for _, note := range notes {
		s.note("%s", note)
	}
	if err == nil && s.cfg.Explains() {
		err = s.explain(ctx, rep)
	}
	if s.cfg.StartBytes(s.start) > 0 {
		debug.FreeOSMemory() // training takes its own beside Go's heap
	}
	return err
}

// choose settles what was left to ggtune, now that the model and the rows are known.
func (s *setup) choose() error {
	var err error
	if s.chosen, err = s.cfg.Resolve(s.how, s.rows.Fit(s.model)); err != nil {
		return err
	}
	if few := s.cfg.FewUpdates(s.how, s.rows.Steps()); few != "" {
		s.note("%s", few)
	}
	s.how, err = s.cfg.Loss()
	return err
}

// note keeps something that the user should know, until the run is announced.
func (s *setup) note(format string, args ...any) {
	s.rows.Notes = append(s.rows.Notes, fmt.Sprintf(format, args...))
}

// close gives back what is open. It may be called again.
func (s *setup) close() error {
	if s.hash != nil {
		s.hash.stop()
	}
	err := errors.Join(s.planned.close(), s.text.Close(), s.other.close())
	if s.model != nil {
		err = errors.Join(err, s.model.Close())
	}
	s.text, s.model = nil, nil
	return err
}

// describe gives what a checkpoint says about the run before its first step.
func (s *setup) describe(rep report.Reporter) (m meta, err error) {
	text, err := s.cfg.TOML()
	if err != nil {
		return m, err
	}
	if s.cfg.InitAdapter != "" {
		text = append([]byte(aboutAdapter(s.cfg.InitAdapter, s.start.Sets[0].Adapter.(*adapter.Adapter))), text...)
	}
	m = meta{Version: version(), Config: string(text), Course: s.course, TrainData: fingerprint(s.rows.Train),
		HeldData: s.heldFingerprint(), HeldRows: s.rows.Measured()}
	if s.how.Reference {
		if _, m.RefAdapter, err = referenceAdapter(&s.cfg); err != nil {
			return m, err
		}
	}
	if s.how.Rewarded() {
		m.Rewards = s.planned.rewards.Names()
	}
	if s.cfg.InitAdapter != "" {
		if m.InitAdapter, err = fileSHA256(s.cfg.InitAdapter); err != nil {
			return m, fmt.Errorf("--init-adapter: %w", err)
		}
	}
	if path, option := s.cfg.OtherModel(s.how); path != "" {
		rep.Report(report.Progress{What: "hash " + path})
		if m.Teacher, err = fileSHA256(path); err != nil {
			return m, fmt.Errorf("--%s: %w", option, err)
		}
	}
	rep.Report(report.Progress{What: "hash " + s.cfg.Model})
	m.BaseSHA256, err = s.hash.wait()
	return m, err
}

// aboutAdapter is a comment for run.toml on the adapter that training starts from.
func aboutAdapter(path string, a *adapter.Adapter) string {
	var ranks []int64
	for i := range a.Pairs {
		ranks = append(ranks, a.Pairs[i].Rank)
	}
	slices.Sort(ranks)
	return fmt.Sprintf("# init_adapter %q has rank %s and alpha %g\n\n", path,
		strings.Trim(fmt.Sprint(slices.Compact(ranks)), "[]"), a.Alpha)
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

// sayUnfit says how many matrices are not rounded to the type that was asked for.
func (s *setup) sayUnfit() error {
	n, err := s.cfg.Unfit(s.model)
	if n > 0 {
		s.note("--qat %s: another type in its place, for rows that are not whole blocks of it: %s", s.cfg.QAT,
			count.Of(n, "tensor"))
	}
	return err
}
