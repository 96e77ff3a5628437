package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/embed"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/vectors"
)

// An Embedder makes vectors of texts with a model, and the adapter that there is. It is not safe for concurrent use.
type Embedder struct {
	m       *measured
	cfg     *config.Config
	pooling arch.Pooling
	text    *corpus.Texts
	sess    *engine.Session
	rep     report.Reporter
}

// OpenEmbedder opens the model of cfg, with the adapter that a path names (a file, a run's directory, a checkpoint's)
// unless that is "". What the adapter says of its making (pooling, prefixes, row length) is taken where given says that
// the user did not choose. The caller closes it.
func OpenEmbedder(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	rep report.Reporter) (*Embedder, error) {
	if len(cfg.Data) == 0 {
		cfg.Data = []string{"none"} // texts are given one by one
	}
	m, err := openForVectors(ctx, &cfg, adapterPath, given, rep)
	if err != nil {
		return nil, err
	}
	return m.embedder(&cfg, rep)
}

// openForVectors is openMeasured of what makes vectors.
func openForVectors(ctx context.Context, cfg *config.Config, adapterPath string, given func(option string) bool,
	rep report.Reporter) (*measured, error) {
	if given == nil || !given("method") {
		cfg.Method = method.MNRL.Name // whose settings are those of all that make vectors
	}
	return openMeasured(ctx, cfg, adapterPath, given, rep)
}

// embedder has a measured model make vectors. It closes the model in any case.
func (m *measured) embedder(cfg *config.Config, rep report.Reporter) (_ *Embedder, err error) {
	e := &Embedder{m: m, cfg: cfg, rep: rep}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if how, err := cfg.Loss(); err == nil && m.adapter != "" && !how.Need.Pools() {
		return nil, fmt.Errorf("%s was trained to write (--method %s), and not to make vectors; leave it out, or give "+
			"one of a method that makes them, such as mnrl", m.adapter, how.Name)
	}
	if m.invocation != nil {
		return nil, fmt.Errorf("%s acts from a text on that it waits for, and a vector is made of all of a text; give "+
			"an adapter that acts on every token", m.adapter)
	}
	if e.pooling, err = cfg.PoolingOf(m.model); err != nil {
		return nil, err
	}
	if e.text, err = corpus.OpenTexts(cfg, m.model); err != nil {
		return nil, err
	}
	e.sess, err = engine.NewSession(m.model, m.session)
	return e, err
}

// Close gives back what is open. It may be called again, and on nil.
func (e *Embedder) Close() error {
	if e == nil {
		return nil
	}
	var errs []error
	if e.sess != nil {
		errs = append(errs, e.sess.Close())
	}
	errs = append(errs, e.text.Close())
	if e.m != nil {
		errs = append(errs, e.m.model.Close())
	}
	*e = Embedder{}
	return errors.Join(errs...)
}

// Adapter is the file of the adapter in use, or "".
func (e *Embedder) Adapter() string { return e.m.adapter }

// Pooling says what of a text's tokens makes its vector.
func (e *Embedder) Pooling() string { return e.pooling.String() }

// Config is what is computed with: the user's settings, with what the adapter says.
func (e *Embedder) Config() *config.Config { return e.cfg }

// Queries gives the vectors of texts as queries, of length 1; base without the adapter.
func (e *Embedder) Queries(ctx context.Context, texts []corpus.Text, base bool) (vectors.Matrix, error) {
	return e.normal(ctx, "queries", texts, e.cfg.QueryPrefix, base)
}

// Documents gives the vectors of texts as documents, of length 1; base without the adapter.
func (e *Embedder) Documents(ctx context.Context, texts []corpus.Text, base bool) (vectors.Matrix, error) {
	return e.normal(ctx, "documents", texts, e.cfg.DocumentPrefix, base)
}

func (e *Embedder) normal(ctx context.Context, what string, texts []corpus.Text, prefix string, base bool) (
	vectors.Matrix, error) {
	m, err := e.Raw(ctx, what, texts, prefix, base)
	if err == nil {
		m.Normalize()
	}
	return m, err
}

// Raw gives the vectors of texts with a prefix before them, as they come: of whatever length; base without the adapter.
// what they are is for the user.
func (e *Embedder) Raw(ctx context.Context, what string, texts []corpus.Text, prefix string, base bool) (
	vectors.Matrix, error) {
	tokens := make([][]int32, len(texts))
	for i, t := range texts {
		if ctx.Err() != nil {
			return vectors.Matrix{}, context.Cause(ctx)
		}
		var err error
		if tokens[i], err = e.text.Tokens(t.Source, prefix, t.Text); err != nil {
			return vectors.Matrix{}, err
		}
	}
	e.m.notes(e.text.Notes())
	o := embed.Options{Pooling: e.pooling, Progress: func(done int) {
		e.rep.Report(report.Progress{What: what, Done: done, Total: len(texts)})
	}}
	if base {
		o.Apply = engine.Only()
	}
	return embed.All(ctx, e.sess, tokens, o)
}
