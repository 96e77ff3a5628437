package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// rowKeys are the names under which a JSON object holds a list of rows.
var rowKeys = map[string]bool{"Instances": true, "data": true, "rows": true, "examples": true, "train": true}

// maxHead is the longest value kept of the fields beside the rows, bytes; a task's definition and examples are far
// smaller.
const maxHead = 1 << 20

// recogniseJSON tells JSON Lines from a list, from an object that holds rows or is one, and from objects one after
// the other that take several lines each.
func (f *file) recogniseJSON(text []byte, whole bool, o *Options) error {
	if text[0] == '[' {
		f.box = &jsonBox{f: f, o: o, layout: oneList}
		return nil
	}
	line, rest, more := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSpace(withoutNaN(line))
	lone := whole && len(bytes.TrimSpace(rest)) == 0
	if !lone && more && (json.Valid(line) || bytes.HasSuffix(line, []byte("}"))) {
		f.box = &linesBox{f: f, o: o}
		return nil
	}
	box := &jsonBox{f: f, o: o, layout: oneObject}
	more, sameLine, err := box.readHead()
	switch {
	case err != nil:
		return err
	case more && sameLine: // lines that are longer than what was looked at
		f.box = &linesBox{f: f, o: o}
	case more:
		f.box = &jsonBox{f: f, o: o, layout: manyObjects}
	case box.rows == "":
		f.box = &singleBox{linesBox{f: f, o: o}}
	default:
		f.box = box
	}
	return nil
}

// A singleBox is a JSON object that is one record, over any number of lines.
type singleBox struct{ linesBox }

func (b *singleBox) scan(yield func(place, []byte) error) error {
	size := b.f.size - b.f.bom
	if size > int64(b.o.MaxRecord) {
		return errorf(Source{File: b.f.path, Line: 1},
			"the object has %d bytes; at most %d are accepted in one record: "+
				"raise the limit on records, or write one record a line", size, b.o.MaxRecord)
	}
	raw := make([]byte, size)
	if _, err := b.f.ReadAt(raw, b.f.bom); err != nil && err != io.EOF {
		return fmt.Errorf("reading %s: %w", b.f.path, err)
	}
	lead := len(raw) - len(bytes.TrimLeft(raw, " \t\r\n"))
	line := 1 + bytes.Count(raw[:lead], []byte("\n"))
	raw = bytes.TrimSpace(raw)
	return yield(place{off: b.f.bom + int64(lead), size: len(raw), line: line}, raw)
}

// A layout says how records lie in JSON that is not one a line.
type layout uint8

const (
	oneList     layout = iota // the elements of a list
	oneObject                 // the elements of a list within an object
	manyObjects               // one after the other, over any number of lines
)

// A jsonBox is JSON whose records lie over any number of lines.
type jsonBox struct {
	f      *file
	o      *Options
	layout layout
	rows   string // the key that holds the list, of an object
	head   *Head  // the object's other fields
}

// A jsonScan walks through a JSON document value by value, knows the line of every offset and bounds what one value
// takes.
type jsonScan struct {
	f     *file
	in    io.Reader
	dec   *json.Decoder
	most  int64 // bytes that may still be read before the value under way is too long
	read  int64 // bytes read, from the beginning of the file
	nan   nanFilter
	lines []int64 // offsets of the newlines read and not yet passed
	line  int     // of the last offset asked for
	box   *jsonBox
}

var errLong = errors.New("longer than the limit on records")

func (b *jsonBox) newScan() *jsonScan {
	s := &jsonScan{f: b.f, in: io.NewSectionReader(b.f, b.f.bom, b.f.size-b.f.bom), read: b.f.bom, line: 1, box: b}
	s.dec = json.NewDecoder(s)
	s.renew()
	return s
}

// renew allows another value of full length.
func (s *jsonScan) renew() { s.most = int64(s.box.o.MaxRecord) + 1<<20 }

func (s *jsonScan) Read(p []byte) (int, error) {
	if s.most <= 0 {
		return 0, errLong
	}
	n, err := s.in.Read(p[:min(int64(len(p)), s.most)])
	s.nan.filter(p[:n])
	for i, c := range p[:n] {
		if c == '\n' {
			s.lines = append(s.lines, s.read+int64(i))
		}
	}
	s.read += int64(n)
	s.most -= int64(n)
	return n, err
}

// lineAt gives the line of an offset; offsets must not fall.
func (s *jsonScan) lineAt(off int64) int {
	n := 0
	for n < len(s.lines) && s.lines[n] < off {
		n++
	}
	s.lines = append(s.lines[:0], s.lines[n:]...)
	s.line += n
	return s.line
}

func (s *jsonScan) offset() int64 { return s.f.bom + s.dec.InputOffset() }

// fail makes the error for a value that begins after offset from: its line and column are found by reading it again.
func (s *jsonScan) fail(from int64, err error) error {
	line := s.lineAt(from)
	if errors.Is(err, errLong) {
		return errorf(Source{File: s.f.path, Line: line},
			"a value is longer than %d bytes; raise the limit on records if that is meant",
			s.box.o.MaxRecord)
	}
	raw := make([]byte, min(1<<20, s.f.size-from))
	n, _ := s.f.ReadAt(raw, from)
	raw = withoutNaN(raw[:n])
	if s.box.layout != manyObjects {
		raw = bytes.TrimLeft(raw, ",:")
	}
	var v json.RawMessage
	if e := json.NewDecoder(bytes.NewReader(raw)).Decode(&v); e != nil {
		err = e
	} else {
		err = &syntaxError{int64(len(v)), err.Error()}
	}
	return jsonError(Source{File: s.f.path, Line: line}, raw, whole(err))
}

