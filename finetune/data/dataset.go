package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"unicode/utf8"

	"github.com/ggtune/ggtune/internal/count"
)

// A Dataset is the examples of one or several files, in the order of the files and of the records in them. It keeps an
// index, not the examples: some 40 bytes for each, and files are read where an example is asked for. It is safe for
// concurrent use.
type Dataset struct {
	opts   Options
	files  []*file
	format *Format
	index  []entry
	stats  Stats
	// columns gives the places in stats.Unread by name.
	columns map[string]int
	sum     [sha256.Size]byte
}

// An entry says where an example lies.
type entry struct {
	place
	file uint32
	sub  uint32 // which of the record's examples, those dropped included
}

// Stats count what was read.
type Stats struct {
	Files int `json:"files"`
	// Skipped says of each thing in a directory that has a data file's name and is none what it is: "data/a.jsonl is a
	// pipe".
	Skipped []string `json:"skipped,omitempty"`
	Records int      `json:"records"` // lines, rows, documents
	Read    int      `json:"read"`    // examples found in them
	Kept    int      `json:"kept"`
	Dropped []Drop   `json:"dropped"` // by reason, in the order of the first of each
	// Unread counts the fields that nothing reads, in the order in which they were met.
	Unread []Column `json:"unread,omitempty"`
	// Judged are, of folders of BEIR's, the tables that say what answers what.
	Judged []string `json:"judged_by,omitempty"`
	// Remarks counts the records of which something else is to be said, by what it is.
	Remarks []Drop `json:"remarks,omitempty"`
	// CutOff counts the kept examples with an answer that was cut off before it came to us; nil: none is known.
	CutOff *Drop `json:"cut_off,omitempty"`
}

// A Drop counts the examples that one thing befell.
type Drop struct {
	Reason string   `json:"reason"`
	Count  int      `json:"count"`
	First  []string `json:"first"` // the places of the first few
}

// firstDrops is how many places of dropped examples are kept for each reason.
const firstDrops = 5

// Open opens data files, and directories for all data files in them, or, where groups of texts are wanted, as BEIR has
// them, as one dataset. All records are read once, so that every fault is found before anything is trained; the error
// names file and line. The caller closes the Dataset.
func Open(ctx context.Context, paths []string, opts Options) (_ *Dataset, err error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("no data file was named; expected at least one file or directory")
	}
	d := &Dataset{opts: opts.withDefaults()}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	names, skipped, err := expand(paths, opts.Want == WantGroups)
	if err != nil {
		return nil, err
	}
	if d.stats.Skipped = skipped; opts.Strict && len(skipped) > 0 {
		return nil, fmt.Errorf(
			"%s, not a regular file: it cannot be read; take it out of the directory, or do without --strict",
			skipped[0])
	}
	if opts.Format != "" {
		if d.format, err = formats.Get(opts.Format); err != nil {
			return nil, err
		}
		if err := d.format.suits(opts.Want); err != nil {
			return nil, err
		}
	}
	h := sha256.New()
	rm := &room{o: &d.opts}
	for _, name := range names {
		if err := d.add(ctx, name, rm, h); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx) // whatever else went wrong: reading was stopped
			}
			return nil, err
		}
	}
	d.stats.Files, d.stats.Kept = len(d.files), len(d.index)
	h.Sum(d.sum[:0])
	if len(d.index) == 0 {
		return nil, d.emptyError(names)
	}
	return d, nil
}

// add opens a file and reads its records into the index. The context's end stops it wherever it is.
func (d *Dataset) add(ctx context.Context, name string, rm *room, h hash.Hash) error {
	if d.opts.Want == WantGroups && IsBEIR(name) {
		return d.addBEIR(ctx, name, rm, h)
	}
	f, err := openFile(name, &d.opts, rm, func() error { return context.Cause(ctx) })
	if err != nil {
		return err
	}
	d.files = append(d.files, f)
	err = d.scan(f, h)
	f.stop = nil
	return err
}

