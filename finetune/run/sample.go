package run

import (
	"context"
	"errors"
	"time"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/sample"
)

// planSamples decides what the model is asked while it trains. Why nothing is, where something was wanted, is noted.
func (s *setup) planSamples(ctx context.Context) error {
	if s.cfg.Full && s.cfg.Samples() {
		s.note("with --full there are no samples while training: llama.cpp would write them with the weights " +
			"of the model file, which stay as they are until the end")
		return nil
	}
	prompts, err := sample.Prompts(ctx, &s.cfg, s.text, s.rows)
	if err != nil {
		return err
	}
	if s.samples, err = sample.NewPlan(&s.cfg, s.model, prompts); err != nil {
		s.samples = nil
		s.note("no samples while training: %v", err)
	}
	return nil
}

// openSampler opens the model for answers, if any are planned.
func (r *run) openSampler() {
	if r.samples == nil || r.meta.State.Step >= r.meta.Course.Steps && r.meta.Sampled == r.meta.State.Step {
		return
	}
	began := time.Now()
	var err error
	if r.sampler, err = r.samples.Open(&r.cfg); err != nil {
		r.sampler = nil
		r.note("no samples while training: %v", err)
		return
	}
	r.twice = r.model.File().Bytes()
	r.sampler.Remember(r.answered.Lines())
	r.meta.SampleSeconds += time.Since(began).Seconds()
}

// peak is the most memory that the process has had resident, 0 where the system does not say. The system counts a page
// of a file for each time that it is mapped; that of the samples, which llama.cpp maps whole, is in memory once.
func (r *run) peak() int64 {
	return max(report.PeakBytes()-r.twice, 0)
}

// due says whether answers are to be written after a step that is not the last.
func (r *run) due(step int) bool {
	if r.sampler == nil {
		return false
	}
	every := r.rows.SampleEvery()
	return every > 0 && step%every == 0
}

// sample writes the answers of the model after a step, as many as the run's time allows. An error is that of a run
// which was told to stop, or cannot write: what else goes wrong ends the answers, and not the training.
func (r *run) sample(ctx context.Context, step int) error {
	if r.sampler == nil || r.meta.Sampled == step {
		return nil
	}
	began := time.Now()
	failed, err := r.answers(ctx, step)
	r.meta.SampleSeconds += time.Since(began).Seconds()
	switch {
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	case err != nil:
		return err
	case failed != nil:
		r.note("no more samples while training: %v", failed)
		return r.endSamples()
	}
	r.meta.Sampled = step
	return nil
}

// endSamples gives llama.cpp's memory back.
func (r *run) endSamples() error {
	err := r.sampler.Close()
	r.sampler = nil
	return err
}

// answers writes those that are not there yet. failed says that no more can be had, err that they cannot be kept.
func (r *run) answers(ctx context.Context, step int) (failed, err error) {
	set, err := r.sess.Set("")
	if err != nil {
		return nil, err
	}
	began := time.Now()
	room := func() float64 {
		return sample.Room(r.cfg.SampleShare, r.meta.SampleSeconds+time.Since(began).Seconds(), r.meta.Seconds)
	}
	r.sampler.Progress = func(done, total int) {
		r.rep.Report(report.Progress{What: "sample", Done: done, Total: total})
	}
	// config.Session has put it there
	if ok, failed := r.sampler.Begin(ctx, set.Adapter.(*adapter.Adapter), room()); failed != nil || !ok {
		if failed == nil {
			r.fewer()
		}
		return failed, nil
	}
	for i := range r.sampler.Len() {
		if r.answered.Has(step, r.sampler.Input(i)) {
			continue
		}
		if r.sampler.Cost(i) > room() {
			r.fewer()
			return nil, nil
		}
		s, failed := r.sampler.Answer(ctx, i)
		if failed != nil {
			return failed, nil
		}
		s.Step = step
		if err := r.answered.Append(s); err != nil {
			return nil, err
		}
		r.rep.Report(report.Sampled{Sample: s})
	}
	return nil, nil
}

// fewer says, once, that not all answers are written.
func (r *run) fewer() {
	if !r.saidFewer {
		r.note("samples may take %g %% of the run's time, which is not enough yet for all of them: some are left out "+
			"(--sample-share, --sample-tokens)", 100*r.cfg.SampleShare)
	}
	r.saidFewer = true
}
