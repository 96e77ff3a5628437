package data

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// A csvBox is a table with a header line, after RFC 4180: comma-separated, or by tabs. Cells may hold newlines in quotes.
type csvBox struct {
	f      *file
	o      *Options
	comma  rune
	header []string
}

// A bounded reader fails after a number of bytes without a renewal, so that an open quote cannot swallow a whole file.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *csvBox) reader(r io.Reader) *csv.Reader {
	c := csv.NewReader(r)
	c.Comma = b.comma
	c.LazyQuotes = b.comma == '\t' // in tables with tabs a quote is mostly just a quote
	c.FieldsPerRecord = -1         // counted here, for a message with the line and the header
	return c
}

func (b *csvBox) scan(yield func(place, []byte) error) error {
	in := &bounded{r: io.NewSectionReader(b.f.r, b.f.bom, b.f.size-b.f.bom)}
	renew := func() { in.left = int64(b.o.MaxRecord) + 1<<16 }
	renew()
	c := b.reader(in)
	header, err := c.Read()
	if err != nil {
		return b.fail(err)
	}
	if b.header, err = b.checkHeader(header); err != nil {
		return err
	}
	from := c.InputOffset()
	for {
		renew()
		rec, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return b.fail(err)
		}
		to := c.InputOffset()
		line, _ := c.FieldPos(0)
		if len(rec) != len(b.header) {
			return errorf(Source{File: b.f.path, Line: line}, "the row has %d cells, the header %d (%s); quote cells that hold "+
				"the separator or a newline", len(rec), len(b.header), quoted(b.header))
		}
		raw := make([]byte, to-from)
		if _, err := b.f.r.ReadAt(raw, b.f.bom+from); err != nil && err != io.EOF {
			return b.fail(err)
		}
		if err := yield(place{off: b.f.bom + from, size: len(raw), line: line}, raw); err != nil {
			return err
		}
		from = to
	}
}

func (b *csvBox) fail(err error) error {
	var pe *csv.ParseError
	switch {
	case errors.Is(err, errLong):
		return errorf(Source{File: b.f.path}, "a row is longer than %d bytes; a quote may not be closed, or raise the limit on records", b.o.MaxRecord)
	case errors.As(err, &pe):
		e := errorf(Source{File: b.f.path, Line: pe.StartLine}, "malformed table: %v (line %d); a quote within a quoted cell is written twice", pe.Err, pe.Line)
		e.Column = pe.Column
		return e
	case err == io.EOF:
		return errorf(Source{File: b.f.path}, "the file is empty")
	}
	return errorf(Source{File: b.f.path}, "reading it: %v", err)
}

func (b *csvBox) checkHeader(cells []string) ([]string, error) {
	seen := map[string]bool{}
	out := make([]string, len(cells))
	for i, c := range cells {
		name := strings.TrimSpace(c)
		if name != "" && seen[name] {
			return nil, errorf(Source{File: b.f.path, Line: 1}, "the header names the column %q twice; rename one of the two", name)
		}
		seen[name] = true
		out[i] = name
	}
	return out, nil
}

func (b *csvBox) record(p place, raw []byte) (*Record, error) {
	src := Source{File: b.f.path, Line: p.line}
	rec, err := b.reader(bytes.NewReader(raw)).Read()
	if err != nil || len(rec) != len(b.header) {
		return nil, errorf(src, "the row reads differently than before; the file was changed meanwhile")
	}
	r := &Record{Source: src}
	for i, cell := range rec {
		if b.header[i] == "" {
			continue // a column of row numbers, as pandas writes it
		}
		v, err := json.Marshal(cell)
		if err != nil {
			return nil, errorf(src, "column %q: %v", b.header[i], err)
		}
		r.Fields = append(r.Fields, Field{b.header[i], v})
	}
	return r, nil
}

// tableOrText decides about a file whose name says nothing: a table if its first line names columns that a format reads.
func (f *file) tableOrText(text []byte, o *Options) container {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	for _, comma := range []rune{'\t', ','} {
		b := &csvBox{f: f, o: o, comma: comma}
		cells, err := b.reader(bytes.NewReader(line)).Read()
		if err != nil || len(cells) < 2 {
			continue
		}
		r := &Record{}
		for _, c := range cells {
			r.Fields = append(r.Fields, Field{strings.TrimSpace(c), json.RawMessage(`""`)})
		}
		r.rename(o.Columns)
		if _, err := detect(r, o.Want); err == nil {
			return b
		}
	}
	return &textBox{f: f, o: o}
}
