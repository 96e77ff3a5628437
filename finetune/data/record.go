package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// A Field is one named value of a record, as JSON.
type Field struct {
	Name  string
	Value json.RawMessage

	read  bool // somebody asked for the value
	named bool // Options.Columns gives it another name, under which it is read or not
}

// A Record is one row of a container, before its format is known: an object with fields, or a piece of plain text.
type Record struct {
	Source Source
	Fields []Field
	// Head is the object whose list the record is an element of (a task with its Definition), or nil.
	Head *Head

	marks *marks // nil until the record is to be read
	path  string // of an object within a record: the names of the fields it lies in

	document             *string // plain text
	continues, continued bool
}

// A Head holds the fields that the records of a file share. It is safe for concurrent use.
type Head struct {
	fields map[string]json.RawMessage
	mu     sync.Mutex
	made   map[any]string
	read   map[string]bool // fields that were asked for
}

// Get gives a field's value, nil where it is absent; h may be nil.
func (h *Head) Get(name string) json.RawMessage {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read == nil {
		h.read = map[string]bool{}
	}
	h.read[name] = true
	return h.fields[name]
}

// unread lists the fields that nobody asked for, and that have something in them; h may be nil.
func (h *Head) unread() []string {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(sortedKeys(h.fields), func(name string) bool {
		v := h.fields[name]
		return h.read[name] || v != nil && !saysSomething(v)
	})
}

// Once gives the text that f makes of the head for a key, such as the options it was made with; f is called once for
// each, unless two ask at the same time.
func (h *Head) Once(key any, f func() (string, error)) (string, error) {
	h.mu.Lock()
	s, ok := h.made[key]
	h.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := f()
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.made == nil {
		h.made = map[any]string{}
	}
	h.made[key] = s
	return s, nil
}

// Has says whether the record has all the fields.
func (r *Record) Has(names ...string) bool {
	for _, n := range names {
		if r.find(n) < 0 {
			return false
		}
	}
	return true
}

// Any says whether the record has one of the fields.
func (r *Record) Any(names ...string) bool {
	for _, n := range names {
		if r.Has(n) {
			return true
		}
	}
	return false
}

