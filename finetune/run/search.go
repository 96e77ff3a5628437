package run

import (
	"context"
	"errors"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/vectors"
)

// A Search is texts that can be asked, with the adapter that there is and without. It is not safe for concurrent use.
type Search struct {
	e     *Embedder
	texts []corpus.Text
	of    both
}

// A Found is a text that was found.
type Found struct {
	Score  float64 `json:"score"` // the cosine
	Source string  `json:"source"`
	Text   string  `json:"text"`
}

// A Finding is what was found for a question, the nearest first.
type Finding struct {
	Question string  `json:"question"`
	Found    []Found `json:"found"`
	// Base is what the model finds without the adapter; nil without one.
	Base []Found `json:"base,omitempty"`
}

// OpenSearch reads the texts of cfg.Data, makes their vectors and keeps them. The caller closes it. Otherwise it is as
// OpenEmbedder.
func OpenSearch(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	rep report.Reporter) (_ *Search, err error) {
	e, err := OpenEmbedder(ctx, cfg, adapterPath, given, rep)
	if err != nil {
		return nil, err
	}
	s := &Search{e: e}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	texts, notes, err := corpus.ReadTexts(ctx, e.cfg, e.cfg.Data)
	if err != nil {
		return nil, err
	}
	e.m.notes(notes)
	s.texts = texts
	s.of, err = e.both(func(base bool) (vectors.Matrix, error) { return e.Documents(ctx, texts, base) })
	return s, err
}

// Close gives back what is open. It may be called again, and on nil.
func (s *Search) Close() error {
	if s == nil {
		return nil
	}
	return s.e.Close()
}

// Len is how many texts there are.
func (s *Search) Len() int { return len(s.texts) }

// Ask finds the k texts that are nearest to a question.
func (s *Search) Ask(ctx context.Context, question string, k int) (Finding, error) {
	q, err := s.e.both(func(base bool) (vectors.Matrix, error) {
		return s.e.Queries(ctx, []corpus.Text{{Source: "the question", Text: question}}, base)
	})
	out := Finding{Question: question}
	if err != nil {
		return out, err
	}
	out.Found = s.found(q.tuned, s.of.tuned, k)
	if q.base.Data != nil {
		out.Base = s.found(q.base, s.of.base, k)
	}
	return out, nil
}

func (s *Search) found(q, of vectors.Matrix, k int) (out []Found) {
	for _, h := range of.Nearest(q.Row(0), k, nil) {
		out = append(out, Found{h.Score, s.texts[h.Index].Source, s.texts[h.Index].Text})
	}
	return out
}
