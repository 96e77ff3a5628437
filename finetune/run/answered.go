package run

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rl"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// Answered is what rewards say of a model's answers, with what is not known of it. Intervals are over prompts, whose
// answers hang together.
type Answered struct {
	Prompts int
	Answers int // to each
	Rewards []Score
	// Passes are pass@1, pass@2, pass@4, … and pass@Answers: how likely one of k answers passes all checks.
	Passes []Score
	Checks []string // the rewards that are checks, as they were asked for; none: there are no Passes
}

// put writes it into an object of JSON.
func (a *Answered) put(m map[string]any) {
	m["prompts"], m["answers"], m["checks"] = a.Prompts, a.Prompts*a.Answers, append([]string{}, a.Checks...)
	for _, list := range [][]Score{a.Rewards, a.Passes} {
		for _, s := range list {
			s.put(m)
		}
	}
}

// answered sums up what rewards say of g answers to each prompt. names are their figures'.
func answered(got rl.Measured, g int, names []string, rewards *reward.Rewards, seed uint64) *Answered {
	out := &Answered{Prompts: len(got.Prompts), Answers: g}
	checks := rewards.Checks()
	sums := make([]scored, 1+len(names))
	sums[0].name = rl.Reward
	for k, name := range names {
		sums[1+k].name = name
	}
	var right []int // answers to each prompt
	for _, p := range got.Prompts {
		totals, n := make([]float64, len(sums)), 0
		for _, a := range p.Rewards {
			totals[0] += a.Total
			for k, x := range a.Parts {
				totals[1+k] += x
			}
			passes := true
			for _, k := range checks {
				passes = passes && a.Parts[k] == 1
			}
			if passes {
				n++
			}
		}
		for i := range sums {
			sums[i].tuned = append(sums[i].tuned, totals[i]/float64(g))
		}
		right = append(right, n)
	}
	for i := range sums {
		sums[i].seed = seed
		out.Rewards = append(out.Rewards, sums[i].score())
	}
	if len(checks) == 0 {
		return out
	}
	for _, k := range checks {
		out.Checks = append(out.Checks, rewards.Names()[k])
	}
	for _, k := range passes(g) {
		s := &scored{name: fmt.Sprintf("pass@%d", k), tuned: passAt(right, g, k), seed: seed}
		out.Passes = append(out.Passes, s.score())
	}
	return out
}

// openModels opens a session for reward models, and for what writes the answers where own says that it does.
func (m *measured) openModels(ctx context.Context, models rewardModels, own bool) (*engine.Session, error) {
	h := startHashing(ctx, m.model)
	defer h.stop()
	sc := m.session
	sc.Sets = models.sets()
	if own {
		for _, t := range m.session.Sets {
			t.Frozen = true
			sc.Sets = append(sc.Sets, t)
		}
	}
	sess, err := engine.NewSession(m.model, sc)
	if err != nil {
		return nil, err
	}
	if len(models) == 0 {
		return sess, nil
	}
	base, err := h.wait()
	if err == nil {
		err = models.use(sess, base)
	}
	if err != nil {
		return nil, errors.Join(err, sess.Close())
	}
	return sess, nil
}

// openWriter opens what writes answers to held-out prompts, sess where the engine does, and says how.
func (m *measured) openWriter(cfg *config.Config, held *corpus.Rows, sess *engine.Session) (w *rollout.Writer,
	open rollout.Config, err error) {
	if open, _, err = budget.PlanRollouts(cfg, m.model, held); err != nil {
		return nil, open, err
	}
	w, err = rollout.Open(open.By(sess))
	return w, open, err
}

// judge has the measured model answer by w, and rewards judge unless they are nil.
func (m *measured) judge(cfg *config.Config, w rl.Writer, rewards *reward.Rewards, rep report.Reporter) *rl.Judge {
	j := newJudge(cfg, w, rewards, rep)
	if len(m.session.Sets) > 0 && !cfg.OwnRollouts() { // else the session that writes has it
		j.Policy = func() (*adapter.Adapter, error) { return m.session.Sets[0].Adapter.(*adapter.Adapter), nil }
	}
	return &j
}

// rewarded has a model answer held-out prompts, and says what the answers are worth.
func (m *measured) rewarded(ctx context.Context, cfg *config.Config, how *method.Method, text *corpus.Reader,
	held *corpus.Rows, rep report.Reporter) (_ Evaluation, err error) {
	var models rewardModels
	note := func(n string) { rep.Report(report.Notice{Text: n}) }
	rewards, err := cfg.Rewards(note, models.kind(cfg.Batch))
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, rewards.Close()) }()
	env, err := cfg.Environment(note)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	if err := models.open(m.model, note); err != nil {
		return Evaluation{}, err
	}
	var sess *engine.Session
	if len(models) > 0 || cfg.OwnRollouts() {
		if sess, err = m.openModels(ctx, models, cfg.OwnRollouts()); err != nil {
			return Evaluation{}, err
		}
		defer func() { err = errors.Join(err, sess.Close()) }()
	}
	prompts := promptsOf(cfg, held.HeldRows, held.HeldTasks)
	if err := errors.Join(rewards.Check(prompts.Asked), converses(cfg, held.HeldTasks)); err != nil {
		return Evaluation{}, err
	}
	w, open, err := m.openWriter(cfg, held, sess)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	j := m.judge(cfg, w, rewards, rep)
	j.Exchanges = exchanges(cfg, env, text, open)
	g := cfg.MeasuredGenerations()
	got, err := j.Measure(ctx, prompts, g)
	if err != nil {
		return Evaluation{}, err
	}
	return Evaluation{Loss: -got.Reward, Perplexity: math.NaN(), Tokens: got.Tokens, Counted: got.Tokens,
		Rows: len(got.Prompts), Method: how.Name, Unit: "answer", Model: cfg.Model, Adapter: m.adapter,
		Figures:  figures(nil, "", got.Metrics),
		Answered: answered(got, g, j.FigureNames(), rewards, cfg.Seed), Data: held.Held.Counts}, nil
}
