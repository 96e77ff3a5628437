package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/merge"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rl"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// finish writes the result, has llama.cpp load it and compares, and writes the report.
func (r *run) finish(ctx context.Context) (report.Summary, error) {
	st := &r.meta.State
	if r.rows.HeldRows != nil && r.meta.Evaluated != st.Step {
		if _, err := r.evaluate(ctx, st.Step); err != nil {
			return report.Summary{}, err
		}
	}
	if err := r.sample(ctx, st.Step); err != nil {
		return report.Summary{}, err
	}
	if r.saved.Step != st.Step {
		if err := r.save(st); err != nil {
			return report.Summary{}, err
		}
	}
	if r.how.Rewarded() {
		for _, n := range r.planned.rewards.Constant() {
			r.note("%s", n)
		}
	}
	r.sayIdle()
	s := r.summary()
	if err := r.take(s.ResultStep); err != nil {
		return report.Summary{}, err
	}
	if err := r.round(ctx, &s); err != nil {
		return report.Summary{}, err
	}
	if !r.scores() && !r.pools() { // else it writes no text
		if err := r.forgetting(ctx, &s); err != nil {
			return report.Summary{}, err
		}
	}
	probe, err := r.write(ctx, &s)
	if err != nil {
		return report.Summary{}, err
	}
	// llama.cpp needs memory of its own: ours goes first, with the parameters, their gradients and moments of a full
	// model.
	base := r.cfg.Model
	if err := errors.Join(r.endSamples(), r.rolling.close(), r.numbers.close(), r.setup.close()); err != nil {
		return report.Summary{}, err
	}
	verify := r.verify
	if r.cfg.Kind().Merged() {
		verify = r.merge
	}
	err = verify(ctx, probe, base, &s)
	if err == nil && r.scores() {
		err = r.verifyScores(ctx, base, &s)
	}
	if err != nil {
		return report.Summary{}, errors.Join(err, os.Remove(r.dir.file(fileUnverified)), r.removeHead())
	}
	if err := r.publish(&s); err != nil {
		return report.Summary{}, err
	}
	if n := r.peak(); n > 0 {
		s.PeakBytes = &n
	}
	if err := r.draw(); err != nil {
		return report.Summary{}, err
	}
	if err := report.WriteSummary(r.dir.file(fileReport), s); err != nil {
		return report.Summary{}, err
	}
	r.rep.Report(report.Done{Summary: s})
	return s, nil
}

// summary is the report so far: what is known before the result is written.
func (r *run) summary() report.Summary {
	st := &r.meta.State
	s := report.Summary{BaseSHA256: r.meta.BaseSHA256, Steps: st.Step, Tokens: st.Tokens, Counted: st.Counted,
		EvalLossBefore: r.meta.EvalBefore, Seconds: r.meta.Seconds,
		Method: r.how.Name, ResultStep: st.Step, Stopped: "steps", Train: r.rows.Train.Counts}
	if lines := r.log.Lines(); len(lines) > 0 {
		s.FirstLoss, s.LastLoss = &lines[0].Loss, &lines[len(lines)-1].Loss
		first, last, n := report.Tenths(lines)
		s.FirstTenth, s.LastTenth, s.TenthSteps = &first, &last, n
		if _, ok := lines[0].Figures[rl.Reward]; ok {
			first, last, _ := report.Tenths(report.RewardLines(lines))
			s.FirstReward, s.LastReward = &first, &last
		}
	}
	if s.Seconds > 0 {
		rate := float64(s.Tokens) / s.Seconds
		s.TokPerS = &rate
	}
	if st.Step < r.meta.Course.Steps {
		s.Stopped = "patience"
	}
	if r.barren {
		s.Stopped = "no signal"
	}
	if r.rows.Held != nil {
		s.Held = &r.rows.Held.Counts
		s.EvalLossAfter = r.meta.LastEval
	}
	if best := &r.meta.Best; best.Seen > 0 {
		s.BestStep, s.BestLoss = &best.Step, &best.Loss
		if r.takesBest() {
			s.ResultStep, s.EvalLossAfter = best.Step, &best.Loss
		}
	}
	after := map[string]float64{}
	for _, l := range r.log.Lines() {
		if l.Step == s.ResultStep {
			after = l.Figures
		}
	}
	r.compare(&s, func(name string) (x float64, ok bool) { x, ok = after["eval_"+name]; return x, ok })
	return s
}

