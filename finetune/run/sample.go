package run

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/sample"
	"github.com/ggtune/ggtune/internal/count"
)

// planSamples decides what the model is asked while it trains. Why nothing is, where something was wanted, is noted.
func (s *setup) planSamples(ctx context.Context) error {
	if s.cfg.LeavesModel() && s.cfg.Samples() {
		s.note("no samples while training: llama.cpp would write them with the weights of the model file, which stay " +
			"as they are until the end")
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

// peak is the most memory that the run has had resident, in this process and those that it goes on from, 0 where the
// system does not say. The system counts a page of a file for each time that it is mapped; that of the samples, which
// llama.cpp maps whole, is in memory once.
func (r *run) peak() int64 {
	before := int64(0)
	if lines := r.log.Lines(); len(lines) > 0 {
		before = lines[len(lines)-1].Peak
	}
	return max(report.PeakBytes()-r.twice, before)
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
	a, err := r.adapter()
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
	if ok, failed := r.sampler.Begin(ctx, a, room()); failed != nil || !ok {
		if failed == nil {
			r.fewer()
		}
		return failed, nil
	}
	asked := r.unanswered(step)
	if tokens := r.sampler.Shorten(asked, room()); tokens < r.cfg.SampleTokens {
		r.shorter(tokens)
	}
	for _, i := range asked {
		if r.sampler.Cost(i) > room() {
			r.fewer()
			return nil, nil
		}
		s, ok, failed := r.sampler.Answer(ctx, i, room())
		if failed != nil {
			return failed, nil
		}
		if !ok {
			r.fewer()
			return nil, nil
		}
		s.Step = step
		if err := r.answered.Append(s); err != nil {
			return nil, err
		}
		r.rep.Report(report.Sampled{Sample: s})
	}
	return nil, nil
}

// unanswered lists the prompts that are not answered after a step, those first whose last answer is the oldest: where
// not all of them can be answered each has its turn.
func (r *run) unanswered(step int) (out []int) {
	last := make([]int, r.sampler.Len())
	for i := range last {
		if last[i] = r.answered.Last(r.sampler.Input(i)); last[i] < step {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int { return last[a] - last[b] })
	return out
}

// shorter says, once, that answers end before they have as many tokens as were asked for.
func (r *run) shorter(tokens int) {
	if !r.saidShorter {
		r.note("samples may take %g %% of the run's time, which is not enough yet for answers of %s: they are cut off "+
			"after %d (--sample-share, --sample-tokens)", 100*r.cfg.SampleShare,
			count.Of(r.cfg.SampleTokens, "token"), tokens)
	}
	r.saidShorter = true
}

// fewer says, once, that not all answers are written.
func (r *run) fewer() {
	if !r.saidFewer {
		r.note("samples may take %g %% of the run's time, which is not enough yet for all of them: some are left out "+
			"(--sample-share, --sample-tokens)", 100*r.cfg.SampleShare)
	}
	r.saidFewer = true
}
