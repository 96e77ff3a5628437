package run

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rl"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// A source is where a run's micro-batches come from: its data, or what it writes itself.
type source interface {
	finetune.Source
	// Epoch is how often the data has been gone through, with the fraction of the epoch under way.
	Epoch() float64
}

// A planned rollout is what a run takes whose model learns from its own answers; nil in other runs.
type planned struct {
	rewards *reward.Rewards // nil: nothing is rewarded
	models  rewardModels    // that are among them
	teacher *teacherModel   // who is asked about answers; nil: nobody
	open    rollout.Config
	memory  llama.Memory  // that llama.cpp takes beside the mapped model and the adapter
	ref     engine.Choice // the sets that are the reference
	// env answers the model's turns; nil: an answer is one.
	env *environment.Environment
}

// referenceSet is the name of the adapter of the reference, in the session of a run that asks it about each new answer.
const referenceSet = "reference"

// rolls says that the run's model learns from its own answers.
func (s *setup) rolls() bool { return s.how.Need == method.Rollouts }

// planRollouts decides how answers are written and judged, before the memory of the rest is planned.
func (s *setup) planRollouts(ctx context.Context, rep report.Reporter) (err error) {
	if !s.rolls() {
		return nil
	}
	p := &planned{ref: engine.Only()}
	s.planned = p
	if s.how.Rewarded() {
		err = s.openRewards(ctx, rep)
	} else {
		p.teacher, err = openTeacher(s.model, &s.cfg)
	}
	if err != nil {
		return err
	}
	if ends, word := s.text.Ends(); !ends && word == "" {
		s.note("%s has no token that ends a text: all answers are --max-completion-length tokens long", s.cfg.Model)
	} else if !ends {
		s.note("%s has no token that ends a text, and llama.cpp takes %q for one: an answer ends there, or is "+
			"--max-completion-length tokens long", s.cfg.Model, word)
	}
	if s.how.Reference {
		if err := s.addReference(); err != nil {
			return err
		}
	}
	p.open, p.memory, err = budget.PlanRollouts(&s.cfg, s.model, s.rows)
	return err
}

// openRewards opens those of the run, and looks whether they can judge its data.
func (s *setup) openRewards(ctx context.Context, rep report.Reporter) (err error) {
	p := s.planned
	note := func(n string) { rep.Report(report.Notice{Text: n}) }
	if p.rewards, err = s.cfg.Rewards(note, p.models.kind(s.cfg.Batch)); err != nil {
		return err
	}
	if p.env, err = s.cfg.Environment(note); err != nil {
		return err
	}
	if err := p.models.open(s.model, note); err != nil {
		return err
	}
	s.start.Sets = append(s.start.Sets, p.models.sets()...)
	for _, tasks := range [][]corpus.Task{s.rows.Tasks, s.rows.HeldTasks} {
		if err := p.rewards.Check(samplesOf(tasks)); err != nil {
			return err
		}
		if err := converses(&s.cfg, tasks); err != nil {
			return err
		}
	}
	return s.tryRewards(ctx)
}

// tryRewards has the rewards judge a few right answers of the data, where it has some: one that cannot is known before
// answers are written.
func (s *setup) tryRewards(ctx context.Context) error {
	if len(s.planned.models) > 0 || s.planned.env != nil {
		return nil // they see what the model writes
	}
	const some = 8
	var right []reward.Sample
	for _, x := range samplesOf(s.rows.Tasks[:min(len(s.rows.Tasks), some)]) {
		if answers, err := reward.Reference(x.Row, s.cfg.RewardColumn); err == nil {
			x.Answer, x.Ended = answers[0], true
			right = append(right, x)
		}
	}
	if len(right) == 0 {
		return nil
	}
	_, err := s.planned.rewards.Try(ctx, right)
	return err
}

// addReference puts the reference's adapter, if it has one, beside that which is trained.
func (s *setup) addReference() error {
	path := s.cfg.ReferenceAdapter()
	if path == "" {
		return nil
	}
	a, err := adapter.Load(path, s.model.Net())
	if err != nil {
		return fmt.Errorf("reference: %w", err)
	}
	if len(a.Invocation) > 0 {
		return fmt.Errorf("reference: %s acts %s, and the model's own answers do not say where these are; "+
			"give one that acts on every token", path, a.Acts())
	}
	s.start.Sets = append(s.start.Sets, engine.Set{Name: referenceSet, Adapter: a, Frozen: true, Apart: true})
	s.planned.ref = engine.Only(referenceSet)
	return nil
}