func (d *Dataset) emptyError(names []string) error {
	var why strings.Builder
	for _, drop := range d.stats.Dropped {
		fmt.Fprintf(&why, "; dropped %d: %s (%s)", drop.Count, drop.Reason, strings.Join(drop.First, ", "))
	}
	what := "the dataset is empty: %s, nothing to learn from%s"
	if d.opts.Want == WantPrompts {
		what = "no prompt to answer is left of %s%s"
	}
	return fmt.Errorf("%s: "+what, strings.Join(names, ", "), count.Of(d.stats.Records, "record"), &why)
}

// scan reads a file's records into the index.
func (d *Dataset) scan(f *file, h hash.Hash) error {
	first := true
	var head *Head
	err := f.box.scan(func(p place, raw []byte) error {
		r, err := d.record(f, p, raw)
		if err != nil {
			return err
		}
		if err := d.check(r, f, first); err != nil {
			return err
		}
		if first {
			addHead(h, r)
		}
		first, head = false, r.Head
		d.stats.Records++
		addHash(h, raw)
		sub := uint32(0)
		r.begin()
		err = d.examples(r, func(e Example) {
			d.stats.Read++
			if why := unlearnable(&e); why != "" {
				d.drop(why, e.Source)
			} else {
				d.index = append(d.index, entry{p, uint32(len(d.files) - 1), sub})
				d.countCutOff(&e)
			}
			sub++
		})
		if err != nil {
			return err
		}
		if f := d.format; f != Text && !f.Choices && !f.Preference && d.opts.Want != WantPrompts {
			remarkBits(r)
		}
		r.end()
		d.addMarks(r)
		if d.opts.Strict {
			return d.strict()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range head.unread() {
		d.addUnread(name, Source{File: f.path, Line: 1})
	}
	if d.opts.Strict {
		err = d.strict()
	}
	if first {
		return fmt.Errorf("%s: the file holds no records", f.path)
	}
	return err
}

// strict refuses what would be left out.
func (d *Dataset) strict() error {
	st := &d.stats
	switch {
	case len(st.Dropped) > 0:
		return fmt.Errorf("%s: %s: nothing can be learned from it; mend or remove it, or let such examples be "+
			"dropped (without --strict)",
			st.Dropped[0].First[0], st.Dropped[0].Reason)
	case st.CutOff != nil:
		return fmt.Errorf("%s: %s: its end cannot be learned; mend or remove it, or let such answers be learned "+
			"without their end (without --strict)",
			st.CutOff.First[0], st.CutOff.Reason)
	case len(st.Unread) > 0:
		c := st.Unread[0]
		return fmt.Errorf("%s: nothing reads the field %q; if it means one that is read, say which (--columns "+
			"NAME=%s); if it may be left out, "+
			"say that (--columns =%s)", c.First, c.Name, c.Name, c.Name)
	}
	return nil
}

// addHash adds bytes to the dataset's hash, with their length, so that borders count.
func addHash(h hash.Hash, b []byte) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:])
	h.Write(b)
}

// addHead adds what bears on all records of a file: the names of a table's columns, a task's definition and examples.
func addHead(h hash.Hash, r *Record) {
	for _, f := range r.Fields {
		addHash(h, []byte(f.Name))
	}
	if r.Head == nil {
		return
	}
	for _, k := range sortedKeys(r.Head.fields) {
		addHash(h, []byte(k))
		addHash(h, r.Head.fields[k])
	}
}

