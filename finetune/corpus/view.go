package corpus

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// A View is a dataset as it was read and, where a model is given, as the model will see it.
type View struct {
	Format string     `json:"format"`
	SHA256 string     `json:"sha256"`
	Stats  data.Stats `json:"stats"`
	// Examples are the first ones, before any template.
	Examples []data.Example `json:"-"`

	Template string         `json:"template,omitempty"` // where it came from; "" if no example needed one
	Notes    []string       `json:"notes,omitempty"`
	Counts   *encode.Counts `json:"counts"` // null without a model
	Held     *encode.Counts `json:"eval_counts,omitempty"`
	Rows     []RowView      `json:"rows,omitempty"`
	// Repeats are the duplicates within the data, and between it and cfg.EvalData.
	Repeats Repeats `json:"duplicates"`
}

// A RowView is one packed row.
type RowView struct {
	Row   int        `json:"row"` // from 0, in the order of an unshuffled epoch
	Items []ItemView `json:"items"`
}

// An ItemView is one example, or a part of one, in a row.
type ItemView struct {
	Source string `json:"source"` // file:line
	// Segments names the parts of a tree: the prompt and its answers. None for a plain example.
	Segments []string    `json:"segments,omitempty"`
	Tokens   []TokenView `json:"tokens"`
}

// A TokenView is one token.
type TokenView struct {
	ID      int32  `json:"id"`
	Text    string `json:"text"`
	Counted bool   `json:"counted"`           // its loss counts
	Segment int    `json:"segment,omitempty"` // index into ItemView.Segments
}

// Inspect reads cfg.Data and shows its first n examples; with cfg.Model, also the first n rows that training would
// see. Of cfg only what Options marks as Eval is used.
func Inspect(ctx context.Context, cfg *config.Config, n int) (*View, error) {
	v := &View{}
	cfg, how, ds, err := v.open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	v.Format, v.SHA256, v.Stats = ds.Format(), ds.SHA256(), ds.Stats()
	for i := range min(n, ds.Len()) {
		x, err := ds.At(i)
		if err != nil {
			return nil, err
		}
		v.Examples = append(v.Examples, x)
	}
	if cfg.Model == "" {
		v.Notes = append(v.Notes, readNotes(ds)...)
		if len(cfg.Mix) > 0 {
			v.Notes = append(v.Notes, "--mix is not looked at: it is a share of tokens, which --model counts")
		}
		return v, v.repeats(ctx, cfg, how)
	}
	return v, v.tokens(ctx, cfg, how, n)
}

// open opens the data for cfg's method. Where that is the default, which need not be what the user has in mind, and
// the data is of another kind, it takes a method that learns from such data, and gives the configuration with that.
func (v *View) open(ctx context.Context, cfg *config.Config) (*config.Config, *method.Method, *data.Dataset, error) {
	how, err := cfg.Loss()
	if err != nil {
		return nil, nil, nil, err
	}
	ds, err := openData(ctx, cfg, cfg.Data, wanted(cfg, how))
	var unsuited *data.UnsuitedError
	if !errors.As(err, &unsuited) || cfg.Method != config.Default().Method {
		return cfg, how, ds, err
	}
	other := *cfg
	other.Method = map[data.Want]string{data.WantPairs: "dpo", data.WantVerdicts: "kto"}[unsuited.Gives]
	if other.Method == "" {
		return cfg, how, ds, err
	}
	v.Notes = append(v.Notes, fmt.Sprintf("the data holds %v, and is shown as --method %s reads it", unsuited.Gives,
		other.Method))
	return v.open(ctx, &other)
}

// repeats looks for duplicates where no tokens are wanted.
func (v *View) repeats(ctx context.Context, cfg *config.Config, how *method.Method) error {
	r := &Reader{cfg: cfg, how: how}
	found := func(in, held *input) error {
		var out []int
		if held != nil {
			out = held.all
		}
		s, err := r.repeats(ctx, in, in.all, held, out)
		v.Repeats, v.Notes = s.found, append(v.Notes, s.found.notes(len(in.all)-len(s.kept), r.measure())...)
		return err
	}
	return r.readInto(ctx, cfg.Data, nothing, func(in *input) error {
		if len(cfg.EvalData) == 0 {
			return found(in, nil)
		}
		return r.readInto(ctx, cfg.EvalData, allOfIt, func(held *input) error { return found(in, held) })
	})
}

// tokens adds what becomes of the data with the model's tokenizer and template.
func (v *View) tokens(ctx context.Context, cfg *config.Config, how *method.Method, n int) (err error) {
	m, err := engine.Open(cfg.Model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	r, err := Open(cfg, m, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	rows, err := r.ReadWhole(ctx)
	if err != nil {
		return err
	}
	v.Template, v.Notes, v.Counts = r.TemplateName(), append(v.Notes, rows.Notes...), &rows.Train.Counts
	v.Repeats = rows.Repeats
	if rows.Held != nil {
		v.Held = &rows.Held.Counts
	}
	for i := range min(n, rows.TrainRows.Rows()) {
		row := RowView{Row: i}
		for _, it := range rows.TrainRows.Row(i) {
			row.Items = append(row.Items, r.view(it))
		}
		v.Rows = append(v.Rows, row)
	}
	return nil
}

// view shows an item.
func (r *Reader) view(it *encode.Item) ItemView {
	v := ItemView{Source: it.Source.String(), Segments: r.segmentNames(it)}
	for i, g := range it.Segments {
		for k := g.Start; k < g.Start+g.Len; k++ {
			v.Tokens = append(v.Tokens, TokenView{ID: it.Tokens[k], Text: r.text.enc.Piece(it.Tokens[k]),
				Counted: it.Counted[k], Segment: i})
		}
	}
	return v
}

// segmentNames names the segments of a tree as method.Need has them.
func (r *Reader) segmentNames(it *encode.Item) []string {
	switch {
	case r.how.Need == method.Pairs:
		return []string{"prompt", "chosen", "rejected"}
	case r.how.Need == method.Verdicts && it.Label == 1:
		return []string{"prompt", "desirable", "another example's answer"}
	case r.how.Need == method.Verdicts:
		return []string{"prompt", "undesirable", "another example's answer"}
	case r.how.Need == method.Labels && it.Label == 1:
		return []string{"prompt", "desirable"}
	case r.how.Need == method.Labels:
		return []string{"prompt", "undesirable"}
	}
	return nil
}
