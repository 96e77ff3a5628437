package run

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/reward"
)

// A rewardModel is the adapter and the head of a run by --method reward over the base that is trained: another model in
// the same mapped weights.
type rewardModel struct {
	dir     string // as it was named
	set     string // its name in the session
	path    string // of the adapter
	sum     string // its hash
	adapter *adapter.Adapter
	head    *head.File
	sess    *engine.Session // nil until use
	trees   int             // prompts in a pass
}

// rewardModels are those that a run is rewarded by.
type rewardModels []*rewardModel

// kind is the reward that they give, once they are open.
func (l *rewardModels) kind(batch int) *reward.Kind {
	return &reward.Kind{Name: config.RewardModel, Arg: "DIR", Needs: true,
		Usage: "the score of a model that was trained with --method reward: the run's directory",
		Open: func(dir string, _ *reward.Options) (reward.Reward, error) {
			one := &rewardModel{dir: dir, set: fmt.Sprintf("reward %d", len(*l)+1), trees: batch}
			*l = append(*l, one)
			return one, nil
		}}
}

// open reads their files, for a model.
func (l rewardModels) open(m *engine.Model, note func(string)) error {
	for _, r := range l {
		if err := r.open(m); err != nil {
			return fmt.Errorf("--reward %s=%s: %w", config.RewardModel, r.dir, err)
		}
		if r.head.Unfinished != "" {
			note(fmt.Sprintf("the reward model in %s is of an unfinished run (%s)", r.dir, r.head.Unfinished))
		}
	}
	return nil
}

func (r *rewardModel) open(m *engine.Model) (err error) {
	if r.path, err = checkpoint.FindAdapter(r.dir); err != nil {
		return err
	}
	if r.adapter, err = adapter.Load(r.path, m.Net()); err != nil {
		return err
	}
	if r.head, err = head.Load(r.beside()); err != nil {
		return fmt.Errorf("a reward model is an adapter with its head beside it, as --method reward leaves "+
			"them: %w", err)
	}
	if r.head.Purpose != head.Reward {
		return fmt.Errorf("%s: the head says a %s, and not what an answer is worth; give a run with --method reward",
			r.beside(), r.head.Purpose)
	}
	if err := r.head.Of(r.beside(), m); err != nil {
		return err
	}
	if len(r.adapter.Invocation) > 0 {
		return fmt.Errorf("%s acts %s, and an answer's score is read at its end alone; give one that acts on "+
			"every token",
			r.path, r.adapter.Acts())
	}
	r.sum, err = fileSHA256(r.path)
	return err
}

// beside is the file of the head.
func (r *rewardModel) beside() string { return filepath.Join(filepath.Dir(r.path), head.FileName) }

// sets are what a session has for them.
func (l rewardModels) sets() (out []engine.Set) {
	for _, r := range l {
		out = append(out, engine.Set{Name: r.set, Adapter: r.adapter, Heads: []engine.Head{head.Head(r.head.Weight)},
			Frozen: true, Apart: true})
	}
	return out
}

// use has them compute in a session with their sets, and refuses those of another base than its model, which has that
// hash.
func (l rewardModels) use(sess *engine.Session, base string) error {
	for _, r := range l {
		if err := r.head.Fits(r.beside(), sess.Model(), base, r.sum); err != nil {
			return fmt.Errorf("--reward %s=%s: %w", config.RewardModel, r.dir, err)
		}
		r.sess = sess
	}
	return nil
}

// Score implements reward.Reward: the head's number at the last token of each answer, less the mean of those that it
// was trained on. The answers to a prompt are a tree.
func (r *rewardModel) Score(ctx context.Context, samples []reward.Sample) ([]float64, error) {
	if r.sess == nil {
		return nil, errors.New("the reward model is asked before it is there")
	}
	out := make([]float64, 0, len(samples))
	for at := 0; at < len(samples); {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var b engine.Batch
		n := 0
		for len(b.Rows) < r.trees && at+n < len(samples) {
			end := at + n
			for end < len(samples) && slices.Equal(samples[end].Given, samples[at+n].Given) {
				end++
			}
			row, err := scoredRow(samples[at+n : end])
			if err != nil {
				return nil, err
			}
			b.Rows, n = append(b.Rows, row), end-at
		}
		got, err := r.sess.Forward(context.WithoutCancel(ctx), &b,
			engine.Options{Want: []*engine.Output{engine.Value}, Apply: engine.Only(r.set)})
		if err != nil {
			return nil, err
		}
		for _, x := range got[engine.Value] {
			out = append(out, float64(x)-float64(r.head.Mean))
		}
		at += n
	}
	return out, nil
}

// scoredRow is a prompt with answers to it, whose last tokens are given a value.
func scoredRow(samples []reward.Sample) (row engine.Row, err error) {
	given := samples[0].Given
	row.Tokens = slices.Clone(given)
	row.Segments = []engine.Segment{{Len: len(given), Parent: -1}}
	for i := range samples {
		s := &samples[i]
		if len(given) == 0 || len(s.Written) == 0 {
			return row, fmt.Errorf("%s: a reward model reads tokens, and there are %d of the prompt and %d of the "+
				"answer",
				s.Source, len(given), len(s.Written))
		}
		row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: len(s.Written)})
		row.Tokens = append(row.Tokens, s.Written...)
		row.Valued = append(row.Valued, int32(len(row.Tokens)-1))
	}
	return row, nil
}