// compare puts the figures of held-out rows into the report, of before and of after the training, as far as there are
// such.
func (r *run) compare(s *report.Summary, after func(name string) (float64, bool)) {
	pair := func(name string) (before, now *float64) {
		if x, ok := r.meta.Before[name]; ok {
			before = &x
		}
		if x, ok := after(name); ok {
			now = &x
		}
		return before, now
	}
	s.PerplexityBefore, s.PerplexityAfter = pair(perplexity)
	s.BitsPerByteBefore, s.BitsPerByteAfter = pair(eval.BitsPerByte)
	s.EvalRewardBefore, s.EvalRewardAfter = pair(rl.Reward)
	s.Mixed = nil
	for i, m := range r.rows.Mixed {
		x := report.Mixed{Mixed: m.Mixed}
		x.LossBefore, x.LossAfter = pair(mixName(i, "loss"))
		x.BitsPerByteBefore, x.BitsPerByteAfter = pair(mixName(i, eval.BitsPerByte))
		s.Mixed = append(s.Mixed, x)
	}
}

// takesBest says that the result is the best step's, and not the last one's.
func (r *run) takesBest() bool { return r.meta.Best.Seen > 0 && (r.cfg.Best || r.cfg.Patience > 0) }

// round makes what was trained what the file will hold, and measures it again if that changed anything:
// the report tells of the file. The steps, and their checkpoints, have the parameters before rounding.
func (r *run) round(ctx context.Context, s *report.Summary) error {
	changed, err := r.sess.RoundParams("")
	if err != nil || !changed || r.rows.HeldRows == nil {
		return err
	}
	res, err := r.measure(ctx, eval.Options{})
	if err != nil {
		return err
	}
	s.EvalLossAfter = &res.Loss
	now := numbersOf(res)
	r.compare(s, func(name string) (x float64, ok bool) { x, ok = now[name]; return x, ok })
	return nil
}

// take makes the parameters what a step made of them.
func (r *run) take(step int) error {
	if step == r.meta.State.Step {
		return r.settle(nil)
	}
	f, err := r.store.Open(checkpoint.ID{Step: step})
	if err != nil {
		return fmt.Errorf("the best step's parameters: %w", err)
	}
	defer f.Close()
	return r.settle(f.Read)
}

// probe computes what llama.cpp is to find: logits, or vectors.
func (r *run) probe(ctx context.Context) (*verify.Probe, error) {
	if r.pools() {
		return r.probeVectors(ctx)
	}
	tokens, since := r.rows.Probe(verify.ProbeBefore)
	if tokens == nil {
		return nil, errors.New("no example has two tokens to compare logits with llama.cpp's on")
	}
	return verify.NewProbe(ctx, r.sess, tokens, since)
}

// write writes the result under the name of one that is not verified, and computes what llama.cpp is to find in it.
func (r *run) write(ctx context.Context, s *report.Summary) (*verify.Probe, error) {
	probe, err := r.probe(ctx)
	if err != nil {
		return nil, err
	}
	path, hash := r.dir.file(fileUnverified), &s.AdapterSHA256
	if r.cfg.Whole() {
		hash = &s.ModelSHA256
		err = r.sess.SaveModel(ctx, nil, path, "", r.pooling)
	} else {
		err = r.saveAdapter(ctx, path, "")
	}
	if err != nil {
		return nil, err
	}
	sum, err := fileSHA256(path)
	if err != nil {
		return nil, fmt.Errorf("read the result again: %w", err)
	}
	*hash = &sum
	if r.scores() {
		err = r.writeHead(ctx, s)
	}
	return probe, err
}

// adapter is what the run leaves with as it is now.
func (r *run) adapter() (*adapter.Adapter, error) {
	var set engine.Set
	err := r.learned(func() (err error) {
		set, err = r.sess.Set("")
		return err
	})
	if err != nil {
		return nil, err
	}
	return config.Leaving(set.Adapter.(*adapter.Adapter), r.start) // config.Session has put it there
}

// saveAdapter writes what was trained with what it says about its making. unfinished is how far the run has come, "" at
// its end.
func (r *run) saveAdapter(ctx context.Context, path, unfinished string) error {
	a, err := r.adapter()
	if err != nil {
		return err
	}
	var own map[string]float64
	if err := r.learned(func() (err error) {
		own, err = r.own.said()
		return err
	}); err != nil {
		return err
	}
	a.Info = (&origin.Run{Config: &r.cfg, Method: r.how, BaseSHA256: r.meta.BaseSHA256, Reference: r.meta.RefAdapter,
		Teacher: r.meta.Teacher, Learned: own, Pooling: r.pooling,
		Template: r.text.Template(), Version: version(), Unfinished: unfinished}).Info()
	if t := r.start.Sets[0].Type; t != nil {
		a.Type = *t
	}
	return a.Save(ctx, nil, path)
}

// adapterBeside puts the adapter into the directory of a checkpoint, so that it can be used before the run ends.
func (r *run) adapterBeside(id checkpoint.ID, dir string) error {
	if r.cfg.Whole() {
		return nil
	}
	path, unfinished := filepath.Join(dir, fileAdapter), fmt.Sprintf("step %d of %d", id.Step, r.meta.Course.Steps)
	if err := r.saveAdapter(context.Background(), path, unfinished); err != nil || !r.scores() {
		return err
	}
	sum, err := fileSHA256(path)
	if err != nil {
		return err
	}
	return r.saveHead(context.Background(), filepath.Join(dir, fileHead), sum, 0, unfinished)
}

