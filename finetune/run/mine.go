package run

import (
	"context"
	"errors"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/mine"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Mined is a pair of the data with the documents that were found for it, the hardest first, as training reads it.
type Mined struct {
	Query     string   `json:"query"`
	Positive  string   `json:"positive"`
	Negatives []string `json:"negatives"`
}

// Mine has a model look, among the documents of cfg.Data and those of the paths in beside, for some that it takes for
// answers to the data's queries and that are none. each is given every pair with what was found for it; those for which
// nothing was found are counted alone. Otherwise it is as EvaluateVectors.
func Mine(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool, o mine.Options,
	beside []string, rep report.Reporter, each func(Mined) error) (_ mine.Counts, err error) {
	if err := o.Validate(); err != nil {
		return mine.Counts{}, &config.Error{Err: err}
	}
	e, err := OpenEmbedder(ctx, cfg, adapterPath, given, rep)
	if err != nil {
		return mine.Counts{}, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	r, err := corpus.ReadRetrieval(ctx, e.cfg, e.cfg.Data, beside, data.BEIRLearned)
	if err != nil {
		return mine.Counts{}, err
	}
	e.m.notes(r.Notes)
	queries, err := e.Queries(ctx, r.Queries, false)
	if err != nil {
		return mine.Counts{}, err
	}
	documents, err := e.Documents(ctx, r.Documents, false)
	if err != nil {
		return mine.Counts{}, err
	}
	pairs := make([]mine.Pair, len(r.Pairs))
	for i, p := range r.Pairs {
		pairs[i] = mine.Pair{Query: p[0], Document: p[1]}
	}
	o.Seed = e.cfg.Seed
	found, counts, err := mine.Mine(ctx, queries, documents, pairs, o, func(done int) {
		rep.Report(report.Progress{What: "search", Done: done, Total: queries.Len()})
	})
	if err != nil {
		return counts, err
	}
	for i, hits := range found {
		if len(hits) == 0 {
			continue
		}
		m := Mined{Query: r.Queries[pairs[i].Query].Text, Positive: r.Documents[pairs[i].Document].Text}
		for _, h := range hits {
			m.Negatives = append(m.Negatives, r.Documents[h.Index].Text)
		}
		if err := each(m); err != nil {
			return counts, err
		}
	}
	return counts, nil
}
