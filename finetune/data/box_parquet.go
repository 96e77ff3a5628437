package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// spoolParquet expands a Parquet file into JSON Lines, one row a line, so that rows are reached at random at the same
// cost as in any other file. The line of a record is then the number of its row.
//
// The library believes the sizes that the file declares, so all of them are checked first: those of the columns and
// those in the header of every page. A fault or panic of the library becomes an error.
func (f *file) spoolParquet(o *Options, rm *room) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: malformed Parquet: %v", f.path, r)
		}
	}()
	malformed := func(err error) error {
		return fmt.Errorf("%s: malformed Parquet: %v; the file may be cut off or damaged", f.path, err)
	}
	pf, err := parquet.OpenFile(f, f.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return malformed(err)
	}
	if err := f.checkParquet(pf, o); err != nil {
		return err
	}
	w := &spool{room: rm}
	done := false
	defer func() { // also where the library panics
		if !done {
			w.discard()
		}
	}()
	buf := bufio.NewWriterSize(w, 1<<16)
	err = writeRows(buf, pf, o.MaxRecord)
	if err == nil {
		err = buf.Flush()
	}
	var long *longRow
	switch {
	case w.err != nil:
		return fmt.Errorf("%s: expanding it: %w", f.path, w.err)
	case errors.As(err, &long):
		return errorf(Source{File: f.path, Line: long.row},
			"the row is longer than %d bytes; leave the column out, or write it as JSONL", o.MaxRecord)
	case err != nil:
		return malformed(err)
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

// checkParquet bounds what the file declares of itself, and with it the memory that reading it takes: of every column
// one page lies in it, and as many values as one row has.
func (f *file) checkParquet(pf *parquet.File, o *Options) error {
	var total int64
	for i, g := range pf.Metadata().RowGroups {
		var pages, listed int64
		for k, c := range g.Columns {
			m := &c.MetaData
			size := m.TotalUncompressedSize
			if size < 0 || size > o.MaxInflated || total > o.MaxInflated-size {
				return fmt.Errorf("%s: column %q declares %d bytes: %w", f.path, columnName(m), size,
					(&room{o: o}).tooLarge())
			}
			total += size
			largest, values, err := f.checkPages(m, o)
			if err != nil {
				return fmt.Errorf("%s: malformed Parquet: column %q: %w", f.path, columnName(m), err)
			}
			pages += largest
			if leaf := pf.Schema().Columns(); k < len(leaf) && isRepeated(pf.Schema(), leaf[k]) {
				listed += values
			}
		}
		switch most := maxPages * int64(o.MaxRecord); {
		case pages > most:
			return fmt.Errorf("%s: the largest pages of row group %d have %d bytes together; at most %d are "+
				"accepted: write it with smaller pages, "+
				"with fewer columns, or as JSONL", f.path, i, pages, most)
		case listed > int64(o.MaxRecord):
			return fmt.Errorf("%s: the lists of row group %d have %d values, which one row could hold; at most %d "+
				"are accepted: write it in smaller "+
				"row groups, with fewer columns, or as JSONL", f.path, i, listed, o.MaxRecord)
		}
	}
	if n := pf.NumRows(); n < 0 || n > o.MaxInflated {
		return fmt.Errorf("%s: malformed Parquet: it declares %d rows", f.path, n)
	}
	return nil
}

// maxPages is how many times the longest record the pages of all columns may take that lie in memory at once. Writers'
// pages have a megabyte, some a hundred.
const maxPages = 16

func columnName(m *format.ColumnMetaData) string { return strings.Join(m.PathInSchema, ".") }

// isRepeated says whether a row may have many values in a column.
func isRepeated(schema *parquet.Schema, path []string) bool {
	leaf, ok := schema.Lookup(path...)
	return ok && leaf.MaxRepetitionLevel > 0
}

// maxPageHeader is the longest page header accepted, bytes; it holds a few numbers and the column's smallest and
// largest value.
const maxPageHeader = 1 << 20

// checkPages walks over the page headers of a column: what a page declares must lie in the file and within the limits.
// It gives the bytes of the largest page, with those of the dictionary, and the values of all.
func (f *file) checkPages(m *format.ColumnMetaData, o *Options) (largest, values int64, err error) {
	off := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < off {
		off = d
	}
	if off < 4 || m.TotalCompressedSize < 0 || off > f.size || m.TotalCompressedSize > f.size-off {
		return 0, 0, fmt.Errorf("it declares %d bytes at offset %d of a file of %d", m.TotalCompressedSize, off, f.size)
	}
	most := 4 * int64(o.MaxRecord)
	var dictionary int64
	for end := off + m.TotalCompressedSize; off < end; {
		h, length, err := f.pageHeader(off, end)
		if err != nil {
			return 0, 0, fmt.Errorf("the page header at offset %d: %w", off, err)
		}
		size, expanded := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
		n := int64(0)
		switch {
		case h.DataPageHeader.Valid:
			n = int64(h.DataPageHeader.V.NumValues)
		case h.DataPageHeaderV2.Valid:
			n = int64(h.DataPageHeaderV2.V.NumValues)
		case h.DictionaryPageHeader.Valid:
			n, dictionary = int64(h.DictionaryPageHeader.V.NumValues), expanded
		}
		body := off + length
		if size < 0 || size > end-body {
			return 0, 0,
				fmt.Errorf("the page at offset %d declares %d bytes, of which the column has %d", off, size, end-body)
		}
		if expanded < 0 || expanded > most || n < 0 || n > most {
			return 0, 0, fmt.Errorf("the page at offset %d declares %d bytes and %d values; at most %d are accepted: "+
				"four times the limit on records",
				off, expanded, n, most)
		}
		largest, values, off = max(largest, expanded), values+n, body+size
	}
	return largest + dictionary, values, nil
}

// pageHeader reads the page header at off and gives its length. It decodes from bytes in memory: what the header says
// of its own lengths cannot make it read beyond them.
func (f *file) pageHeader(off, end int64) (h format.PageHeader, length int64, err error) {
	for size := int64(4 << 10); ; size = maxPageHeader {
		buf := make([]byte, min(size, end-off))
		if _, err = f.ReadAt(buf, off); err != nil && err != io.EOF {
			return h, 0, err
		}
		var protocol thrift.CompactProtocol
		in := protocol.NewReaderFromBytes(buf)
		h = format.PageHeader{}
		if err = thrift.NewDecoder(in).Decode(&h); err == nil {
			return h, int64(in.BytesRead()), nil
		}
		if size == maxPageHeader || int64(len(buf)) < size {
			return h, 0, err
		}
	}
}

// A longRow is a row with more bytes than a record may have. The values of a dictionary are a few bytes each in the
// file, and as long as they please in a row.
type longRow struct{ row int }

func (e *longRow) Error() string { return fmt.Sprintf("row %d is too long", e.row) }

// writeRows writes every row as a JSON object, its columns in the order of the file. most bounds the bytes of a row.
func writeRows(w io.Writer, pf *parquet.File, most int) error {
	schema := pf.Schema()
	rows := make([]parquet.Row, 64)
	n := 0
	for _, g := range pf.RowGroups() {
		if err := writeGroup(w, g, schema, rows, &n, most); err != nil {
			return err
		}
	}
	return nil
}

// writeGroup writes the rows of a group behind the n before it.
func writeGroup(w io.Writer, g parquet.RowGroup, schema *parquet.Schema, rows []parquet.Row, n *int, most int) error {
	r := g.Rows()
	defer r.Close()
	var line bytes.Buffer
	for {
		got, err := r.ReadRows(rows)
		for _, row := range rows[:got] {
			if *n++; rowBytes(row) > int64(most) {
				return &longRow{*n}
			}
			m := map[string]any{}
			if err := schema.Reconstruct(&m, row); err != nil {
				return err
			}
			line.Reset()
			if err := writeRow(&line, schema, m); err != nil {
				return err
			}
			if _, err := w.Write(line.Bytes()); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if got == 0 {
			return io.ErrNoProgress
		}
	}
}

// rowBytes is what a row's values have at least, written out.
func rowBytes(row parquet.Row) int64 {
	n := int64(len(row))
	for _, v := range row {
		if k := v.Kind(); k == parquet.ByteArray || k == parquet.FixedLenByteArray {
			n += int64(len(v.ByteArray()))
		}
	}
	return n
}

// writeRow writes a row with all its columns: here null is a value that is missing.
func writeRow(b *bytes.Buffer, schema *parquet.Schema, m map[string]any) error {
	b.WriteByte('{')
	for i, f := range schema.Fields() {
		if i > 0 {
			b.WriteByte(',')
		}
		writeString(b, f.Name())
		b.WriteByte(':')
		if err := writeValue(b, f, m[f.Name()]); err != nil {
			return fmt.Errorf("column %q: %w", f.Name(), err)
		}
	}
	b.WriteString("}\n")
	return nil
}