// samplesOf are tasks as rewards see them.
func samplesOf(tasks []corpus.Task) []reward.Sample {
	out := make([]reward.Sample, len(tasks))
	for i, t := range tasks {
		out[i] = reward.Sample{Source: t.Source.String(), Prompt: t.Text, Messages: t.Messages, Tools: t.Tools,
			Row: t.Row}
	}
	return out
}

// A rolling run is one whose model learns from its own answers; nil in other runs.
type rolling struct {
	writer *rollout.Writer
	source *rl.Source
	judge  rl.Judge
	held   rl.Prompts
	// told is how many answers are to be written, for those who watch.
	wanted int
}

// openRolling opens what writes the answers.
func (r *run) openRolling() error {
	if !r.rolls() {
		return nil
	}
	if err := r.planned.models.use(r.sess, r.meta.BaseSHA256); err != nil {
		return err
	}
	w, err := rollout.Open(r.planned.open.By(r.sess))
	if err != nil {
		return err
	}
	policy := r.adapter
	if r.planned.open.Own != nil {
		policy = nil // the session writes with what it trains
	} else {
		r.twice = r.model.File().Bytes()
	}
	roll := &rolling{writer: w}
	w.Progress = func(answers, _ int) {
		r.rep.Report(report.Progress{What: "write answers", Done: answers, Total: roll.wanted})
	}
	roll.judge = newJudge(&r.cfg, w, r.planned.rewards, r.rep)
	roll.judge.Policy, roll.judge.Exact = policy, r.planned.open.Own != nil
	roll.judge.Exchanges = exchanges(&r.cfg, r.planned.env, r.text, r.planned.open)
	if r.rows.HeldRows != nil {
		roll.held = promptsOf(&r.cfg, r.rows.HeldRows, r.rows.HeldTasks)
	}
	roll.source = rl.New(rl.Config{Judge: roll.judge, Prompts: promptsOf(&r.cfg, r.rows.TrainRows, r.rows.Tasks),
		Engine: r.engine(), Method: r.how, Reference: r.planned.ref, Generations: r.cfg.NumGenerations.N,
		Iterations: r.cfg.NumIterations.N, MiniBatches: r.cfg.NumMiniBatches, Batch: r.cfg.Batch, Cap: r.cfg.SamplerCap,
		Dir: r.dir.file(dirRollouts)})
	r.rolling = roll
	return nil
}

// newJudge has answers written by w, and judged by rewards unless these are nil.
func newJudge(cfg *config.Config, w rl.Writer, rewards *reward.Rewards, rep report.Reporter) rl.Judge {
	j := rl.Judge{Writer: w, MaxTokens: cfg.MaxCompletion, Temp: cfg.Temperature, Seed: cfg.Seed,
		GroupTokens: cfg.GroupTokens,
		Told: func(what string, done, total int) {
			rep.Report(report.Progress{What: what, Done: done, Total: total})
		}}
	if rewards != nil {
		j.Rewards = rewards
	}
	return j
}

// promptsOf are the rows of tasks, with the data's answers where some of them are learned from.
func promptsOf(cfg *config.Config, rows *encode.Loader, tasks []corpus.Task) rl.Prompts {
	p := rl.Prompts{Rows: rows, Asked: samplesOf(tasks)}
	if cfg.Lmbda < 1 {
		p.Own = cfg.Lmbda
		for i := range tasks {
			p.Given = append(p.Given, tasks[i].Answer)
		}
	}
	return p
}

// close gives back what is open; it may be called again, and on nil.
func (r *rolling) close() error {
	if r == nil {
		return nil
	}
	err := r.writer.Close()
	r.writer = nil
	return err
}

// close ends what rewards hold, and lets go of the teacher; it may be called again, and on nil.
func (p *planned) close() (err error) {
	if p == nil {
		return nil
	}
	if p.rewards != nil {
		err = errors.Join(p.rewards.Close(), p.env.Close())
	}
	err = errors.Join(err, p.teacher.Close())
	p.rewards, p.env, p.teacher = nil, nil, nil
	return err
}

// whom is the teacher who is asked about answers; nil: nobody.
func (p *planned) whom() *teacherModel {
	if p == nil {
		return nil
	}
	return p.teacher
}

