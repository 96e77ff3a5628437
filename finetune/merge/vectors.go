package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/embed"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/vectors"
	"github.com/ggtune/ggtune/internal/count"
)

// Vectors is how far the merged model's vectors of texts, and those of the base alone, are from those of the base with
// the adapters applied.
type Vectors struct {
	Pooling string `json:"pooling"`
	Texts   int    `json:"texts"`
	Merged  Turn   `json:"merged"`
	Base    Turn   `json:"base"`
}

// A Turn is by how much vectors point elsewhere, as 1 − their cosine: half the square of their distance at length 1.
type Turn struct {
	Mean float64 `json:"distance_mean"`
	Most float64 `json:"distance_max"`
}

// pool finds out whether the model makes vectors of texts, and how: as the adapters' making says, or, where it does
// nothing else, as its file does.
func (m *merging) pool() error {
	first := ""
	for i, a := range m.adapters {
		made := &origin.Origin{Adapter: m.result.Adapters[i].Path, Info: a.Info}
		if !made.Pools() {
			continue
		}
		p, err := m.model.Pooling(made.Pooling())
		if err != nil {
			return fmt.Errorf("%s makes vectors of texts: %w", made.Adapter, err)
		}
		if m.pooling != 0 && p != m.pooling {
			return fmt.Errorf("%s was trained with pooling %v and %s with %v, and a model makes a vector in one way; "+
				"merge adapters of one pooling", first, m.pooling, made.Adapter, p)
		}
		m.pooling, first = p, made.Adapter
		if q, d := made.Prefixes(); q+d != "" {
			m.note("%s was trained with %q before queries and %q before documents, which belong before them in the "+
				"merged model too", made.Adapter, q, d)
		}
	}
	if net := m.model.Net(); m.pooling == 0 && net.Headless {
		m.pooling = net.Pooling.OrMean()
	}
	if m.pooling == 0 {
		return nil
	}
	if m.Budget != nil && m.model.Net().Headless {
		return fmt.Errorf("%s predicts no tokens, by which --budget and --size find what each type costs; choose "+
			"types with --type or --tensor-type", m.Model)
	}
	return nil
}

// measureVectors is measure of vectors.
func (m *merging) measureVectors(ctx context.Context, text *text) (_ *verify.Probe, best int, err error) {
	base, err := m.applied()
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	passes, done := len(m.made)+2, 0
	of := func(s *engine.Session, apply engine.Choice) (vectors.Matrix, error) {
		o := embed.Options{Pooling: m.pooling, Apply: apply, Progress: func(n int) {
			all := len(text.texts)
			m.rep.Report(report.Progress{What: "measure", Done: done*all + n, Total: passes * all})
		}}
		v, err := embed.All(ctx, s, text.texts, o)
		done++
		return v, err
	}
	applied, err := of(base, engine.Choice{})
	if err != nil {
		return nil, 0, err
	}
	alone, err := of(base, engine.Only())
	if err != nil {
		return nil, 0, err
	}
	var turns []Turn
	for i, c := range m.made {
		v, err := m.vectorsOf(c.path, of)
		if err != nil {
			return nil, 0, err
		}
		if turns = append(turns, turned(applied, v)); turns[i].Mean < turns[best].Mean {
			best = i
		}
	}
	v := &Vectors{Pooling: m.pooling.String(), Texts: applied.Len(), Merged: turns[best], Base: turned(applied, alone)}
	m.result.Report = &Report{Text: text.what, Vectors: v}
	m.sayLost("vectors are %.3g (1 − cosine) from those of the base with the adapter, and those of the base alone %.3g",
		v.Merged.Mean, v.Base.Mean)
	probe, err := verify.NewVectorProbe(ctx, base, text.texts[:min(len(text.texts), probedTexts)], m.pooling)
	return probe, best, err
}

// probedTexts is how many vectors are held against llama.cpp's.
const probedTexts = 8

func (m *merging) vectorsOf(path string, of func(*engine.Session, engine.Choice) (vectors.Matrix, error)) (
	_ vectors.Matrix, err error) {
	s, done, err := m.exact(path)
	if err != nil {
		return vectors.Matrix{}, err
	}
	defer func() { err = errors.Join(err, done()) }()
	return of(s, engine.Choice{})
}

func turned(from, to vectors.Matrix) (t Turn) {
	for i := range from.Len() {
		d := 1 - vectors.Cosine(from.Row(i), to.Row(i))
		t.Mean, t.Most = t.Mean+d/float64(from.Len()), max(t.Most, d)
	}
	return t
}

// plain encodes texts of which vectors are made, as they are.
func (m *merging) plain(cfg *config.Config, what string, of []corpus.Text) (_ *text, err error) {
	r, err := corpus.OpenTexts(cfg, m.model)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	out := &text{what: what}
	for _, t := range of {
		tokens, err := r.Tokens(t.Source, cfg.DocumentPrefix, t.Text)
		if err != nil {
			return nil, err
		}
		out.texts = append(out.texts, tokens)
	}
	return out, nil
}

// paragraphs are the general text's, each a text.
func (m *merging) paragraphs() (_ *text, err error) {
	cfg := config.Default()
	r, err := corpus.OpenTexts(&cfg, m.model)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	out, left := &text{what: "a general text"}, 0
	for _, t := range strings.Split(eval.GeneralText, "\n\n") {
		if strings.TrimSpace(t) == "" {
			continue
		}
		tokens, err := r.Tokens(out.what, cfg.DocumentPrefix, t)
		if err != nil {
			left++
			continue
		}
		out.texts = append(out.texts, tokens)
	}
	if left > 0 {
		out.what += fmt.Sprintf(", without %s that the vocabulary cannot spell", count.Of(left, "paragraph"))
	}
	if len(out.texts) == 0 {
		return nil, fmt.Errorf("%s can spell no paragraph of the general text; give a text with --report", m.Model)
	}
	return out, nil
}

// embedded reads data of which vectors are made: examples as the adapter's method has them, or plain texts.
func (m *merging) embedded(ctx context.Context, cfg *config.Config) (*text, error) {
	if how, err := cfg.Loss(); err != nil || !how.Need.Pools() { // an adapter that others made
		cfg.Method = method.MNRL.Name
	}
	items, err := m.examples(ctx, cfg, (*corpus.Reader).ReadHeld, nil)
	if err == nil {
		return &text{what: m.Report, texts: encode.Texts(eval.Spread(items, enough), -1)}, nil
	}
	if unsuited := (*data.UnsuitedError)(nil); !errors.As(err, &unsuited) || unsuited.Gives != data.WantAnswers {
		return nil, err
	}
	of, notes, err := corpus.ReadTexts(ctx, cfg, cfg.Data)
	for _, n := range notes {
		m.note("%s", n)
	}
	if err != nil {
		return nil, err
	}
	return m.plain(cfg, m.Report, of)
}
