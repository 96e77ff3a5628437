package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Scorer scores answers by a reward model, as they come; ScoreAnswers scores those of a file. It is not safe for
// concurrent use.
type Scorer struct {
	m    *measured
	text *corpus.Reader
	sess *engine.Session
	mean float64
}

// OpenScorer opens the reward model that a run with --method reward left in dir over the model of a path. The caller
// closes it.
func OpenScorer(ctx context.Context, model, dir string, threads int, rep report.Reporter) (_ *Scorer, err error) {
	cfg := config.Default()
	cfg.Model, cfg.Threads, cfg.Data = model, threads, []string{"none"} // they are given one by one
	s := &Scorer{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("reward model %s: %w", dir, err), s.Close())
		}
	}()
	if s.m, err = openMeasured(ctx, &cfg, dir, nil, rep); err != nil {
		return nil, err
	}
	h, err := s.m.takeHead(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	if h.Purpose != head.Reward {
		return nil, fmt.Errorf("its head says a %s, and not what an answer is worth; give a run with --method reward",
			h.Purpose)
	}
	s.mean = float64(h.Mean)
	if s.text, err = corpus.Open(&cfg, s.m.model, method.Scores(method.Answers)); err != nil {
		return nil, err
	}
	s.sess, err = engine.NewSession(s.m.model, s.m.session)
	return s, err
}

// Close gives back what is open. It may be called again, and on nil.
func (s *Scorer) Close() error {
	if s == nil {
		return nil
	}
	var errs []error
	if s.sess != nil {
		errs = append(errs, s.sess.Close())
	}
	errs = append(errs, s.text.Close())
	if s.m != nil {
		errs = append(errs, s.m.model.Close())
	}
	*s = Scorer{}
	return errors.Join(errs...)
}

// An EncodingError is why an answer cannot be read by the model.
type EncodingError struct{ Err error }

func (e *EncodingError) Error() string { return e.Err.Error() }
func (e *EncodingError) Unwrap() error { return e.Err }

// Score scores answers to the prompt of x, in their order. The error is an *EncodingError where others may be scored.
func (s *Scorer) Score(ctx context.Context, x *data.Example, answers []data.Answer) ([]float64, error) {
	out := make([]float64, len(answers))
	for i := range answers {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		it, err := s.text.Answered(x, &answers[i])
		if err != nil {
			return nil, &EncodingError{err}
		}
		row, err := scoredItem(&it)
		if err != nil {
			return nil, &EncodingError{err}
		}
		got, err := s.sess.Forward(context.WithoutCancel(ctx), &engine.Batch{Rows: []engine.Row{row}},
			engine.Options{Want: []*engine.Output{engine.Value}})
		if err != nil {
			return nil, err
		}
		if out[i] = float64(got[engine.Value][0]) - s.mean; out[i]-out[i] != 0 {
			return nil, fmt.Errorf("%s: the score is %g; look at the model with ggtune check", x.Source, out[i])
		}
	}
	return out, nil
}

// scoredItem is a row whose score is read where the answer ends.
func scoredItem(it *encode.Item) (engine.Row, error) {
	end := len(it.Tokens)
	for end > 0 && !it.Counted[end-1] {
		end--
	}
	if end < 2 {
		return engine.Row{}, fmt.Errorf("%s: the answer has no token", it.Source)
	}
	row := engine.PlainRow(slices.Clone(it.Tokens[:end]))
	row.Valued = []int32{int32(end - 1)}
	return row, nil
}
