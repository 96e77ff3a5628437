package data

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// spoolParquet expands a Parquet file into JSON Lines, one row a line, so that rows are reached at random at the same
// cost as in any other file. The line of a record is then the number of its row.
//
// The library reads sizes from the file. What is checked first: the declared size of the columns, against the limit. What
// a page declares of itself is not known before it is read; a fault or panic of the library becomes an error.
func (f *file) spoolParquet(o *Options) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: malformed Parquet: %v", f.path, r)
		}
	}()
	malformed := func(err error) error {
		return fmt.Errorf("%s: malformed Parquet: %v; the file may be cut off or damaged", f.path, err)
	}
	pf, err := parquet.OpenFile(f.r, f.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return malformed(err)
	}
	if err := f.checkParquet(pf, o); err != nil {
		return err
	}
	w := &spool{o: o}
	done := false
	defer func() { // also where the library panics
		if !done {
			w.discard()
		}
	}()
	buf := bufio.NewWriterSize(w, 1<<16)
	if err := writeRows(buf, pf); err != nil {
		if errors.Is(err, errInflated) || w.err != nil {
			return fmt.Errorf("%s: expanding it: %w", f.path, err)
		}
		return malformed(err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("%s: expanding it: %w", f.path, err)
	}
	if w.size == 0 {
		return fmt.Errorf("%s: the file has no rows", f.path)
	}
	done = true
	if err := f.replace(w); err != nil {
		return err
	}
	f.box = &linesBox{f: f, o: o}
	return nil
}

// checkParquet bounds what the file declares of itself.
func (f *file) checkParquet(pf *parquet.File, o *Options) error {
	var total int64
	for _, g := range pf.Metadata().RowGroups {
		for _, c := range g.Columns {
			size := c.MetaData.TotalUncompressedSize
			if size < 0 || size > o.MaxInflated || total > o.MaxInflated-size {
				return fmt.Errorf("%s: %w of %d bytes (a column declares %d); raise the limit if the file is to be trusted",
					f.path, errInflated, o.MaxInflated, size)
			}
			total += size
		}
	}
	if n := pf.NumRows(); n < 0 || n > o.MaxInflated {
		return fmt.Errorf("%s: the file declares %d rows; it is damaged", f.path, n)
	}
	return nil
}

// writeRows writes every row as a JSON object, its columns in the order of the file.
func writeRows(w io.Writer, pf *parquet.File) error {
	schema := pf.Schema()
	rows := make([]parquet.Row, 64)
	for _, g := range pf.RowGroups() {
		if err := writeGroup(w, g, schema, rows); err != nil {
			return err
		}
	}
	return nil
}

func writeGroup(w io.Writer, g parquet.RowGroup, schema *parquet.Schema, rows []parquet.Row) error {
	r := g.Rows()
	defer r.Close()
	for {
		n, err := r.ReadRows(rows)
		for _, row := range rows[:n] {
			m := map[string]any{}
			if err := schema.Reconstruct(&m, row); err != nil {
				return err
			}
			line, err := rowJSON(schema.Fields(), m)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
}

func rowJSON(fields []parquet.Field, m map[string]any) (string, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.Name())
		if err != nil {
			return "", err
		}
		v, err := json.Marshal(plainValue(m[f.Name()]))
		if err != nil {
			return "", fmt.Errorf("column %q: %w", f.Name(), err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// plainValue takes off what Parquet wraps lists in ({"list": [{"element": x}]}) and makes text of byte strings.
func plainValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plainValue(x)
		}
		return out
	case map[string]any:
		if list, ok := v["list"].([]any); ok && len(v) == 1 {
			out := make([]any, len(list))
			for i, x := range list {
				if e, ok := x.(map[string]any); ok && len(e) == 1 {
					for _, name := range []string{"element", "item", "array"} {
						if inner, ok := e[name]; ok {
							x = inner
						}
					}
				}
				out[i] = plainValue(x)
			}
			return out
		}
		for k, x := range v {
			v[k] = plainValue(x)
		}
	}
	return v
}
