package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// marks are what is to be said of one record beside what it teaches.
type marks struct {
	// Fields with something in them that nobody asked for: the record's own, in order, and those within them.
	unread []string
	within map[string]bool

	remarks []string
}

// A Column is a field that nothing reads. One within a list of objects is named with it: messages[].id.
type Column struct {
	Name  string `json:"name"`
	Count int    `json:"count"` // records that have something in it
	First string `json:"first"` // the first of them
}

// maxColumns bounds the names that are kept: in a stranger's data every record may have others.
const maxColumns = 256

// otherColumns stands for the fields beyond maxColumns.
const otherColumns = "(others)"

// begin forgets what was asked for until now, as the search for a format does.
func (r *Record) begin() {
	for i := range r.Fields {
		r.Fields[i].read = false
	}
	r.marks = &marks{}
}

// inner is an object within the field, or the list, of that name.
func (r *Record) inner(path string, fields []Field) *Record {
	return &Record{Source: r.Source, Fields: fields, marks: r.marks, path: r.path + path + "."}
}

// end notes what was not read of the record. Whoever makes an inner record ends it.
func (r *Record) end() {
	if r.marks == nil {
		return
	}
	for _, f := range r.Fields {
		switch {
		case !f.read && !f.named && saysSomething(f.Value):
			r.marks.add(r.path, f.Name)
		case f.read && isPlaceholder(f.Value):
			s, _ := asText(f.Value)
			r.remark(fmt.Sprintf("the field %q is the text %q, as programs write a missing value; it is taken "+
				"as text", r.path+f.Name, s))
		}
	}
}

func (m *marks) add(path, name string) {
	if path == "" {
		m.unread = append(m.unread, name)
		return
	}
	if m.within == nil {
		m.within = map[string]bool{}
	}
	m.within[path+name] = true
}

// remark says something of the record that its reader should know.
func (r *Record) remark(text string) {
	if r.marks != nil && !slices.Contains(r.marks.remarks, text) {
		r.marks.remarks = append(r.marks.remarks, text)
	}
}

// saysSomething says whether a value holds anything that could be lost.
func saysSomething(v json.RawMessage) bool {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0 || string(v) == "null":
		return false
	case v[0] == '"':
		s, ok := asText(v)
		return !ok || strings.TrimSpace(s) != ""
	case v[0] == '[' || v[0] == '{':
		return len(bytes.TrimSpace(v[1:len(v)-1])) > 0
	}
	return true
}

// isPlaceholder says whether a text is what Python, pandas or a database writes where there is none.
func isPlaceholder(v json.RawMessage) bool {
	if len(v) > 16 || len(v) == 0 || v[0] != '"' {
		return false
	}
	s, _ := asText(v)
	switch s {
	case "NaN", "nan", "None", "none", "null", "NULL", "Null", "<NA>", "N/A", "NaT", "undefined":
		return true
	}
	return false
}

// addMarks counts what is to be said of a record.
func (d *Dataset) addMarks(r *Record) {
	for _, name := range append(r.marks.unread, sortedKeys(r.marks.within)...) {
		d.addUnread(name, r.Source)
	}
	for _, text := range r.marks.remarks {
		d.stats.Remarks = note(d.stats.Remarks, text, r.Source)
	}
}

// addUnread counts a field, unless nobody need be told of it.
func (d *Dataset) addUnread(name string, at Source) {
	if d.opts.Want == WantPrompts {
		return // Row hands on all of them
	}
	aside := func(a string) bool { return a == name || strings.HasSuffix(a, ".") && strings.HasPrefix(name, a) }
	if slices.Contains(d.opts.Ignore, name) || slices.ContainsFunc(d.format.Aside, aside) {
		return
	}
	i, ok := d.columns[name]
	if !ok && len(d.stats.Unread) >= maxColumns {
		name = otherColumns
		i, ok = d.columns[name]
	}
	if !ok {
		if d.columns == nil {
			d.columns = map[string]int{}
		}
		i = len(d.stats.Unread)
		d.columns[name] = i
		d.stats.Unread = append(d.stats.Unread, Column{Name: name, First: at.String()})
	}
	d.stats.Unread[i].Count++
}
