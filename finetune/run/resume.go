package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/regular"
)

// meta is what a checkpoint holds beside numbers: all that tells the next step what it would have been.
type meta struct {
	Version    string `json:"version"` // of the ggtune that wrote it
	Config     string `json:"config"`  // run.toml
	BaseSHA256 string `json:"base_sha256"`
	// RefAdapter is of the reference's adapter; "" for the base alone, or no reference.
	RefAdapter string `json:"reference_sha256"`
	// Teacher is of the other model that the run learns from, a teacher or a guide; "" without one.
	Teacher     string       `json:"teacher_sha256,omitempty"`
	InitAdapter string       `json:"init_adapter_sha256"` // "" for a fresh one
	TrainData   string       `json:"train_data"`          // fingerprints
	HeldData    string       `json:"held_data"`
	Course      optim.Course `json:"course"`
	// Rewards are the names of what answers are rewarded for, programs included, which Config does not name; nil in
	// checkpoints from before they were kept.
	Rewards []string `json:"rewards,omitempty"`

	State      finetune.State `json:"state"`
	Best       eval.Best      `json:"best"`
	Evaluated  int            `json:"evaluated"` // step of the last evaluation
	LastEval   *float64       `json:"last_eval"` // the loss it found
	EvalBefore *float64       `json:"eval_before"`
	// Before are the other figures of the untouched base; nil in checkpoints from before they were kept.
	Before   map[string]float64 `json:"before"`
	BaseDiff *verify.Distance   `json:"base_distance"` // full training: llama.cpp's distance from the base's logits
	Seconds  float64            `json:"seconds"`       // of training
	HeldRows int                `json:"held_rows"`     // that are measured, 0 for as many as --eval-rows says

	Sampled       int     `json:"sampled"`        // step of the last round of answers
	SampleSeconds float64 `json:"sample_seconds"` // that answers took
}

// ResumeConfig gives the settings of the run in directory output, for a resumed run to begin from; options given anew
// are set on top. Train compares the two.
func ResumeConfig(output string) (*config.Config, error) {
	c, err := config.LoadRun(filepath.Join(output, fileConfig))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("resume: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("resume: %w; each checkpoint in %s holds a copy of it", err,
			filepath.Join(output, dirCheckpoints))
	}
	c.Output, c.Resume = output, true
	return c, nil
}