// leave makes what a run has learned usable that ends because it was told to: the error of a run that ended otherwise,
// or that has saved nothing, is given back as it is.
func (r *run) leave(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) || r.saved == (checkpoint.ID{}) {
		return err
	}
	written, failed := r.dir.leave(r.store.Path(r.saved))
	if failed = errors.Join(failed, r.draw()); failed != nil {
		return finetune.EndedBy(err, failed)
	}
	if written {
		r.rep.Report(report.Saved{What: "unfinished adapter", Path: r.dir.file(fileAdapter), Step: r.saved.Step})
	}
	return err
}

// publish gives the verified result its name, adapter.gguf or model.gguf: what bears it, and does not say of itself
// that it is unfinished, has always been verified.
func (r *run) publish(s *report.Summary) error {
	what, name := "adapter", fileAdapter
	if r.cfg.Whole() {
		what, name = "model", fileModel
	}
	s.Result = r.dir.file(name)
	// The head first: where there is an adapter, its run's head is beside it.
	if r.scores() {
		if err := atomicfile.OS.Rename(r.dir.file(fileUnsure), r.dir.file(fileHead)); err != nil {
			return fmt.Errorf("name the verified head: %w", err)
		}
		r.rep.Report(report.Saved{What: "head", Path: r.dir.file(fileHead), Step: s.ResultStep})
	}
	if err := atomicfile.OS.Rename(r.dir.file(fileUnverified), s.Result); err != nil {
		return fmt.Errorf("name the verified result: %w", err)
	}
	if err := atomicfile.OS.SyncDir(r.dir.path); err != nil {
		return fmt.Errorf("flush %s to disk: %w; the result is whole, but may be missing after a power cut",
			r.dir.path, err)
	}
	r.rep.Report(report.Saved{What: what, Path: s.Result, Step: s.ResultStep})
	if r.cfg.Kind().Merged() { // what llama.cpp runs
		s.Result = r.dir.file(fileModel)
	}
	return nil
}

// merge makes a model of the base and an adapter that llama.cpp has no place for: it is measured beside the adapter,
// and llama.cpp loads it and computes the same, before it has its name.
func (r *run) merge(ctx context.Context, _ *verify.Probe, base string, s *report.Summary) error {
	m, err := merge.Merge(ctx, merge.Config{Model: base, Output: r.dir.file(fileModel), Threads: r.cfg.Threads,
		Adapters: []merge.Adapter{{Path: r.dir.file(fileUnverified), Scale: 1}}, As: r.dir.file(fileAdapter)}, r.rep)
	if err != nil {
		return err
	}
	sum, err := fileSHA256(m.Output)
	if err != nil {
		return fmt.Errorf("read the merged model again: %w", err)
	}
	s.ModelSHA256 = &sum
	if v := m.Report.Vectors; v != nil {
		s.MergedTurn, s.BaseTurn, s.VectorRMSDiff = &v.Merged.Mean, &v.Base.Mean, &m.LlamaRMSDiff
	} else {
		s.MergedKL, s.BaseKL = &m.Report.Merged.KL, &m.Report.Base.KL
		s.LlamaRMSDiff, s.LlamaBaseRMSDiff = &m.LlamaRMSDiff, &m.LlamaBaseRMSDiff
	}
	r.rep.Report(report.Saved{What: "model", Path: m.Output, Step: s.ResultStep})
	return nil
}

// verify has llama.cpp load the result and compares what it computes with ours.
func (r *run) verify(ctx context.Context, probe *verify.Probe, base string, s *report.Summary) error {
	r.rep.Report(report.Progress{What: "verify"})
	defer r.rep.Report(report.Progress{What: "verify", Done: 1, Total: 1})
	var a verify.Agreement
	var err error
	path := r.dir.file(fileUnverified)
	switch {
	case r.cfg.QAT != "":
		a, err = probe.VerifyRounded(ctx, path, r.cfg.Threads)
	case r.cfg.Whole():
		if r.meta.BaseDiff == nil {
			return errors.New("verify: the base's own difference from llama.cpp was not measured when the run began")
		}
		a, err = probe.VerifyModel(ctx, path, base, *r.meta.BaseDiff, r.cfg.Threads)
	default:
		a, err = probe.VerifyAdapter(ctx, base, path, r.cfg.Threads)
	}
	if err != nil {
		return err
	}
	if r.pools() {
		s.VectorRMSDiff, s.VectorMaxDiff = &a.Trained.RMS, &a.Trained.Max
		return nil
	}
	s.LlamaMaxDiff, s.LlamaRMSDiff = &a.Trained.Max, &a.Trained.RMS
	if r.cfg.QAT == "" {
		s.LlamaBaseDiff, s.LlamaBaseRMSDiff = &a.Base.Max, &a.Base.RMS
	}
	return nil
}
