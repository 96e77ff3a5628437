package run

import (
	"context"
	"errors"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rl"
)

// teacher gives what says what a teacher does of a micro-batch: of given rows what is kept, of the model's own answers
// the teacher itself. It gives nil where the method has none.
func (r *run) teacher() func(*encode.Micro) (*encode.Teaching, error) {
	if t := r.planned.whom(); t != nil {
		return t.says
	}
	return r.lessons.train.said
}

// distance has prompts answered, each g times, and measures how far the model in e is from the teacher in its answers.
func distance(ctx context.Context, j *rl.Judge, p rl.Prompts, g int, e eval.Engine, t *teacherModel,
	how *method.Method) (eval.Result, error) {
	trees, figures, err := j.Answer(ctx, p, g)
	if err != nil {
		return eval.Result{}, err
	}
	longest := 0
	for i := range trees {
		longest = max(longest, len(trees[i].Tokens))
	}
	rows, err := encode.NewLoader(&encode.Dataset{Items: trees},
		encode.LoadOptions{Window: longest, Packing: encode.Unpacked, Batch: t.cfg.Batch})
	if err != nil {
		return eval.Result{}, err
	}
	res, err := eval.Run(ctx, e, rows, how, eval.Options{Teacher: t.says, Temp: t.cfg.Temperature})
	res.Metrics = append(res.Metrics, figures...)
	return res, err
}

// distance has a model answer held-out prompts, and says how far it is from the teacher in its answers.
func (m *measured) distance(ctx context.Context, cfg *config.Config, how *method.Method, held *corpus.Rows,
	rep report.Reporter) (_ Evaluation, err error) {
	t, err := openTeacher(m.model, cfg)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	sess, err := engine.NewSession(m.model, m.session)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	w, _, err := m.openWriter(cfg, held, sess)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	res, err := distance(ctx, m.judge(cfg, w, nil, rep), promptsOf(cfg, held.HeldRows, held.HeldTasks),
		cfg.MeasuredGenerations(), sess, t, how)
	if err != nil {
		return Evaluation{}, err
	}
	return Evaluation{Loss: res.Loss, Perplexity: math.NaN(), Tokens: res.Tokens, Counted: res.Counted,
		Rows: len(held.HeldTasks), Method: how.Name, Unit: how.Unit, Model: cfg.Model, Adapter: m.adapter,
		Figures: figures(nil, "", res.Metrics), Data: held.Held.Counts}, nil
}