// check finds the format by the first record and holds all others to it.
func (d *Dataset) check(r *Record, f *file, firstOfFile bool) error {
	if d.format == nil {
		found, err := detect(r, d.opts.Want)
		if err != nil {
			return err
		}
		if err := found.suits(d.opts.Want); err != nil {
			return &Error{Source: r.Source, Reason: err.Error(), Err: err}
		}
		d.format = found
		return nil
	}
	if d.opts.Format != "" {
		if !d.format.Match(r) {
			return d.mismatch(r, true)
		}
		if field := verdictField(r); field != "" && !d.format.Preference && d.opts.Want != WantPrompts && KTO.Match(r) {
			return r.errorf("the field %q is a verdict on the answer, and the format %q that was asked for reads the "+
				"answer as one to "+
				"learn, whatever the verdict; kto trains on verdicts, if no format is asked for; if the column is no "+
				"verdict, leave it out (--columns =%s)",
				field, d.format.Name, field)
		}
		return nil
	}
	if d.format.Match(r) {
		if found, err := detect(r, d.opts.Want); err != nil || found == d.format {
			return nil
		}
	}
	if firstOfFile && len(d.files) > 1 {
		if found, err := detect(r, d.opts.Want); err == nil {
			return r.errorf("mixed formats: %s is %q, %s is %q; train on files of one format, or convert them",
				d.files[0].path, d.format.Name, f.path, found.Name)
		}
	}
	return d.mismatch(r, false)
}

// record decodes a record's bytes.
func (d *Dataset) record(f *file, p place, raw []byte) (*Record, error) {
	if !utf8.Valid(raw) {
		if !d.opts.ReplaceInvalid {
			return nil, invalidUTF8(f, p, raw)
		}
		raw = bytes.ToValidUTF8(raw, []byte("\uFFFD"))
	}
	if d.opts.ReplaceInvalid && f.holdsJSON() {
		raw = replaceSurrogates(raw)
	}
	r, err := f.box.record(p, raw)
	if err != nil {
		return nil, err
	}
	r.rename(d.opts.Columns, d.opts.Ignore)
	return r, nil
}

func invalidUTF8(f *file, p place, raw []byte) error {
	off := 0
	for off < len(raw) {
		r, size := utf8.DecodeRune(raw[off:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		off += size
	}
	line := p.line + bytes.Count(raw[:off], []byte("\n"))
	return errorf(Source{File: f.path, Line: line},
		"the byte 0x%02x at offset %d is not UTF-8; convert the file to UTF-8, or let such "+
			"bytes be replaced (--replace-invalid)", raw[off], p.off+int64(off))
}

func (d *Dataset) drop(reason string, at Source) { d.stats.Dropped = note(d.stats.Dropped, reason, at) }

// note counts one more of what the reason befell.
func note(drops []Drop, reason string, at Source) []Drop {
	for i := range drops {
		if drops[i].Reason == reason {
			drops[i].add(at)
			return drops
		}
	}
	return append(drops, Drop{reason, 1, []string{at.String()}})
}

func (drop *Drop) add(at Source) {
	drop.Count++
	if len(drop.First) < firstDrops {
		drop.First = append(drop.First, at.String())
	}
}

func (d *Dataset) countCutOff(e *Example) {
	if e.Kind == KindChoice { // none has an end
		return
	}
	for _, a := range e.Answers {
		if !a.CutOff {
			continue
		}
		if d.stats.CutOff == nil {
			d.stats.CutOff = &Drop{Reason: "an answer was cut off when it was written"}
		}
		d.stats.CutOff.add(e.Source)
		return
	}
}

// Len gives the number of examples.
func (d *Dataset) Len() int { return len(d.index) }

// Format gives the name of the data's format.
func (d *Dataset) Format() string { return d.format.Name }

// Stats gives the counts of what was read.
func (d *Dataset) Stats() Stats { return d.stats }

// SHA256 gives a hash of all records, in hex. It does not depend on file names or compression.
func (d *Dataset) SHA256() string { return hex.EncodeToString(d.sum[:]) }

// Source gives the place of example i without reading it.
func (d *Dataset) Source(i int) Source {
	e := d.index[i]
	return Source{File: d.files[e.file].path, Line: e.line}
}

// SameRecord says whether two examples were made of one record.
func (d *Dataset) SameRecord(i, j int) bool {
	a, b := &d.index[i], &d.index[j]
	return a.file == b.file && a.off == b.off
}

// Close closes the files and removes temporary ones. It may be called more than once.
func (d *Dataset) Close() error {
	var errs []error
	for _, f := range d.files {
		if f.close != nil {
			errs = append(errs, f.close())
			f.close = nil
		}
	}
	return errors.Join(errs...)
}
