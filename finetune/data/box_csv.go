package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A csvBox is a table with a header line: comma-separated, or by tabs. Cells may hold newlines in quotes.
type csvBox struct {
	f      *file
	o      *Options
	comma  byte
	header []string
}

// A tableReader cuts a table into cells after RFC 4180, with one rule for commas and tabs: a cell that begins with a
// quote ends with one, and a quote within it is written twice; in any other cell a quote is a quote.
type tableReader struct {
	in    *bufio.Reader
	comma byte
	most  int64 // bytes of a row
	off   int64 // bytes read
	line  int   // of the next byte
	begin int64 // of the row
}

func newTableReader(in io.Reader, comma byte, most int) *tableReader {
	return &tableReader{in: bufio.NewReaderSize(in, 1<<16), comma: comma, most: int64(most), line: 1}
}

// A tableError is a malformed table at a line.
type tableError struct {
	line   int
	reason string
}

func (e *tableError) Error() string { return e.reason }

// next reads a byte; at the end of the file it gives 0 and false.
func (t *tableReader) next() (c byte, ok bool, err error) {
	c, err = t.in.ReadByte()
	if err == io.EOF {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	t.off++
	if c == '\n' {
		t.line++
	}
	if t.off-t.begin > t.most {
		return 0, false, errLong
	}
	return c, true, nil
}

// row reads a row and gives its cells and the line it begins on; io.EOF where there is none. Blank lines are passed
// over.
func (t *tableReader) row() (cells []string, line int, err error) {
	t.begin = t.off
	for {
		b, err := t.in.Peek(2)
		if len(b) == 0 {
			if err == nil || err == io.EOF {
				err = io.EOF
			}
			return nil, t.line, err
		}
		if b[0] != '\n' && string(b) != "\r\n" {
			break
		}
		if _, _, err := t.next(); err != nil {
			return nil, t.line, err
		}
	}
	line = t.line
	for {
		cell, end, err := t.cell(len(cells) + 1)
		if err != nil {
			return nil, line, err
		}
		cells = append(cells, cell)
		if end {
			return cells, line, nil
		}
	}
}

// cell reads a cell and what ends it; end says that it is the row's last.
func (t *tableReader) cell(number int) (cell string, end bool, err error) {
	var text []byte
	c, ok, err := t.next()
	if c == '"' && ok {
		return t.quotedCell(number)
	}
	for ; ok && c != t.comma && c != '\n'; c, ok, err = t.next() {
		text = append(text, c)
	}
	if err != nil {
		return "", false, err
	}
	end = !ok || c == '\n'
	if end {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return string(text), end, nil
}

// quotedCell reads a cell behind its first quote.
func (t *tableReader) quotedCell(number int) (cell string, end bool, err error) {
	var text []byte
	line := t.line
	for {
		c, ok, err := t.next()
		switch {
		case err != nil:
			return "", false, err
		case !ok:
			return "", false, &tableError{line, fmt.Sprintf("the quote with which cell %d begins is not closed "+
				"before the end of the file; "+
				"write it twice within quotes if it belongs to the text", number)}
		case c != '"':
			if n := len(text); c == '\n' && n > 0 && text[n-1] == '\r' {
				text = text[:n-1]
			}
			text = append(text, c)
			continue
		}
		c, ok, err = t.next()
		switch {
		case err != nil:
			return "", false, err
		case c == '"':
			text = append(text, c)
			continue
		case c == '\r':
			if c, ok, err = t.next(); err != nil {
				return "", false, err
			}
		}
		switch {
		case !ok || c == '\n':
			return string(text), true, nil
		case c == t.comma:
			return string(text), false, nil
		}
		return "", false, &tableError{line, fmt.Sprintf("cell %d begins with a quote that is closed on line %d, "+
			"and goes on behind it; a cell that "+
			"begins with a quote ends with one, and a quote within it is written twice", number, t.line)}
	}
}

// swallowed says whether a row of several lines is more likely several rows, of which one cell begins with a quote
// that is only closed further down: it lies by tabs, which texts hardly have, and every line of it has as many as the
// header.
func swallowed(raw []byte, cells int) bool {
	lines := bytes.Split(bytes.Trim(raw, "\r\n"), []byte("\n"))
	for _, line := range lines {
		if bytes.Count(line, []byte("\t")) != cells-1 {
			return false
		}
	}
	return len(lines) > 1 && cells > 1
}

func (b *csvBox) scan(yield func(place, []byte) error) error {
	t := newTableReader(io.NewSectionReader(b.f, b.f.bom, b.f.size-b.f.bom), b.comma, b.o.MaxRecord)
	header, line, err := t.row()
	if err != nil {
		return b.fail(err, line)
	}
	if b.header, err = b.checkHeader(header); err != nil {
		return err
	}
	for {
		from := t.off
		rec, line, err := t.row()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return b.fail(err, line)
		}
		src := Source{File: b.f.path, Line: line}
		if len(rec) != len(b.header) {
			return errorf(src, "the row has %d cells, the header %d (%s); quote cells that hold the separator "+
				"or a newline",
				len(rec), len(b.header), quoted(b.header))
		}
		raw := make([]byte, t.off-from)
		if _, err := b.f.ReadAt(raw, b.f.bom+from); err != nil && err != io.EOF {
			return b.fail(err, line)
		}
		if b.comma == '\t' && t.line-line > 1 && swallowed(raw, len(rec)) {
			return errorf(src, "malformed table: a quote at the beginning of a cell is closed only on line %d, "+
				"and every line between looks like a row; "+
				"write the quote twice within quotes if it belongs to the text", t.line-1)
		}
		if err := yield(place{off: b.f.bom + from, size: len(raw), line: line}, raw); err != nil {
			return err
		}
	}
}

func (b *csvBox) fail(err error, line int) error {
	var te *tableError
	switch {
	case errors.Is(err, errLong):
		return errorf(Source{File: b.f.path, Line: line}, "a row is longer than %d bytes; a quote may not be "+
			"closed, or raise the limit on records", b.o.MaxRecord)
	case errors.As(err, &te):
		return errorf(Source{File: b.f.path, Line: te.line}, "malformed table: %s", te.reason)
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
			return nil, errorf(Source{File: b.f.path, Line: 1},
				"the header names the column %q twice; rename one of the two", name)
		}
		seen[name] = true
		out[i] = name
	}
	return out, nil
}

func (b *csvBox) record(p place, raw []byte) (*Record, error) {
	src := Source{File: b.f.path, Line: p.line}
	rec, _, err := newTableReader(bytes.NewReader(raw), b.comma, len(raw)).row()
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
		r.Fields = append(r.Fields, Field{Name: b.header[i], Value: v})
	}
	return r, nil
}

// tableOrText decides about a file whose name says nothing: a table if its first line names columns that a format
// reads.
func (f *file) tableOrText(text []byte, o *Options) container {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	for _, comma := range []byte("\t,") {
		cells, _, err := newTableReader(bytes.NewReader(line), comma, len(line)).row()
		if err != nil || len(cells) < 2 {
			continue
		}
		r := &Record{}
		for _, c := range cells {
			r.Fields = append(r.Fields, Field{Name: strings.TrimSpace(c), Value: json.RawMessage(`""`)})
		}
		r.rename(o.Columns, o.Ignore)
		if _, err := detect(r, o.Want); err == nil {
			return &csvBox{f: f, o: o, comma: comma}
		}
	}
	return &textBox{f: f, o: o}
}
