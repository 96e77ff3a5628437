package data

import (
	"bufio"
	"bytes"
	"io"
)

// A linesBox is JSON Lines: one object a line. Empty lines are passed over, a carriage return before the newline too.
type linesBox struct {
	f *file
	o *Options
}

func (b *linesBox) scan(yield func(place, []byte) error) error {
	return b.f.lines(b.o.MaxRecord, func(p place, raw []byte) error {
		raw = bytes.TrimSuffix(raw, []byte("\r"))
		if len(bytes.TrimSpace(raw)) == 0 {
			return nil
		}
		p.size = len(raw)
		return yield(p, raw)
	})
}

func (b *linesBox) record(p place, raw []byte) (*Record, error) {
	return jsonRecord(Source{File: b.f.path, Line: p.line}, raw)
}

// jsonRecord reads a JSON value as a record: an object with fields, or a string, which is a text.
func jsonRecord(src Source, raw []byte) (*Record, error) {
	raw = bytes.TrimSpace(withoutNaN(raw))
	if len(raw) > 0 && raw[0] == '"' {
		if s, ok := asText(raw); ok {
			if at := loneSurrogate(raw); at >= 0 {
				return nil, jsonError(src, raw, surrogateError(raw, at))
			}
			return &Record{Source: src, document: &s}, nil
		}
	}
	fields, err := parseObject(raw)
	if err != nil {
		return nil, jsonError(src, raw, err)
	}
	return &Record{Source: src, Fields: fields}, nil
}

// lines calls yield with every line, without its newline. A line longer than most is an error.
func (f *file) lines(most int, yield func(place, []byte) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, f.bom, f.size-f.bom), 256<<10)
	off := f.bom
	var long []byte // a line that does not fit the reader's buffer
	for n := 1; ; n++ {
		var line []byte
		long = long[:0]
		for {
			part, err := r.ReadSlice('\n')
			if len(long)+len(part) > most+1 {
				return errorf(Source{File: f.path, Line: n},
					"the line is longer than %d bytes; expected one record a line: "+
						"check the line ends, or raise the limit on records", most)
			}
			if err == nil && len(long) == 0 {
				line = part
				break
			}
			long = append(long, part...)
			line = long
			if err == bufio.ErrBufferFull {
				continue
			}
			if err == io.EOF && len(line) == 0 {
				return nil
			}
			if err != nil && err != io.EOF {
				return errorf(Source{File: f.path, Line: n}, "reading it: %v", err)
			}
			break
		}
		size := len(line)
		if err := yield(place{off: off, line: n}, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
		off += int64(size)
	}
}