// readHead reads an object's fields other than the rows, and finds which field holds the rows. more says that something
// follows the object, sameLine that it lies on one line.
func (b *jsonBox) readHead() (more, sameLine bool, err error) {
	s := b.newScan()
	b.head = &Head{fields: map[string]json.RawMessage{}}
	if _, err := s.dec.Token(); err != nil {
		return false, false, s.fail(b.f.bom, err)
	}
	first := s.lineAt(s.offset())
	for s.dec.More() {
		from := s.offset()
		s.renew()
		tok, err := s.dec.Token()
		if err != nil {
			return false, false, s.fail(from, err)
		}
		key := tok.(string)
		if _, twice := b.head.fields[key]; twice || key == b.rows {
			return false, false, errorf(Source{File: b.f.path, Line: s.lineAt(from)},
				"the name %q appears twice in one object; remove one of the two", key)
		}
		from = s.offset()
		if rowKeys[key] && b.rows == "" && b.isRows(from) {
			b.rows = key
			if _, err := s.dec.Token(); err != nil {
				return false, false, s.fail(from, err)
			}
			if err := s.elements(func(int64, json.RawMessage) error { return nil }); err != nil {
				return false, false, err
			}
			continue
		}
		var v json.RawMessage
		if err := s.dec.Decode(&v); err != nil {
			return false, false, s.fail(from, err)
		}
		if len(v) > maxHead {
			v = nil
		}
		b.head.fields[key] = v
	}
	from := s.offset()
	if _, err := s.dec.Token(); err != nil {
		return false, false, s.fail(from, err)
	}
	sameLine = s.lineAt(s.offset()) == first
	if err := s.end(); err != nil {
		if b.rows != "" && !sameLine {
			return true, sameLine, err
		}
		return true, sameLine, nil
	}
	return false, sameLine, nil
}

// isRows says whether the value after the colon at from is a list of objects.
func (b *jsonBox) isRows(from int64) bool {
	buf := make([]byte, 4096)
	n, _ := b.f.ReadAt(buf, from)
	v := bytes.TrimLeft(buf[:n], ": \t\r\n")
	if len(v) == 0 || v[0] != '[' {
		return false
	}
	v = bytes.TrimLeft(v[1:], " \t\r\n")
	return len(v) > 0 && (v[0] == '{' || v[0] == ']')
}

// elements walks through the elements of the list whose bracket was just read, and its closing bracket.
func (s *jsonScan) elements(f func(off int64, v json.RawMessage) error) error {
	if err := s.values(f); err != nil {
		return err
	}
	from := s.offset()
	if _, err := s.dec.Token(); err != nil {
		return s.fail(from, err)
	}
	return nil
}

// values walks through values up to a closing bracket or the end of the file.
func (s *jsonScan) values(f func(off int64, v json.RawMessage) error) error {
	for s.dec.More() {
		from := s.offset()
		s.renew()
		var v json.RawMessage
		if err := s.dec.Decode(&v); err != nil {
			return s.fail(from, err)
		}
		if len(v) > s.box.o.MaxRecord {
			return s.fail(from, errLong)
		}
		if err := f(s.offset()-int64(len(v)), v); err != nil {
			return err
		}
	}
	return nil
}

// end checks that nothing follows the document.
func (s *jsonScan) end() error {
	from := s.offset()
	s.renew()
	if tok, err := s.dec.Token(); err != io.EOF {
		reason := fmt.Sprintf("found %v after the end of the JSON document", tok)
		if err != nil {
			reason = "found more after the end of the JSON document"
		}
		return errorf(Source{File: s.f.path, Line: s.lineAt(from)},
			"%s; expected one list or object, or JSON Lines: one object a line", reason)
	}
	return nil
}

func (b *jsonBox) scan(yield func(place, []byte) error) error {
	s := b.newScan()
	each := func(off int64, v json.RawMessage) error {
		return yield(place{off: off, size: len(v), line: s.lineAt(off)}, v)
	}
	if b.layout == manyObjects {
		if err := s.values(each); err != nil {
			return err
		}
		return s.end()
	}
	if _, err := s.dec.Token(); err != nil {
		return s.fail(b.f.bom, err)
	}
	if b.layout == oneList {
		if err := s.elements(each); err != nil {
			return err
		}
		return s.end()
	}
	for s.dec.More() {
		from := s.offset()
		s.renew()
		key, err := s.dec.Token()
		if err != nil {
			return s.fail(from, err)
		}
		if key == b.rows {
			if _, err := s.dec.Token(); err != nil {
				return s.fail(from, err)
			}
			return s.elements(each)
		}
		var v json.RawMessage
		if err := s.dec.Decode(&v); err != nil {
			return s.fail(from, err)
		}
	}
	return nil
}

func (b *jsonBox) record(p place, raw []byte) (*Record, error) {
	r, err := jsonRecord(Source{File: b.f.path, Line: p.line}, raw)
	if err == nil {
		r.Head = b.head
	}
	return r, err
}
