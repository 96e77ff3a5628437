package merge

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Ranked is a head that was written into the model as llama.cpp's classification head.
type Ranked struct {
	Head   string   `json:"head"`
	Labels []string `json:"labels"` // of the two classes
	Mean   float64  `json:"mean"`   // which the head takes off its scores, and llama.cpp does not
	// Difference is the largest of llama.cpp's rank from the sigmoid of the score.
	Difference float64 `json:"rank_max_diff"`
}

// openHead reads the head, which belongs to the base and the only adapter.
func (m *merging) openHead() (err error) {
	if len(m.adapters) != 1 || m.Adapters[0].Scale != 1 {
		return fmt.Errorf("%s: a head belongs to the one adapter that it was trained with; merge that one alone, with "+
			"scale 1", m.Head)
	}
	if m.head, err = head.Load(m.Head); err != nil {
		return err
	}
	if err := m.head.Fits(m.Head, m.model, m.sha256, m.result.Adapters[0].SHA256); err != nil {
		return err
	}
	if err := head.Ranks(m.head.Arch); err != nil {
		return fmt.Errorf("%s: %w", m.Head, err)
	}
	if m.head.Unfinished != "" {
		m.note("%s: the head's run is not at its end (%s)", m.Head, m.head.Unfinished)
	}
	r := &Ranked{Head: m.Head, Labels: []string{"good", "bad"}, Mean: float64(m.head.Mean)}
	if m.head.Purpose == head.Rerank {
		r.Labels = []string{"relevant", "irrelevant"}
	}
	m.result.Ranked = r
	return nil
}

// rank writes the model again, with the head, and has llama.cpp rank parts of the probe's text with it.
func (m *merging) rank(ctx context.Context, path string) error {
	if m.head == nil {
		return nil
	}
	ranked := Unverified(m.Output)[2]
	if err := m.writeRanked(ctx, path, ranked); err != nil {
		return err
	}
	m.rep.Report(report.Progress{What: "verify"})
	n := len(m.probed)
	rows := [][]int32{m.probed[:2], m.probed[:(n+2)/2], m.probed}
	var err error
	m.result.Ranked.Difference, err = verify.VerifyRanks(ctx, path, ranked, m.head.Weight, rows, m.Threads)
	m.rep.Report(report.Progress{What: "verify", Done: 1, Total: 1})
	if err != nil {
		return err
	}
	if err := m.FS.Rename(ranked, path); err != nil {
		return fmt.Errorf("name the model with the head: %w", err)
	}
	return nil
}

// writeRanked copies a model and adds the head.
func (m *merging) writeRanked(ctx context.Context, from, to string) (err error) {
	f, err := gguf.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var w gguf.Writer
	w.CopyMetadata(f)
	for i := range f.Tensors {
		if err := w.AddFrom(f, &f.Tensors[i]); err != nil {
			return err
		}
	}
	if err := m.head.Rank(&w, [2]string(m.result.Ranked.Labels)); err != nil {
		return err
	}
	return w.WriteFile(ctx, m.FS, to)
}
