package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
)

// An Evaluation is what `ggtune eval` finds out.
type Evaluation struct {
	Loss       float64  // of the method, per unit; for sft and cpt nats per counted token
	BaseLoss   *float64 // of a method of vectors, without the adapter; nil without one
	Perplexity float64  // e to the nats per counted token; NaN for methods that compare answers
	Tokens     int      // read, padding excluded
	Counted    int
	Rows       int
	Method     string
	Unit       string // what Loss is per: token, pair, …
	Model      string
	Adapter    string // "" for the model alone
	Figures    map[string]float64
	Scores     *eval.Scores // of a method that gives scores
	Answered   *Answered    // of a method whose model writes answers
	Data       encode.Counts
}

// MarshalJSON writes the stable keys of `eval --json`.
func (e Evaluation) MarshalJSON() ([]byte, error) {
	m := map[string]any{"loss": e.Loss, "perplexity": finite(e.Perplexity), "tokens": e.Tokens,
		"counted_tokens": e.Counted, "rows": e.Rows,
		"method": e.Method, "model": e.Model, "adapter": nil, "data": e.Data}
	if e.Adapter != "" {
		m["adapter"] = e.Adapter
	}
	for k, v := range e.Figures {
		m[k] = finite(v)
	}
	if e.BaseLoss != nil {
		m["base_loss"] = finite(*e.BaseLoss)
	}
	if e.Scores != nil {
		m["scores"] = e.Scores
	}
	if e.Answered != nil {
		e.Answered.put(m)
	}
	return json.Marshal(m)
}

// finite is x, or null where it is no number: JSON has none such.
func finite(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

// Evaluate measures a model on cfg.Data, with the adapter that a path names (a file, a run's directory, a checkpoint's)
// unless that is "". What the adapter says about its making (method, template, mask, row length, and how the data is
// read) is taken where given, asked with the option's name, says that the user did not choose; nil means nothing was
// chosen. Of cfg only what Options marks as Eval is used.
func Evaluate(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	rep report.Reporter) (_ Evaluation, err error) {
	m, err := openMeasured(ctx, &cfg, adapterPath, given, rep)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, m.model.Close()) }()
	return m.evaluate(ctx, &cfg, given, rep)
}

// evaluate is Evaluate of an open model.
func (m *measured) evaluate(ctx context.Context, cfg *config.Config, given func(option string) bool,
	rep report.Reporter) (_ Evaluation, err error) {
	how, err := cfg.Loss()
	if err != nil {
		return Evaluation{}, err
	}
	if how.Need != method.Rollouts && given != nil {
		m.notes(cfg.UnreadRollouts(given))
	}
	h := &head.File{}
	if how.Value == method.AtEnds {
		if h, err = m.takeHead(ctx, cfg); err != nil {
			return Evaluation{}, err
		}
	}
	pooling, err := cfg.VectorsOf(how, m.model)
	if err != nil {
		return Evaluation{}, err
	}
	text, err := corpus.Open(cfg, m.model, how)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	beside, err := openOther(cfg, how, text)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, beside.close()) }()
	text.AnyKind = given == nil || !given("mask")
	text.Invoke(m.invocation, true)
	held, err := text.ReadHeld(ctx)
	if err != nil {
		return Evaluation{}, err
	}
	m.notes(held.Notes)
	m.notes(m.made.Differs(origin.Use{Template: text.Template()}))
	if how.Need == method.Rollouts && !how.Rewarded() {
		return m.distance(ctx, cfg, how, held, rep)
	}
	if how.Need == method.Rollouts {
		return m.rewarded(ctx, cfg, how, text, held, rep)
	}
	total := held.HeldRows.Rows()
	ref, err := m.reference(ctx, cfg, how, held, beside,
		func(n int) { rep.Report(report.Progress{What: "reference", Done: n, Total: total}) })
	if err != nil {
		return Evaluation{}, err
	}
	said, err := teachHeld(ctx, m.model, cfg, how, held,
		func(n int) { rep.Report(report.Progress{What: "teacher", Done: n, Total: total}) })
	defer func() { err = errors.Join(err, said.remove()) }()
	if err != nil {
		return Evaluation{}, err
	}
	sess, err := engine.NewSession(m.model, m.session)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	o := eval.Options{Reference: ref.of, Teacher: said.train.said, Pooling: pooling, Bytes: text.Bytes}
	o.Progress = func(n int) {
		rep.Report(report.Progress{What: "evaluate", Done: n, Total: total})
	}
	var judged []eval.Judgement
	if how.Value == method.AtEnds {
		o.Seen = func(in *method.Inputs) { judged = append(judged, eval.Judge(how, held.Held.Items, in)...) }
	}
	res, err := eval.Run(ctx, sess, held.HeldRows, how, o)
	if err != nil {
		return Evaluation{}, err
	}
	var before *float64
	if pooling.Pools() && m.adapter != "" {
		o.NoAdapter = true
		base, err := eval.Run(ctx, sess, held.HeldRows, how, o)
		if err != nil {
			return Evaluation{}, err
		}
		before = &base.Loss
	}
	told, scores := summedUp(how, res, judged, h.Mean, cfg.Seed)
	return Evaluation{Scores: scores, BaseLoss: before,
		Loss: res.Loss, Perplexity: res.Perplexity(), Tokens: res.Tokens, Counted: res.Counted,
		Rows: total, Method: how.Name, Unit: how.Unit,
		Model: cfg.Model, Adapter: m.adapter, Figures: told, Data: held.Held.Counts}, nil
}

