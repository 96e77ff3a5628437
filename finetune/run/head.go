package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// scores says that what is trained gives scores: an adapter and a head, beside it in a file of its own.
func (s *setup) scores() bool { return s.how.Value == method.AtEnds }

// sayScores says at a run's beginning how its result can be used.
func (s *setup) sayScores() {
	if !s.scores() {
		return
	}
	leaves := "has a place for a head in bert kin and qwen3 only"
	if head.Ranks(s.model.Net().Arch) == nil {
		leaves = "ranks with a model that both are made part of: ggtune merge --head"
	}
	s.note("%s gives scores and writes no text: they come of %s beside %s, which ggtune score and ggtune eval read; "+
		"llama.cpp loads the adapter, and %s", s.how.Name, fileHead, fileAdapter, leaves)
}

// saveHead writes what is trained of the head, beside the adapter whose hash that is.
func (r *run) saveHead(ctx context.Context, path, adapterSHA256 string, mean float64, unfinished string) error {
	var set engine.Set
	err := r.learned(func() (err error) {
		set, err = r.sess.Set("")
		return err
	})
	if err != nil {
		return err
	}
	purpose := head.Reward
	if r.how.Need == method.Labels {
		purpose = head.Rerank
	}
	f := head.File{Arch: r.model.Net().Arch, Purpose: purpose, Weight: set.Heads[0].Values, Mean: float32(mean),
		Base: r.meta.BaseSHA256, Adapter: adapterSHA256, Unfinished: unfinished}
	return f.Save(ctx, nil, path)
}

// writeHead writes the head under the name of one that is not verified.
func (r *run) writeHead(ctx context.Context, s *report.Summary) error {
	mean, err := r.meanScore(ctx)
	if err != nil {
		return err
	}
	path := r.dir.file(fileUnsure)
	if err := r.saveHead(ctx, path, *s.AdapterSHA256, mean, ""); err != nil {
		return err
	}
	sum, err := fileSHA256(path)
	if err != nil {
		return fmt.Errorf("read the head again: %w", err)
	}
	s.HeadSHA256, s.ScoreMean = &sum, &mean
	return r.probeScores(ctx)
}

// The answers whose scores are held against llama.cpp's: enough to tell a head that is not applied.
const probedScores = 8

// probeScores computes the scores that llama.cpp's states are to give with the head: of the first training answers,
// each with its prompt, up to its last token that counts.
func (r *run) probeScores(ctx context.Context) error {
	p := &verify.Scores{}
	for i := range r.rows.Train.Items {
		for _, row := range paths(&r.rows.Train.Items[i]) {
			if len(p.Rows) == probedScores {
				break
			}
			one := engine.PlainRow(row)
			one.Valued = []int32{int32(len(row) - 1)}
			out, err := r.sess.Forward(ctx, &engine.Batch{Rows: []engine.Row{one}},
				engine.Options{Want: []*engine.Output{engine.Value}})
			if err != nil {
				return err
			}
			p.Rows, p.Ours = append(p.Rows, row), append(p.Ours, out[engine.Value]...)
		}
	}
	r.probed = p
	return nil
}

// paths gives the tokens from an item's root to the last that counts of each of its leaves.
func paths(it *encode.Item) (out [][]int32) {
	root := it.Segments[0]
	for _, s := range it.Segments[1:] {
		end := s.Start + s.Len
		for !it.Counted[end-1] {
			end--
		}
		out = append(out, slices.Concat(it.Tokens[root.Start:root.Start+root.Len], it.Tokens[s.Start:end]))
	}
	return out
}

// verifyScores has llama.cpp compute the scores from the files that were written.
func (r *run) verifyScores(ctx context.Context, base string, s *report.Summary) error {
	r.rep.Report(report.Progress{What: "verify the scores"})
	h, err := head.Load(r.dir.file(fileUnsure))
	if err != nil {
		return err
	}
	r.probed.Head = h.Weight
	v, err := verify.VerifyScores(ctx, base, r.dir.file(fileUnverified), *r.probed, r.cfg.Threads)
	if err != nil {
		return err
	}
	s.ScoreRMSDiff, s.ScoreSize = &v.RMS, &v.Size
	return nil
}

// removeHead removes a head that is not verified, if there is one.
func (r *run) removeHead() error {
	if err := os.Remove(r.dir.file(fileUnsure)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// meanOf is how many scores the mean is taken over that head.gguf holds: it is then within a twentieth of their
// standard deviation of that of all.
const meanOf = 1000

// meanScore is the mean score of the first training answers, in the order of training, with the parameters as they are.
// It is 0 where scores are log-odds, which mean something by themselves.
func (r *run) meanScore(ctx context.Context) (mean float64, err error) {
	if r.how.Need == method.Labels {
		return 0, nil
	}
	sum, n := 0.0, 0
	err = eval.Each(ctx, r.sess, r.rows.TrainRows, r.how, eval.Options{},
		func(_ *encode.Micro, in *method.Inputs) (bool, error) {
			for _, x := range in.Value {
				sum += x
			}
			n += len(in.Value)
			return n < meanOf, nil
		})
	if mean = sum / float64(n); err == nil && mean-mean != 0 {
		err = fmt.Errorf("the mean score of the training answers is %g; %s", mean, "begin a run with a lower learning "+
			"rate (--lr)")
	}
	return mean, err
}

// takeHead gives what is measured the head of cfg, or that beside the adapter. It must belong to the base and the
// adapter.
func (m *measured) takeHead(ctx context.Context, cfg *config.Config) (f *head.File, err error) {
	path, sum := cfg.Head, ""
	if m.adapter == "" && path == "" {
		return nil, &config.Error{Err: errors.New("scores need a head, and none is given; give --adapter, the " +
			"directory of a run by --method reward or rerank, or --head")}
	}
	if m.adapter != "" {
		if sum, err = fileSHA256(m.adapter); err != nil {
			return nil, err
		}
		if path == "" {
			path = filepath.Join(filepath.Dir(m.adapter), fileHead)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s: the adapter gives scores with a head, and there is no %s beside it; "+
					"say where "+
					"it is with --head", m.adapter, fileHead)
			}
		}
	}
	if m.base == "" {
		if m.base, err = m.model.SHA256(ctx); err != nil {
			return nil, err
		}
	}
	if f, err = head.Load(path); err != nil {
		return nil, err
	}
	if err := f.Fits(path, m.model, m.base, sum); err != nil {
		return nil, err
	}
	if f.Unfinished != "" {
		m.notes([]string{fmt.Sprintf("%s is of an unfinished run (%s), and its scores are not shifted to mean 0", path,
			f.Unfinished)})
	}
	if len(m.session.Sets) == 0 {
		m.session.Sets = []engine.Set{{}}
	}
	m.session.Sets[0].Heads = []engine.Head{head.Head(f.Weight)}
	return f, nil
}
