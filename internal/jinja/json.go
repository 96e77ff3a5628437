package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
)

// maxJSONDepth bounds the nesting of JSON values handed to a template. Tool schemas nest some ten levels.
const maxJSONDepth = 100

// FromJSON decodes a JSON document into a value, with the keys of objects in the order they were written. Strings and
// keys get the given origin (see Marked), 0 for none.
func FromJSON(doc []byte, origin int) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	v, err := decodeJSON(d, origin, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("found more after the end of the JSON value, at byte %d", d.InputOffset())
	}
	return v, nil
}

func decodeJSON(d *json.Decoder, origin, depth int) (Value, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("the JSON value nests more than %d levels deep", maxJSONDepth)
	}
	tok, err := d.Token()
	if err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case string:
		return Marked(t, origin), nil
	case json.Number:
		return jsonNumber(string(t)), nil
	case json.Delim:
		if t == '[' {
			l := &List{}
			for d.More() {
				v, err := decodeJSON(d, origin, depth+1)
				if err != nil {
					return nil, err
				}
				l.Items = append(l.Items, v)
			}
			_, err := d.Token()
			return l, err
		}
		obj := NewDict()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeJSON(d, origin, depth+1)
			if err != nil {
				return nil, err
			}
			obj.SetMarked(Marked(key.(string), origin), v)
		}
		_, err := d.Token()
		return obj, err
	}
	return tok, nil // a bool or nil
}

// jsonNumber is how Python's json reads a number: an int where it is written as one, else a float.
func jsonNumber(t string) Value {
	if !strings.ContainsAny(t, ".eE") {
		if n, err := strconv.ParseInt(t, 10, 64); err == nil {
			return n
		}
		return rawNumber(t)
	}
	f, _ := strconv.ParseFloat(t, 64) // out of range gives ±Inf, as in Python
	return f
}

// A jsonWriter writes a value as Python's json.dumps does.
type jsonWriter struct {
	s         *state
	b         builder
	ascii     bool
	sortKeys  bool
	indent    string
	pretty    bool
	item, key string // separators
	depth     int
}

// tojson is transformers' filter of that name: json.dumps(x, ensure_ascii, indent, separators, sort_keys) with
// ensure_ascii off by default and no escaping for HTML (transformers/utils/chat_template_utils.py).
func tojson(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "ensure_ascii", "indent", "separators", "sort_keys")
	w := &jsonWriter{s: s, ascii: truth(p[0]), sortKeys: truth(p[3]), item: ", ", key: ": "}
	switch ind := p[1].(type) {
	case nil:
	case Str:
		w.pretty, w.indent, w.item = true, ind.s, ","
	default:
		w.pretty, w.item = true, ","
		w.indent = strings.Repeat(" ", max(0, min(64, s.integer(a, ind, true, 0))))
	}
	if given[2] && p[2] != nil {
		seps := s.iterate(p[2])
		if len(seps) != 2 {
			s.fail("tojson needs two separators, got %d", len(seps))
		}
		w.item, w.key = s.text(a, seps[0]).s, s.text(a, seps[1]).s
	}
	w.write(v)
	return w.b.str()
}

func (w *jsonWriter) write(v Value) {
	s := w.s
	s.step(1)
	if w.depth > maxDepth {
		s.limit("a value nested more than %d levels deep was printed as JSON", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		w.b.addPlain("null")
	case bool:
		w.b.addPlain(strconv.FormatBool(v))
	case int64:
		w.b.addPlain(strconv.FormatInt(v, 10))
	case rawNumber:
		w.b.addPlain(string(v))
	case float64:
		w.b.addPlain(jsonFloat(v))
	case Str:
		w.text(v)
	case *List:
		w.open("[", len(v.Items))
		for i, item := range v.Items {
			w.next(i)
			w.write(item)
		}
		w.close("]", len(v.Items))
	case *Dict:
		w.dict(v)
	default:
		s.fail("a value of type %s cannot be written as JSON", typeName(v))
	}
}

func (w *jsonWriter) dict(d *Dict) {
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	if w.sortKeys {
		sort.SliceStable(order, func(i, j int) bool {
			return w.s.compare("<", d.keyValue(order[i]), d.keyValue(order[j]), 0) < 0
		})
	}
	w.open("{", len(order))
	for n, i := range order {
		w.next(n)
		switch k := d.keyValue(i).(type) {
		case Str:
			w.text(k)
		case nil:
			w.b.addPlain(`"null"`)
		default:
			w.b.addPlain(`"` + strings.ToLower(w.s.str(k).s) + `"`)
		}
		w.b.addPlain(w.key)
		w.write(d.get(d.keys[i]))
	}
	w.close("}", len(order))
}

func (w *jsonWriter) open(b string, n int) {
	w.b.addPlain(b)
	w.depth++
}

// next goes to item i of a list or object.
func (w *jsonWriter) next(i int) {
	if i > 0 {
		w.s.charge(len(w.item))
		w.b.addPlain(w.item)
	}
	w.newline()
}

func (w *jsonWriter) newline() {
	if w.pretty {
		w.s.charge(1 + w.depth*len(w.indent))
		w.b.addPlain("\n" + strings.Repeat(w.indent, w.depth))
	}
}

func (w *jsonWriter) close(b string, n int) {
	w.depth--
	if n > 0 {
		w.newline()
	}
	w.b.addPlain(b)
}

func (w *jsonWriter) text(t Str) {
	w.s.charge(2 * len(t.s))
	w.b.addPlain(`"`)
	w.b.addStr(t.mapRuns(func(p string) string { return jsonEscape(p, w.ascii) }))
	w.b.addPlain(`"`)
}

func jsonEscape(t string, ascii bool) string {
	var b strings.Builder
	for _, r := range t {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\b':
			b.WriteString(`\b`)
		case r < 0x20, ascii && r > 0x7e && r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		case ascii && r >= 0x10000:
			r -= 0x10000
			b.WriteString(`\u` + hex(0xd800+r>>10, 4) + `\u` + hex(0xdc00+r&0x3ff, 4))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

// ToJSON writes a value made by FromJSON as Python's json.dumps does with ensure_ascii off.
func ToJSON(v Value) string {
	s := &state{limits: Limits{}.withDefaults(inputSize(v, 0))}
	w := &jsonWriter{s: s, item: ", ", key: ": "}
	w.write(v)
	return w.b.str().s
}