// find gives the index of a field, -1 where there is none.
func (r *Record) find(name string) int {
	for i := range r.Fields {
		if r.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Get gives a field's value. A field that nobody gets is named as unread.
func (r *Record) Get(name string) (json.RawMessage, bool) {
	i := r.find(name)
	if i < 0 {
		return nil, false
	}
	r.Fields[i].read = true
	return r.Fields[i].Value, true
}

// Names lists the record's fields in order.
func (r *Record) Names() []string {
	names := make([]string, len(r.Fields))
	for i, f := range r.Fields {
		names[i] = f.Name
	}
	return names
}

// rename gives fields the names that Options.Columns says they mean, and takes out those that nobody wants.
func (r *Record) rename(columns map[string]string, unwanted []string) {
	if len(unwanted) > 0 {
		r.Fields = slices.DeleteFunc(r.Fields, func(f Field) bool { return slices.Contains(unwanted, f.Name) })
	}
	if len(columns) == 0 {
		return
	}
	var named []Field
	for _, to := range sortedKeys(columns) {
		if i := r.find(columns[to]); i >= 0 && columns[to] != to {
			r.Fields[i].named = true
			named = append(named, Field{Name: to, Value: r.Fields[i].Value})
		}
	}
	var out []Field
	for _, f := range r.Fields {
		if from, taken := columns[f.Name]; taken && from != f.Name {
			continue // its name is given to another column
		}
		out = append(out, f)
	}
	r.Fields = append(out, named...)
}

// Text gives a field as text: a string or a number as it is written; "" where it is null or absent.
func (r *Record) Text(name string) (string, error) {
	v, ok := r.Get(name)
	if !ok {
		return "", nil
	}
	s, ok := asText(v)
	if !ok {
		return "", r.errorf("field %q is %s; expected a string", name, describe(v))
	}
	return s, nil
}

func (r *Record) errorf(format string, args ...any) error { return errorf(r.Source, format, args...) }

// asText gives a JSON value as text; ok is false for lists, objects and booleans.
func asText(v json.RawMessage) (s string, ok bool) {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0 || string(v) == "null":
		return "", true
	case v[0] == '"':
		if s, ok = plainString(v); ok {
			return s, true
		}
		return s, json.Unmarshal(v, &s) == nil
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		return string(v), true
	}
	return "", false
}

// describe says what a JSON value is, for messages.
func describe(v json.RawMessage) string {
	v = bytes.TrimSpace(v)
	if len(v) == 0 {
		return "nothing"
	}
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// embedded gives a value that may be JSON within a string, as CSV cells and some published datasets hold lists.
func embedded(v json.RawMessage) json.RawMessage {
	v = bytes.TrimSpace(v)
	if len(v) == 0 || v[0] != '"' {
		return v
	}
	s, _ := asText(v)
	if t := strings.TrimSpace(s); t != "" && (t[0] == '[' || t[0] == '{') && json.Valid([]byte(t)) {
		return json.RawMessage(t)
	}
	return v
}

// list gives the elements of the list in a field; of says what they are.
func (r *Record) list(field, of string) ([]json.RawMessage, error) {
	v, _ := r.Get(field)
	items, err := listOf(v)
	var syn *syntaxError
	switch {
	case errors.As(err, &syn):
		return nil, r.errorf("field %q: %v", field, err)
	case err != nil:
		return nil, r.errorf("field %q is %s; expected a list of %s", field, describe(embedded(v)), of)
	}
	return items, nil
}

// listOf gives the elements of a list, which may be JSON within a string; null is an empty one.
func listOf(v json.RawMessage) ([]json.RawMessage, error) {
	v = embedded(v)
	if at := loneSurrogate(v); at >= 0 {
		return nil, surrogateError(v, at)
	}
	if text, ok := asText(v); ok && strings.TrimSpace(text) == "" { // null too
		return nil, nil
	}
	var items []json.RawMessage
	if describe(v) != "a list" || json.Unmarshal(v, &items) != nil {
		return nil, fmt.Errorf("found %s", describe(v))
	}
	return items, nil
}

// parseObject splits a JSON object into its fields, in order. A name that appears twice is an error: which of the two
// is meant nobody knows.
func parseObject(doc []byte) ([]Field, error) {
	if !json.Valid(doc) {
		return nil, malformed(doc)
	}
	if at := loneSurrogate(doc); at >= 0 {
		return nil, surrogateError(doc, at)
	}
	s := splitter{doc: doc}
	if s.space(); s.doc[s.i] != '{' {
		return nil, fmt.Errorf("found %s; expected an object", describe(doc))
	}
	s.i++
	var fields []Field
	var seen map[string]bool // of many fields
	for {
		s.space()
		switch s.doc[s.i] {
		case '}':
			return fields, nil
		case ',':
			s.i++
			s.space()
		}
		key := s.value()
		name, simple := plainString(key)
		if !simple {
			if err := json.Unmarshal(key, &name); err != nil {
				return nil, err
			}
		}
		if twice(fields, &seen, name) {
			return nil, fmt.Errorf("the name %q appears twice in one object; remove one of the two", name)
		}
		s.space()
		s.i++ // the colon
		s.space()
		fields = append(fields, Field{Name: name, Value: s.value()})
	}
}

// twice says whether a name is among the fields. It looks through a few, and keeps a set of many: a stranger's object
// may have any number of names.
func twice(fields []Field, seen *map[string]bool, name string) bool {
	const few = 32
	if len(fields) < few {
		return slices.ContainsFunc(fields, func(f Field) bool { return f.Name == name })
	}
	if *seen == nil {
		*seen = map[string]bool{}
		for _, f := range fields {
			(*seen)[f.Name] = true
		}
	}
	found := (*seen)[name]
	(*seen)[name] = true
	return found
}

// A splitter walks through a JSON value that is known to be valid.
type splitter struct {
	doc []byte
	i   int
}

func (s *splitter) space() {
	for s.doc[s.i] == ' ' || s.doc[s.i] == '\t' || s.doc[s.i] == '\r' || s.doc[s.i] == '\n' {
		s.i++
	}
}

// value passes one value and gives its bytes.
func (s *splitter) value() json.RawMessage {
	start, depth := s.i, 0
	for s.i < len(s.doc) {
		switch c := s.doc[s.i]; {
		case c == '"':
			for s.i++; s.doc[s.i] != '"'; s.i++ {
				if s.doc[s.i] == '\\' {
					s.i++
				}
			}
			if depth == 0 {
				s.i++
				return s.doc[start:s.i]
			}
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			if depth--; depth == 0 {
				s.i++
				return s.doc[start:s.i]
			}
		case depth == 0 && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			return s.doc[start:s.i]
		}
		s.i++
	}
	return s.doc[start:s.i]
}

// plainString gives a JSON string without escapes; simple is false where it has some.
func plainString(v []byte) (s string, simple bool) {
	if len(v) < 2 || v[0] != '"' || bytes.IndexByte(v, '\\') >= 0 {
		return "", false
	}
	return string(v[1 : len(v)-1]), true
}

// malformed finds what is wrong with a document that is not one JSON value.
func malformed(doc []byte) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	var v json.RawMessage
	if err := d.Decode(&v); err != nil {
		return whole(err)
	}
	return &syntaxError{d.InputOffset(), "found more text after the end of the object; expected one object a line"}
}

// A syntaxError is malformed JSON at a byte offset of what was parsed.
type syntaxError struct {
	offset int64
	reason string
}

func (e *syntaxError) Error() string { return e.reason }

// whole turns the decoder's errors into one kind.
func whole(err error) error {
	var syn *json.SyntaxError
	switch {
	case errors.As(err, &syn):
		return &syntaxError{syn.Offset, syn.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &syntaxError{-1, "the JSON value is cut off"}
	}
	return err
}

// jsonError is the message for malformed JSON in the record raw that begins at src.
func jsonError(src Source, raw []byte, err error) error {
	e := errorf(src, "malformed JSON: %v", err)
	var syn *syntaxError
	if errors.As(err, &syn) {
		off := int(syn.offset)
		if off < 0 || off > len(raw) {
			off = len(raw)
		}
		e.Source.Line += bytes.Count(raw[:off], []byte("\n"))
		e.Column = off - (bytes.LastIndexByte(raw[:off], '\n') + 1)
		e.Column = max(e.Column, 1)
	} else {
		e.Reason = err.Error()
	}
	return e
}
