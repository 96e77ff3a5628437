package data

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// endOfText is the line that separates documents in text made for GPT-2 and its kin.
const endOfText = "<|endoftext|>"

// Splits lists the values of Options.Split that have a name.
func Splits() []string { return []string{"auto", "file", "paragraph", "line"} }

// A textBox is plain text. Documents are separated as Options.Split says; one longer than Options.MaxDocument is cut.
type textBox struct {
	f *file
	o *Options
}

func (b *textBox) scan(yield func(place, []byte) error) error {
	sep := b.o.Split
	switch sep {
	case "auto":
		head, err := b.f.head()
		if err != nil {
			return err
		}
		sep = "file"
		if bytes.Contains(head, []byte(endOfText)) {
			sep = endOfText
		}
	case "paragraph":
		sep = "\n\n"
	case "line":
		sep = "\n"
	}
	d := &documents{b: b, sep: []byte(sep), yield: yield, off: b.f.bom, line: 1}
	if sep == "file" {
		d.sep = nil
	}
	return d.run()
}

func (b *textBox) record(p place, raw []byte) (*Record, error) {
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	return &Record{Source: Source{File: b.f.path, Line: p.line}, document: &text, continues: p.continues,
		continued: p.continued}, nil
}

// documents cuts a text into documents while it is read.
type documents struct {
	b         *textBox
	sep       []byte // nil: none
	yield     func(place, []byte) error
	buf       []byte // read and not yet given
	spare     []byte // what buf is a part of
	off       int64  // of buf[0] in the file
	line      int    // of buf[0]
	continues bool   // buf goes on with a document that was cut
}

func (d *documents) run() error {
	most := d.b.o.MaxDocument
	next := d.off
	for {
		// Enough for a whole document and the separator after it.
		if len(d.buf) <= most+len(d.sep)+utf8.UTFMax && next < d.b.f.size {
			d.spare = append(d.spare[:0], d.buf...)
			for len(d.spare) <= 2*most && next < d.b.f.size {
				part := make([]byte, min(int64(most)+1, d.b.f.size-next))
				n, err := d.b.f.ReadAt(part, next)
				if n == 0 && err != nil {
					return errorf(Source{File: d.b.f.path, Line: d.line}, "reading it: %v", err)
				}
				d.spare = append(d.spare, part[:n]...)
				next += int64(n)
			}
			d.buf = d.spare
		}
		if len(d.buf) == 0 {
			return nil
		}
		end, skip, continued := len(d.buf), len(d.buf), false
		if k := d.findSep(min(len(d.buf), most+len(d.sep))); k >= 0 {
			end, skip = k, k+len(d.sep)
		} else if len(d.buf) > most {
			end = cutAt(d.buf[:most])
			skip, continued = end, true
		}
		if err := d.give(end, skip, continued); err != nil {
			return err
		}
	}
}

func (d *documents) findSep(limit int) int {
	if d.sep == nil {
		return -1
	}
	if string(d.sep) == "\n\n" { // a blank line may hold a carriage return
		if k := bytes.Index(d.buf[:limit], []byte("\r\n\r\n")); k >= 0 {
			if j := bytes.Index(d.buf[:limit], d.sep); j < 0 || k < j {
				return k + 1
			}
		}
	}
	return bytes.Index(d.buf[:limit], d.sep)
}

// cutAt finds where to cut a piece of a document: after its last paragraph, else line, else word, else character,
// provided at least half of the piece is used.
func cutAt(piece []byte) int {
	for _, sep := range []string{"\n\n", "\n", " "} {
		if k := bytes.LastIndex(piece, []byte(sep)); k >= len(piece)/2 {
			return k + len(sep)
		}
	}
	k := len(piece)
	for k > 0 && !utf8.RuneStart(piece[k-1]) {
		k--
	}
	if k > 0 && !utf8.FullRune(piece[k-1:]) {
		return k - 1
	}
	return len(piece)
}

// give passes on buf[:end] and drops buf[:next].
func (d *documents) give(end, next int, continued bool) error {
	text := d.buf[:end]
	// Blank lines around a document belong to the separation.
	lead := 0
	if d.sep != nil && !d.continues {
		lead = len(text) - len(bytes.TrimLeft(text, "\r\n"))
		text = text[lead:]
	}
	if d.sep != nil && !continued {
		text = bytes.TrimRight(text, "\r\n")
	}
	if d.sep == nil || len(bytes.TrimSpace(text)) > 0 || d.continues {
		p := place{off: d.off + int64(lead), size: len(text), line: d.line + bytes.Count(d.buf[:lead], []byte("\n")),
			continues: d.continues, continued: continued}
		if err := d.yield(p, text); err != nil {
			return err
		}
	}
	d.line += bytes.Count(d.buf[:next], []byte("\n"))
	d.off += int64(next)
	d.buf = d.buf[next:]
	d.continues = continued
	return nil
}