// reference measures what a method's reference says of held-out rows; nil of a method without one.
func (m *measured) reference(ctx context.Context, cfg *config.Config, how *method.Method, held *corpus.Rows,
	beside *other, progress func(rows int)) (*reference, error) {
	if !how.Reference {
		return nil, nil
	}
	path, sum, err := referenceAdapter(cfg)
	if err != nil {
		return nil, err
	}
	use := origin.Use{Reference: &sum}
	if use.Teacher, err = beside.hash(); err != nil {
		return nil, err
	}
	m.notes(m.made.Differs(use))
	return measureReference(ctx, m.model, cfg, how, path, held, beside, progress)
}

// summedUp gives the figures of a measurement and, where scores were judged, what they are worth. Rewards are less the
// mean, as ggtune score has them.
func summedUp(how *method.Method, res eval.Result, judged []eval.Judgement, mean float32, seed uint64) (
	map[string]float64, *eval.Scores) {
	told := figures(nil, "", res.Metrics)
	if judged == nil {
		return told, nil
	}
	for _, name := range []string{"chosen_reward", "rejected_reward"} {
		if x, ok := told[name]; ok {
			told[name] = x - float64(mean)
		}
	}
	return told, eval.SumUp(how, judged, seed)
}

// A measured model is one that is opened to be measured, with an adapter or none.
type measured struct {
	model   *engine.Model
	session engine.SessionConfig
	base    string         // the model's hash, where an adapter asked for it
	adapter string         // its file, or ""
	made    *origin.Origin // what it says of its making
	// invocation is what it waits for; nil: it acts on every token.
	invocation []int32
	notes      func([]string) // tells the user
}

// openMeasured opens the model of cfg, and the adapter that a path names, from which cfg takes what the user has not
// given.
func openMeasured(ctx context.Context, cfg *config.Config, adapterPath string, given func(option string) bool,
	rep report.Reporter) (_ *measured, err error) {
	if err := cfg.FindAdapters(); err != nil {
		return nil, err
	}
	if err := cfg.ValidateEval(adapterPath != ""); err != nil {
		return nil, err
	}
	if given == nil {
		given = func(string) bool { return false }
	}
	m := &measured{made: &origin.Origin{}, notes: func(list []string) {
		for _, n := range list {
			rep.Report(report.Notice{Text: n})
		}
	}}
	if m.adapter, err = checkpoint.FindAdapter(adapterPath); err != nil {
		return nil, err
	}
	if cfg.Threads == 0 {
		cfg.Threads = budget.PhysicalCores()
	}
	if m.model, err = engine.Open(cfg.Model); err != nil {
		return nil, err
	}
	m.session = engine.SessionConfig{Threads: cfg.Threads, Exact: cfg.Exact, Seed: cfg.Seed}
	if m.adapter == "" {
		return m, nil
	}
	var a *adapter.Adapter
	if a, m.base, err = tunedAdapter(ctx, m.model, cfg, m.adapter, given, m.notes); err != nil {
		return nil, errors.Join(err, m.model.Close())
	}
	m.session.Sets = []engine.Set{{Adapter: a}}
	m.made, m.invocation = &origin.Origin{Adapter: m.adapter, Info: a.Info}, a.Invocation
	return m, nil
}

// tunedAdapter loads the adapter that is measured, and takes into cfg what it says about its making. It gives the hash
// of the base too.
func tunedAdapter(ctx context.Context, m *engine.Model, cfg *config.Config, path string, given func(string) bool,
	notes func([]string)) (*adapter.Adapter, string, error) {
	a, err := adapter.Load(path, m.Net())
	if err != nil {
		return nil, "", err
	}
	h := startHashing(ctx, m)
	defer h.stop()
	made := &origin.Origin{Adapter: path, Info: a.Info}
	if note := made.Unfinished(); note != "" {
		notes([]string{note})
	}
	notes(made.TakeDefaults(cfg, given))
	sum, err := h.wait()
	if err != nil {
		return nil, "", err
	}
	notes(made.Differs(origin.Use{Model: cfg.Model, ModelSHA256: sum}))
	if err := cfg.ValidateEval(false); err != nil {
		return nil, "", fmt.Errorf("with the settings in %s: %w", path, err)
	}
	return a, sum, nil
}

// measureReference runs the reference over held-out rows; nothing is kept on disk.
func measureReference(ctx context.Context, m *engine.Model, cfg *config.Config, how *method.Method,
	adapterPath string, held *corpus.Rows, beside *other, progress func(rows int)) (_ *reference, err error) {
	base := &referenceModel{model: m, cfg: cfg, adapter: adapterPath, invocation: held.Invocation}
	if base.pooling, err = cfg.VectorsOf(how, m); err != nil {
		return nil, err
	}
	base.takes(beside)
	defer func() { err = errors.Join(err, base.Close()) }()
	ref := newReference(held.Held, base.width())
	return ref, ref.compute(ctx, base, held.HeldRows, held.HeldRows.Micros(), progress, func() error { return nil })
}
