package finetune

import (
	"context"
	"errors"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// A DataView is a dataset as it was read and, where a model is given, as the model will see it.
type DataView struct {
	Format string     `json:"format"`
	SHA256 string     `json:"sha256"`
	Stats  data.Stats `json:"stats"`
	// Examples are the first ones, before any template.
	Examples []data.Example `json:"-"`

	Template string         `json:"template,omitempty"` // where it came from; "" if no example needed one
	Notes    []string       `json:"notes,omitempty"`
	Counts   *encode.Counts `json:"counts"` // null without a model
	Rows     []RowView      `json:"rows,omitempty"`
}

// A RowView is one packed row.
type RowView struct {
	Row   int        `json:"row"` // from 0, in the order of an unshuffled epoch
	Items []ItemView `json:"items"`
}

// An ItemView is one example, or a part of one, in a row.
type ItemView struct {
	Source string      `json:"source"` // file:line
	Tokens []TokenView `json:"tokens"`
}

// A TokenView is one token.
type TokenView struct {
	ID      int32  `json:"id"`
	Text    string `json:"text"`
	Counted bool   `json:"counted"` // its loss counts
}

// InspectData reads cfg.Data and shows its first n examples; with cfg.Model, also the first n rows that training would
// see. Of cfg only what Options marks as Eval is used.
func InspectData(ctx context.Context, cfg *Config, n int) (*DataView, error) {
	how, err := cfg.method()
	if err != nil {
		return nil, err
	}
	ds, err := openData(ctx, cfg, cfg.Data, how.Need)
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	v := &DataView{Format: ds.Format(), SHA256: ds.SHA256(), Stats: ds.Stats()}
	for i := range min(n, ds.Len()) {
		x, err := ds.At(i)
		if err != nil {
			return nil, err
		}
		v.Examples = append(v.Examples, x)
	}
	if cfg.Model == "" {
		return v, nil
	}
	return v, v.tokens(ctx, cfg, how, n)
}

// tokens adds what becomes of the data with the model's tokenizer and template.
func (v *DataView) tokens(ctx context.Context, cfg *Config, how *method.Method, n int) (err error) {
	m, err := engine.Open(cfg.Model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	s, err := openText(cfg, m, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	plain := *cfg
	plain.EvalData, plain.EvalSplit = nil, 0 // the whole dataset is looked at
	r, err := readRows(ctx, &plain, s)
	if err != nil {
		return err
	}
	v.Template, v.Notes, v.Counts = s.templateName(), r.notes, &r.train.Counts
	for i := range min(n, r.trainRows.Rows()) {
		row := RowView{Row: i}
		for _, it := range r.trainRows.Row(i) {
			item := ItemView{Source: it.Source.String()}
			for k, id := range it.Tokens {
				item.Tokens = append(item.Tokens, TokenView{ID: id, Text: s.enc.Piece(id), Counted: it.Counted[k]})
			}
			row.Items = append(row.Items, item)
		}
		v.Rows = append(v.Rows, row)
	}
	return nil
}

// ValidateInspect is Validate for what InspectData uses: the model may be missing.
func (c *Config) ValidateInspect() error {
	asked := *c
	if asked.Model == "" {
		asked.Model = "none"
	}
	v := &validator{c: &asked}
	v.common()
	v.method()
	return v.result()
}