// restore goes on from the newest whole checkpoint, if there is one, after making sure that it is of this run.
func (r *run) restore(ctx context.Context) error {
	f, id, skipped, err := r.store.Latest()
	for _, s := range skipped {
		r.note("a checkpoint is passed over: %v", s)
	}
	if errors.Is(err, checkpoint.ErrNone) {
		r.note("%s holds no checkpoint: the run begins anew", r.cfg.Output)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var m meta
	if err := f.Meta(&m); err != nil {
		return err
	}
	notes, err := r.compatible(&m)
	if err != nil {
		return fmt.Errorf("resume %s: %w", r.store.Path(id), err)
	}
	for _, n := range notes {
		r.note("%s", n)
	}
	// The first checkpoints held the distance as one number, base_diff, which nothing is compared with any more.
	if err := r.measureDistance(ctx, &m); err != nil {
		return err
	}
	// Losses are compared with those of before: they must be of the same rows, whatever a longer run would take.
	if r.rows.HeldRows != nil && m.HeldRows != r.rows.Measured() {
		if err := r.rows.Measure(m.HeldRows); err != nil {
			return err
		}
		r.note("%s measured, as when the run began", count.Of(r.rows.HeldRows.Rows(), "held-out row"))
	}
	if err := r.read(f, r.tensors(m.State.Pending.Micros > 0)); err != nil {
		return err
	}
	r.opt.SetUpdates(m.State.Step)
	// How far the run goes may be new; all else of its course is as it was.
	m.Course.Steps, m.Course.Settings = r.course.Steps, r.course.Settings
	m.Config, m.Version = r.meta.Config, r.meta.Version
	r.meta, r.saved = m, id
	return nil
}

// begun has the adapter start as it did when the run began, where that follows from weights: from what lies beside the
// newest checkpoint, whose own numbers restore puts in place, or computed again.
func (r *run) begun(ctx context.Context) error {
	f, id, _, err := r.store.Latest()
	switch {
	case errors.Is(err, checkpoint.ErrNone):
		return r.derive(ctx, r.rep)
	case err != nil:
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	ok, err := r.cfg.Begun(r.model, r.start, filepath.Join(r.store.Path(id), fileAdapter))
	if err != nil || ok {
		return err
	}
	return r.derive(ctx, r.rep)
}

// finished gives the report of a run that is at its end, with its result in place, after a word on how to train on; nil
// for one that is not.
func (r *run) finished() *report.Summary {
	st, file := &r.meta.State, fileAdapter
	if r.cfg.Whole() {
		file = fileModel
	}
	early := st.Step < r.meta.Course.Steps
	if !r.cfg.Resume || early && !r.meta.Best.Stop(r.cfg.Patience) {
		return nil
	}
	text, err := regular.Read(r.dir.file(fileReport), mostReport)
	var s report.Summary
	if err != nil || json.Unmarshal(text, &s) != nil {
		return nil // the end comes again, and writes it
	}
	step := st.Step
	if r.takesBest() {
		step = r.meta.Best.Step
	}
	if _, err := os.Stat(r.dir.file(file)); err != nil || s.ResultStep != step {
		return nil
	}
	on := "begin another from its result, with --init-adapter " + r.dir.file(file)
	sched, err := optim.GetSchedule(r.cfg.Schedule)
	switch {
	case early:
		on = "give a larger --patience to go on with it"
	case err == nil && !sched.UsesEnd:
		on = "give more --steps or --epochs to go on with it"
	case r.cfg.Whole():
		on = "begin another from its result, with --model " + r.dir.file(file)
	}
	r.note("the run in %s is finished, at step %d, and %s stays as it is; to train on, %s", r.cfg.Output, st.Step,
		r.dir.file(file), on)
	return &s
}

// mostReport bounds what is read of report.json, bytes: it has 2,000.
const mostReport = 1 << 20

// compatible refuses to resume what would be another run.
func (r *run) compatible(m *meta) (notes []string, err error) {
	old, err := config.ParseRun(m.Config, "its "+fileConfig)
	if err != nil {
		return nil, err
	}
	var errs []error
	if m.BaseSHA256 != r.meta.BaseSHA256 {
		errs = append(errs, fmt.Errorf("the model %s (sha256 %.12s…) is not the one the run began with (%s, sha256 "+
			"%.12s…); give that one with --model",
			r.cfg.Model, r.meta.BaseSHA256, old.Model, m.BaseSHA256))
	}
	if m.RefAdapter != r.meta.RefAdapter {
		errs = append(errs, fmt.Errorf("the reference is %s, and was %s when the run began; give that one with "+
			"--ref-adapter, or as --init-adapter", origin.ReferenceName(r.meta.RefAdapter),
			origin.ReferenceName(m.RefAdapter)))
	}
	if m.Teacher != r.meta.Teacher {
		is, option := r.cfg.OtherModel(r.how)
		was, _ := old.OtherModel(r.how)
		errs = append(errs, fmt.Errorf("--%s: %s is not the one the run began with (%s); give that one", option,
			cmp.Or(is, "none"), cmp.Or(was, "none")))
	}
	// The shapes may agree where the scale does not, which no checkpoint holds.
	if m.InitAdapter != r.meta.InitAdapter {
		errs = append(errs, errors.New("--init-adapter is not the one that the run began with; give that one"))
	}
	diffs, notes := config.Compare(old, &r.cfg)
	errs = append(errs, diffs...)
	if len(diffs) == 0 && m.Rewards != nil {
		errs = append(errs, samePrograms(m.Rewards, r.meta.Rewards)...)
	}
	// Other options than the run's give other rows: say so only where the options are the same.
	if len(diffs) == 0 && m.TrainData != r.meta.TrainData {
		errs = append(errs, errors.New("the training data gives other rows than it did when the run began: it has "+
			"changed, or the chat template has, or this version of ggtune reads it otherwise; restore it, go on with "+
			"the "+
			"version that began the run, or begin a new run"))
	}
	if len(diffs) == 0 && m.HeldData != r.meta.HeldData {
		errs = append(errs, errors.New("the held-out data is not that of the run's beginning: it has changed, or the "+
			"chat template has, or this version of ggtune reads it otherwise; restore it, go on with the version "+
			"that began "+
			"the run, or begin a new run"))
	}
	if now := r.meta.Course.Steps; now != m.Course.Steps {
		s, serr := optim.GetSchedule(r.cfg.Schedule)
		switch {
		case serr != nil:
			errs = append(errs, serr)
		case s.UsesEnd:
			errs = append(errs, fmt.Errorf("the run was to have %s, and is to have %d now, but the learning rates "+
				"of schedule %s follow from that number; only schedule %s lets a run grow: begin a new one",
				count.Of(m.Course.Steps, "step"), now, s.Name, strings.Join(optim.Endless(), " or ")))
		}
	}
	return notes, errors.Join(errs...)
}

// samePrograms refuses to go on without a program that a run was rewarded by, or with one that it was not.
func samePrograms(were, are []string) (errs []error) {
	for _, p := range []struct{ name, option string }{{reward.Command, "--reward-cmd"},
		{reward.Environment, "--env-cmd"}} {
		switch was, is := slices.Contains(were, p.name), slices.Contains(are, p.name); {
		case was && !is:
			errs = append(errs, fmt.Errorf("the run was rewarded by a program (%s), which no file holds; give it again",
				p.option))
		case is && !was:
			errs = append(errs, fmt.Errorf("%s is given, and the run was rewarded by no such program when it began; "+
				"leave it out, or begin a new run", p.option))
		}
	}
	return errs
}
