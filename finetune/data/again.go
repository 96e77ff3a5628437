package data

import (
	"encoding/json"
	"fmt"
	"io"
)

// examples reads what is wanted of a record.
func (d *Dataset) examples(r *Record, add func(Example)) error {
	if d.opts.Want != WantPrompts {
		return d.format.Examples(r, &d.opts, add)
	}
	var before *Example // many pairs may have one prompt
	return d.format.Examples(r, &d.opts, func(x Example) {
		p := asPrompt(x)
		if before == nil || !samePrompt(before, &p) {
			before = &p
			add(p)
		}
	})
}

// At reads example i, 0 ≤ i < Len. It fails where the file has changed since it was opened.
func (d *Dataset) At(i int) (Example, error) {
	r, err := d.again(i)
	if err != nil {
		return Example{}, err
	}
	var out *Example
	sub := uint32(0)
	err = d.examples(r, func(x Example) {
		if sub == d.index[i].sub {
			out = &x
		}
		sub++
	})
	if err != nil {
		return Example{}, fmt.Errorf("the data has changed since it was opened: %w", err)
	}
	if out == nil || unlearnable(out) != "" {
		return Example{}, errorf(d.Source(i), "the data has changed since it was opened")
	}
	return *out, nil
}

// Row reads the record of example i as it is: every field that Options.Ignore does not name, under the names that
// Options.Columns gives too. A piece of plain text has none.
func (d *Dataset) Row(i int) (map[string]json.RawMessage, error) {
	r, err := d.again(i)
	if err != nil {
		return nil, err
	}
	row := make(map[string]json.RawMessage, len(r.Fields))
	for _, f := range r.Fields {
		row[f.Name] = f.Value
	}
	return row, nil
}

// again reads the record of example i again.
func (d *Dataset) again(i int) (*Record, error) {
	e := d.index[i]
	f := d.files[e.file]
	raw := make([]byte, e.size)
	if _, err := f.ReadAt(raw, e.off); err != nil && err != io.EOF {
		return nil, errorf(d.Source(i), "reading it again: %v", err)
	}
	r, err := d.record(f, e.place, raw)
	if err != nil {
		return nil, fmt.Errorf("the data has changed since it was opened: %w", err)
	}
	return r, nil
}