// shown is the model that whom asks.
func (t *teacherModel) shown() *engine.Model {
	if t == nil {
		return nil
	}
	return t.model
}

// newSource gives where micro-batches come from, and what the reference says of one.
func (r *run) newSource() (source, func(context.Context, *encode.Micro) ([]float64, error)) {
	if r.rolling != nil {
		return r.rolling.source, r.rolling.source.Ref
	}
	return encode.NewStream(r.rows.TrainRows), r.refs.train.of
}

// onAnswers measures the held-out prompts: of what is learned by rewards the loss is their negative.
func (r *run) onAnswers(ctx context.Context) (eval.Result, error) {
	if !r.how.Rewarded() {
		return distance(ctx, &r.rolling.judge, r.rolling.held, 1, r.sess, r.planned.teacher, r.how)
	}
	m, err := r.rolling.judge.Measure(ctx, r.rolling.held, 1)
	return eval.Result{Loss: -m.Reward, NLL: math.NaN(), Tokens: m.Tokens, Counted: m.Tokens, Metrics: m.Metrics}, err
}

// temp is the temperature that log-probabilities are taken at; 0: as the model gives them.
func (r *run) temp() float64 {
	if r.rolling == nil {
		return 0
	}
	return r.cfg.Temperature
}

// rolled adds to a step's figures those of its rollout, and gives the seconds that making it took of the step's.
func (r *run) rolled(figures map[string]float64) (map[string]float64, float64) {
	if r.rolling == nil {
		return figures, 0
	}
	for _, m := range r.rolling.source.Figures() {
		if figures == nil {
			figures = map[string]float64{}
		}
		if _, later := figures[m.Name]; !later { // an update sees it as it is now
			figures[m.Name] = m.Sum / m.Weight
		}
	}
	c := r.rolling.source.Cost()
	if c.Tokens > 0 {
		figures["rollout_tok_per_s"] = float64(c.Tokens) / c.Write
		figures["rollout_seconds"], figures["reward_seconds"] = c.Write, c.Reward
	}
	return figures, c.Write + c.Reward + c.Forward
}

// show writes some answers of the step's rollout among the samples.
func (r *run) show(step int, last bool) error {
	every := r.rows.SampleEvery()
	if r.rolling == nil || !r.cfg.Samples() || !last && (every == 0 || step%every != 0) {
		return nil
	}
	shown, err := r.rolling.source.Show()
	if err != nil {
		return err
	}
	for i, x := range shown {
		t := &r.rows.Tasks[x.Example]
		source := t.Source.String()
		s := report.Sample{Step: step, Index: i, Why: x.Why, Prompt: lastTurn(t), Input: t.Text, Source: &source,
			Tuned: x.Answer, TunedTokens: x.Tokens, TunedEnd: "length", MaxTokens: r.cfg.MaxCompletion,
			Temp: r.cfg.Temperature}
		if r.how.Rewarded() {
			s.Reward, s.Rewards = &x.Reward, x.Rewards
		}
		if x.Ended {
			s.TunedEnd = "end"
		}
		if x.Exchange != nil {
			if s.Input, err = r.text.Shows(x.Prompt); err != nil {
				return err
			}
		}
		for _, said := range x.Exchange {
			s.Exchange = append(s.Exchange, report.Spoken{Role: said.Role, Content: said.Content, Reward: said.Reward,
				Over: string(said.Over)})
		}
		if err := r.answered.Append(s); err != nil {
			return err
		}
		r.rep.Report(report.Sampled{Sample: s})
	}
	return nil
}

// lastTurn is what a task asks: of a conversation its last turn.
func lastTurn(t *corpus.Task) string {
	if n := len(t.Messages); n > 0 {
		return t.Messages[n-1].Content
	}
	return t.Text
}

// forgetRollouts removes those that no checkpoint needs.
func (r *run) forgetRollouts() error {
	if r.rolling == nil {
		return nil
	}
	ids, err := r.store.List()
	if err != nil || len(ids) == 0 {
		return err
	}
	// That of the best step may be old; nobody goes on from it.
	newest := ids[max(len(ids)-r.cfg.Keep, 0)]
	return r.rolling.source.Forget(newest.Step)
}

// rewardBefore is what held-out answers were worth before the first step; nil: nobody has measured it.
func (r *run) rewardBefore() *float64 {
	if x, ok := r.meta.Before[rl.Reward]; ok {
		return &x
	}
	return nil
}
