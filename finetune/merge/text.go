package merge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/internal/count"
)

// A text is what is measured on: items, of predictions, or texts of which vectors are made.
type text struct {
	what  string
	items []encode.Item
	texts [][]int32
}

// enough is how many counted tokens of a run's held-out examples are measured on: the mean of as many divergences is
// known to a few percent, and a model of 135M takes a minute for them.
const enough = 4096

// text reads what the user gave, or else the run's own held-out rows, or else the general text.
func (m *merging) text(ctx context.Context) (*text, error) {
	if m.Report != "" {
		return m.given(ctx)
	}
	t, err := m.held(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		m.note("measured on a general text, not on the run's own held-out rows: %v", err)
	}
	switch {
	case t != nil:
		return t, nil
	case m.pooling != 0:
		return m.paragraphs()
	}
	return m.general()
}

// given reads the data or text that the user gave.
func (m *merging) given(ctx context.Context) (*text, error) {
	if _, err := os.Stat(m.Report); err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(m.Report, " \n") {
			return nil, fmt.Errorf("--report: %w", err)
		}
		if !strings.ContainsAny(m.Report, " \n") {
			return nil, fmt.Errorf("--report %s: there is no file of that name; give one, or a text of several words",
				m.Report)
		}
		const what = "the text given"
		if m.pooling != 0 {
			cfg := config.Default()
			return m.plain(&cfg, what, []corpus.Text{{Source: what, Text: m.Report}})
		}
		return m.words(func(r *corpus.Reader) ([]encode.Item, string, error) {
			items, err := r.Literal(what, m.Report, eval.GeneralWindow)
			return items, what, err
		})
	}
	cfg := config.Default()
	// The data is read as the adapter's was, where it says how: method, template, mask, row length. But a method that
	// wrote the answers itself reads prompts, and measures no token of the data.
	a := m.adapters[0]
	made := &origin.Origin{Adapter: m.result.Adapters[0].Path, Info: a.Info}
	how, err := method.Get(made.Method())
	rolled := err == nil && how.Need == method.Rollouts
	for _, note := range made.TakeDefaults(&cfg, func(option string) bool { return rolled && option == "method" }) {
		m.note("%s", note)
	}
	cfg.Data = []string{m.Report}
	if m.pooling != 0 {
		return m.embedded(ctx, &cfg)
	}
	items, err := m.examples(ctx, &cfg, (*corpus.Reader).ReadHeld, func(r *corpus.Reader) { r.AnyKind = true })
	if err != nil {
		return nil, err
	}
	return &text{what: m.Report, items: items}, nil
}

// held reads the rows that the first adapter's run held out; nil if there are none, or no run.
func (m *merging) held(ctx context.Context) (*text, error) {
	for _, a := range m.result.Adapters {
		dir := runOf(a.Path)
		if dir == "" {
			continue
		}
		cfg, err := config.LoadRun(filepath.Join(dir, rundir.Settings))
		if err != nil {
			return nil, err
		}
		items, err := m.examples(ctx, cfg, (*corpus.Reader).Read, nil)
		if err != nil {
			return nil, err
		}
		counted := func(it encode.Item) bool { return it.NumCounted() > 0 }
		if !slices.ContainsFunc(items, counted) { // prompts, of a run that learned from answers of its own
			continue
		}
		some := eval.Spread(items, enough)
		what := fmt.Sprintf("%s that the run in %s held out", count.Of(len(some), "example"), dir)
		if m.pooling != 0 {
			return &text{what: what, texts: encode.Texts(some, -1)}, nil
		}
		return &text{what: what, items: some}, nil
	}
	return nil, nil
}

// runOf is the directory of the run that an adapter's file is in, or "".
func runOf(adapter string) string {
	dir := filepath.Dir(adapter)
	if up := filepath.Dir(dir); filepath.Base(up) == checkpoint.Dir {
		dir = filepath.Dir(up)
	}
	if _, err := os.Stat(filepath.Join(dir, rundir.Settings)); err != nil {
		return ""
	}
	return dir
}

// examples reads the held-out examples of settings.
func (m *merging) examples(ctx context.Context, cfg *config.Config,
	read func(*corpus.Reader, context.Context) (*corpus.Rows, error), change func(*corpus.Reader)) (_ []encode.Item,
	err error) {
	how, err := cfg.Loss()
	if err != nil {
		return nil, err
	}
	r, err := corpus.Open(cfg, m.model, how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	r.Progress = func(done, total int) { m.rep.Report(report.Progress{What: "read", Done: done, Total: total}) }
	if change != nil {
		change(r)
	}
	rows, err := read(r, ctx)
	if err != nil || rows.Held == nil {
		return nil, err
	}
	return rows.Held.Items, nil
}

// general encodes the general text.
func (m *merging) general() (*text, error) {
	return m.words(func(r *corpus.Reader) ([]encode.Item, string, error) {
		return r.Spelled("a general text", eval.GeneralText, eval.GeneralWindow)
	})
}

// words encodes a text of which every token counts.
func (m *merging) words(read func(*corpus.Reader) (items []encode.Item, what string, err error)) (_ *text, err error) {
	cfg := config.Default()
	how, err := cfg.Loss()
	if err != nil {
		return nil, err
	}
	r, err := corpus.Open(&cfg, m.model, how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	items, what, err := read(r)
	return &text{what: what, items: items}, err
}

// probe gives tokens to compare logits on, of the first item that has two: nothing is predicted in a text without.
func (t *text) probe() []int32 {
	for i := range t.items {
		if n := t.items[i].Segments[0].Len; n >= 2 {
			return t.items[i].Tokens[:n]
		}
	}
	return nil
}
