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
// The library believes the sizes that the file declares, so all of them are checked first: those of the columns and those
// in the header of every page. A fault or panic of the library becomes an error.
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
			m := &c.MetaData
			size := m.TotalUncompressedSize
			if size < 0 || size > o.MaxInflated || total > o.MaxInflated-size {
				return fmt.Errorf("%s: %w of %d bytes (a column declares %d); raise the limit if the file is to be trusted",
					f.path, errInflated, o.MaxInflated, size)
			}
			total += size
			if err := f.checkPages(m, o); err != nil {
				return fmt.Errorf("%s: malformed Parquet: column %q: %w", f.path, strings.Join(m.PathInSchema, "."), err)
			}
		}
	}
	if n := pf.NumRows(); n < 0 || n > o.MaxInflated {
		return fmt.Errorf("%s: malformed Parquet: it declares %d rows", f.path, n)
	}
	return nil
}

// maxPageHeader is the longest page header accepted, bytes; it holds a few numbers and the column's smallest and largest
// value.
const maxPageHeader = 1 << 20

// checkPages walks over the page headers of a column: what a page declares must lie in the file and within the limits.
func (f *file) checkPages(m *format.ColumnMetaData, o *Options) error {
	off := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < off {
		off = d
	}
	if off < 4 || m.TotalCompressedSize < 0 || off > f.size || m.TotalCompressedSize > f.size-off {
		return fmt.Errorf("it declares %d bytes at offset %d of a file of %d", m.TotalCompressedSize, off, f.size)
	}
	most := 4 * int64(o.MaxRecord)
	end := off + m.TotalCompressedSize
	for off < end {
		h, length, err := f.pageHeader(off, end)
		if err != nil {
			return fmt.Errorf("the page header at offset %d: %w", off, err)
		}
		values := int64(0)
		switch {
		case h.DataPageHeader.Valid:
			values = int64(h.DataPageHeader.V.NumValues)
		case h.DataPageHeaderV2.Valid:
			values = int64(h.DataPageHeaderV2.V.NumValues)
		case h.DictionaryPageHeader.Valid:
			values = int64(h.DictionaryPageHeader.V.NumValues)
		}
		size, expanded := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
		body := off + length
		if size < 0 || size > end-body {
			return fmt.Errorf("the page at offset %d declares %d bytes, of which the column has %d", off, size, end-body)
		}
		if expanded < 0 || expanded > most || values < 0 || values > most {
			return fmt.Errorf("the page at offset %d declares %d bytes and %d values; at most %d are accepted: four times the limit on records",
				off, expanded, values, most)
		}
		off = body + size
	}
	return nil
}

// pageHeader reads the page header at off and gives its length. It decodes from bytes in memory: what the header says of
// its own lengths cannot make it read beyond them.
func (f *file) pageHeader(off, end int64) (h format.PageHeader, length int64, err error) {
	for size := int64(4 << 10); ; size = maxPageHeader {
		buf := make([]byte, min(size, end-off))
		if _, err = f.r.ReadAt(buf, off); err != nil && err != io.EOF {
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
	var line bytes.Buffer
	for {
		n, err := r.ReadRows(rows)
		for _, row := range rows[:n] {
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
		if n == 0 {
			return io.ErrNoProgress
		}
	}
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
