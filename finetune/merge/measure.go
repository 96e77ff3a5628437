package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Report is what merging cost, on a text: how far predictions of the merged model are from those of the base with the
// adapters applied, beside those of the base alone.
type Report struct {
	Text    string // what it was measured on
	Tokens  int    // predictions
	Applied float64
	Merged  eval.Difference
	Base    eval.Difference
	// Vectors stands in the place of predictions where the model makes vectors of texts; nil elsewhere.
	Vectors *Vectors
}

// muchLost is the share of the base's own divergence at which half of the way from it is lost: divergences grow with
// the square of what predictions, or vectors, change by.
const muchLost = 0.25

// Lost says that much of what the adapters bring is not in the merged model.
func (r *Report) Lost() bool {
	merged, base := r.Merged.KL, r.Base.KL
	if v := r.Vectors; v != nil {
		merged, base = v.Merged.Mean, v.Base.Mean
	}
	return base > 0 && merged > muchLost*base
}

// MarshalJSON writes the stable keys.
func (r *Report) MarshalJSON() ([]byte, error) {
	if v := r.Vectors; v != nil {
		return json.Marshal(struct {
			Text string `json:"text"`
			*Vectors
		}{r.Text, v})
	}
	of := func(d eval.Difference) map[string]any {
		return map[string]any{"loss": d.Loss, "perplexity": d.Perplexity(), "kl_mean": d.KL, "kl_p99": d.KL99,
			"top1_agreement": d.Top}
	}
	applied := eval.Difference{Loss: r.Applied}
	return json.Marshal(map[string]any{"text": r.Text, "tokens": r.Tokens, "merged": of(r.Merged), "base": of(r.Base),
		"applied": map[string]any{"loss": applied.Loss, "perplexity": applied.Perplexity()}})
}

// check measures what was written, and has llama.cpp load it.
func (m *merging) check(ctx context.Context, path string) error {
	text, err := m.text(ctx)
	if err != nil {
		return err
	}
	measure := m.measure
	if m.pooling != 0 {
		measure = m.measureVectors
	}
	probe, best, err := measure(ctx, text)
	if err != nil {
		return err
	}
	if err := m.keep(best); err != nil {
		return err
	}
	// llama.cpp needs memory of its own: ours goes first.
	if err := m.close(); err != nil {
		return err
	}
	m.rep.Report(report.Progress{What: "verify"})
	a, err := probe.VerifyMerged(ctx, m.Model, path, m.From == "", m.Threads)
	m.rep.Report(report.Progress{What: "verify", Done: 1, Total: 1})
	m.result.LlamaRMSDiff, m.result.LlamaBaseRMSDiff = a.Trained.RMS, a.Base.RMS
	return err
}

// measure compares predictions, in exact mode: the fast one's own rounding is as large as that of f16 weights. It gives
// the probe of the base with the adapters, for llama.cpp, and which of the models that were made is nearest to it.
func (m *merging) measure(ctx context.Context, text *text) (_ *verify.Probe, best int, err error) {
	base, err := m.applied()
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	var others []eval.Predict
	for _, c := range m.made {
		s, done, e := m.exact(c.path)
		if e != nil {
			return nil, 0, e
		}
		defer func() { err = errors.Join(err, done()) }()
		others = append(others, eval.Predictor(s, engine.Choice{}))
	}
	d, err := eval.Compare(ctx, eval.Predictor(base, engine.Choice{}),
		append(others, eval.Predictor(base, engine.Only())),
		m.model.HParams().NVocab, text.items, func(done int) {
			m.rep.Report(report.Progress{What: "measure", Done: done, Total: len(text.items)})
		})
	if err != nil {
		return nil, 0, fmt.Errorf("measure the merged model: %w", err)
	}
	for i := range m.made {
		if d.Models[i].KL < d.Models[best].KL {
			best = i
		}
	}
	m.result.Report = &Report{Text: text.what, Tokens: d.Tokens, Applied: d.Loss, Merged: d.Models[best],
		Base: d.Models[len(m.made)]}
	m.sayLost("predictions are KL %.3g from those of the base with the adapter, and those of the base alone %.3g",
		m.result.Report.Merged.KL, m.result.Report.Base.KL)
	tokens := text.probe()
	if tokens == nil {
		return nil, 0, fmt.Errorf("no part of %s has two tokens to compare logits with llama.cpp's on; give a longer "+
			"text", text.what)
	}
	probe, err := verify.NewProbe(ctx, base, tokens, 0)
	if err == nil {
		m.probed = probe.Texts[0]
	}
	return probe, best, err
}

// sayLost says, where much is lost of what the adapters bring, by how much, and what else can be done.
func (m *merging) sayLost(format string, args ...any) {
	if m.from != nil || !m.result.Report.Lost() { // from other weights all differs anyway
		return
	}
	larger, small := "f16", false
	for _, c := range m.plan.Changes {
		switch b := c.To.BitsPerWeight(); {
		case !m.sum.Changes(c.Tensor.Name):
		case b < gguf.Q8_0.BitsPerWeight():
			larger, small = "q8_0", true
		case !c.To.IsQuantized() && !small:
			larger = "f32"
		}
	}
	instead := "keep the adapter apart (llama.cpp's --lora), or merge into larger types (--type " + larger + ")"
	switch {
	case slices.ContainsFunc(m.adapters, func(a adapter.Scaled) bool { return a.Kind.Merged() }):
		instead = "merge into larger types (ggtune merge --type " + larger + "), or train a lora, which can be kept " +
			"apart"
	case small:
		instead += ", or train it for merging into q4_1 or q5_1 (ggtune train --mergeable)"
	}
	m.note("rounding to these types lost much of what training brought: %s; %s", fmt.Sprintf(format, args...), instead)
}

// applied opens a session of the base with the adapters.
func (m *merging) applied() (*engine.Session, error) {
	return engine.NewSession(m.model, engine.SessionConfig{Threads: m.Threads, Exact: true, Sets: m.sets()})
}

// exact opens a model that was made.
func (m *merging) exact(path string) (*engine.Session, func() error, error) {
	made, err := engine.Open(path)
	if err != nil {
		return nil, nil, err
	}
	s, err := engine.NewSession(made, engine.SessionConfig{Threads: m.Threads, Exact: true})
	if err != nil {
		return nil, nil, errors.Join(err, made.Close())
	}
	return s, func() error { return errors.Join(s.Close(), made.Close()) }, nil
}

// sets are the adapters that change something, as they are applied: each scaled.
func (m *merging) sets() []engine.Set {
	var out []engine.Set
	for i, a := range m.adapters {
		if a.Scale == 0 {
			continue
		}
		scaled := *a.Adapter
		scaled.Alpha *= a.Scale
		out = append(out, engine.Set{Name: fmt.Sprint(i), Adapter: &scaled, Frozen: true})
	}
	return out
}
