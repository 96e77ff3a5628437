package run

import (
	"context"
	"fmt"
	"maps"

	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// measureBase takes the measurements that are only possible, or only meaningful, before the first step.
func (r *run) measureBase(ctx context.Context) error {
	if r.meta.State.Step > 0 || r.meta.State.Pending.Micros > 0 {
		return nil
	}
	if r.rows.HeldRows != nil && r.meta.EvalBefore == nil {
		rounds := r.cfg.QAT != ""
		res, err := r.measure(ctx, eval.Options{NoAdapter: rounds || !r.cfg.Whole() && r.cfg.InitAdapter == "" &&
			!r.scores()}) // the base has no head
		if err != nil {
			return err
		}
		if rounds {
			plain, err := r.measure(ctx, eval.Options{})
			if err != nil {
				return err
			}
			r.note("rounded to %s, the base has a held-out loss of %.4f, and %.4f without: that is where training "+
				"begins", r.cfg.QAT, plain.Loss, res.Loss)
		}
		r.meta.EvalBefore, r.meta.Before = &res.Loss, numbersOf(res)
		r.rep.Report(report.Evaluated{Loss: res.Loss, Perplexity: res.Perplexity(), Metrics: res.Metrics})
	}
	return r.measureDistance(ctx, &r.meta)
}

// measureDistance measures for m, where it does not hold it, llama.cpp's distance from a base that is trained in full.
// The session must hold the base.
func (r *run) measureDistance(ctx context.Context, m *meta) error {
	// Through rounded weights nothing is computed that the base computes.
	if !r.cfg.Whole() || r.cfg.QAT != "" || m.BaseDiff != nil {
		return nil
	}
	// llama.cpp maps the file that is mapped here, so that the weights are in memory once; what it takes beside them
	// is a context of a few tokens.
	p, err := r.probe(ctx)
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

// measure evaluates on the held-out rows what would be written now.
func (r *run) measure(ctx context.Context, o eval.Options) (res eval.Result, err error) {
	if r.rolls() {
		return r.onAnswers(ctx)
	}
	err = r.learned(func() (err error) {
		res, err = r.measureAll(ctx, o)
		return err
	})
	return res, err
}

func (r *run) measureAll(ctx context.Context, o eval.Options) (eval.Result, error) {
	done, total := 0, r.rows.HeldRows.Rows()
	for _, m := range r.rows.Mixed {
		if m.HeldRows != nil {
			total += m.HeldRows.Rows()
		}
	}
	o.Progress = func(rows int) {
		r.rep.Report(report.Progress{What: "evaluate", Done: done + rows, Total: total})
	}
	o.Reference, o.Teacher, o.Bytes = r.refs.held.of, r.lessons.held.said, r.text.Bytes
	o.Pooling = r.pooling
	var err error
	if o.Own, err = r.own.Values(); err != nil {
		return eval.Result{}, err
	}
	out, err := eval.Run(ctx, r.sess, r.rows.HeldRows, r.how, o)
	if err != nil {
		return out, err
	}
	done += r.rows.HeldRows.Rows()
	o.Reference, o.Teacher = nil, nil // methods with one mix nothing in
	for i, m := range r.rows.Mixed {
		if m.HeldRows == nil {
			continue
		}
		res, err := eval.Run(ctx, r.sess, m.HeldRows, r.how, o)
		if err != nil {
			return out, fmt.Errorf("%s: %w", m.File, err)
		}
		out.Metrics = append(out.Metrics, method.Metric{Name: mixName(i, "loss"), Sum: res.Loss, Weight: 1})
		for _, f := range res.Metrics {
			f.Name = mixName(i, f.Name)
			out.Metrics = append(out.Metrics, f)
		}
		done += m.HeldRows.Rows()
	}
	return out, nil
}

// mixName is the name of a figure of what is held out of data that is mixed in, the first of number 0.
func mixName(i int, figure string) string { return fmt.Sprintf("mix_%d_%s", i+1, figure) }

// perplexity is the name of a measurement's.
const perplexity = "perplexity"

// numbersOf gives the figures of a measurement by their names, as far as they are numbers.
func numbersOf(res eval.Result) map[string]float64 {
	out := figures(map[string]float64{}, "", res.Metrics)
	out[perplexity] = res.Perplexity()
	maps.DeleteFunc(out, func(_ string, x float64) bool { return x-x != 0 })
	return out
}

// forgetting measures what the run did to text that it had nothing to do with. A text or a figure that this model gives
// no number for is no reason to lose the result.
func (r *run) forgetting(ctx context.Context, s *report.Summary) error {
	const what = "general text"
	items, err := r.text.Literal(what, eval.GeneralText, eval.GeneralWindow)
	if err != nil {
		r.note("what the run did to general text is not measured: %v", err)
		return nil
	}
	r.rep.Report(report.Progress{What: what})
	g, err := eval.MeasureGeneral(ctx, r.sess, r.model.HParams().NVocab, items, func(done int) {
		r.rep.Report(report.Progress{What: what, Done: done, Total: len(items)})
	})
	if err != nil {
		return err
	}
	if !g.Finite() {
		r.note("what the run did to general text is not known: its loss is %g before and %g after", g.Before, g.After)
		return nil
	}
	s.General = &report.General{Before: g.Before, After: g.After, Tokens: g.Tokens, KL: g.KL, KLTokens: g.KLTokens}
	return nil
}

// owed makes up for an evaluation, or answers, that an interruption prevented.
func (r *run) owed(ctx context.Context, st *finetune.State) error {
	if st.Step == 0 || st.Pending.Micros > 0 {
		return nil
	}
	every := r.rows.EvalEvery()
	if every > 0 && st.Step%every == 0 && r.meta.Evaluated != st.Step {
		if _, err := r.evaluate(ctx, st.Step); err != nil { // the step's checkpoint is there already
			return err
		}
	}
	if st.Step < r.meta.Course.Steps && r.due(st.Step) {
		return r.sample(ctx, st.Step)
	}
	return nil
}

// evaluate measures the held-out loss after a step, adds it to the step's line, and says whether it is the lowest yet.
func (r *run) evaluate(ctx context.Context, step int) (better bool, err error) {
	res, err := r.measure(ctx, eval.Options{})
	if err != nil {
		return false, err
	}
	better = r.meta.Best.Add(step, res.Loss)
	r.meta.Evaluated, r.meta.LastEval = step, &res.Loss
	r.rep.Report(report.Evaluated{Step: step, Loss: res.Loss, Perplexity: res.Perplexity(), Best: better,
		Metrics: res.Metrics})
	return better, r.log.Amend(func(l *report.Line) {
		l.EvalLoss = &res.Loss
		for name, x := range numbersOf(res) {
			if l.Figures == nil {
				l.Figures = map[string]float64{}
			}
			l.Figures["eval_"+name] = x
		}
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
