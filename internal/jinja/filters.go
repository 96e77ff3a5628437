package jinja

import (
	"math"
	"strconv"
	"strings"
)

// A filterFunc is what "|" calls. Its table is fixed: filters are looked up when a template is parsed.
type filterFunc func(s *state, v Value, a args) Value

var filters map[string]filterFunc

func init() { // map, select and reject refer to the table
	str := func(f func(Str) Str) filterFunc {
		return func(s *state, v Value, a args) Value {
			s.bind(a, 0)
			t := s.str(v)
			s.charge(len(t.s))
			return f(t)
		}
	}
	text := func(s *state, v Value, a args) Value { return s.str(v) }
	safe := func(s *state, v Value, a args) Value { return s.str(v).markup(true) }
	count := func(s *state, v Value, a args) Value { return int64(s.length(v)) }
	filters = map[string]filterFunc{
		"tojson": tojson, "string": text, "safe": safe, "trim": filterTrim, "upper": str(upper), "lower": str(lower),
		"title": str(title), "capitalize": str(capitalize), "length": count, "count": count, "default": filterDefault,
		"d": filterDefault, "join": filterJoin, "list": filterList, "items": filterItems, "indent": filterIndent,
		"replace": filterReplace, "first": filterFirst, "last": filterLast, "reverse": filterReverse, "int": filterInt,
		"float": filterFloat, "abs": filterAbs, "round": filterRound, "escape": filterEscape, "e": filterEscape,
		"map": filterMap, "selectattr": selector(true, true), "rejectattr": selector(true, false),
		"select": selector(false, true), "reject": selector(false, false), "sort": filterSort, "unique": filterUnique,
		"sum": filterSum, "min": extreme(-1), "max": extreme(1), "dictsort": filterDictSort, "format": filterFormat,
		"wordcount": filterWordCount, "attr": filterAttr, "batch": filterBatch,
	}
}

func filterTrim(s *state, v Value, a args) Value {
	a.fn = "trim"
	return s.stripArgs(s.str(v), a, true, true)
}

func filterDefault(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "default_value", "boolean")
	_, undef := v.(*Undefined)
	if !undef && !(truth(p[1]) && !truth(v)) {
		return v
	}
	if !given[0] {
		return Str{}
	}
	return p[0]
}

func filterJoin(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "d", "attribute")
	items := s.iterate(v)
	if given[1] && p[1] != nil {
		for i, item := range items {
			items[i] = s.path(item, p[1])
		}
	}
	sep := Str{}
	if given[0] {
		sep = s.str(p[0])
	}
	return s.join(sep, items)
}

func filterList(s *state, v Value, a args) Value { return &List{Items: s.iterate(v)} }

func filterItems(s *state, v Value, a args) Value {
	switch d := v.(type) {
	case *Dict:
		return s.dictItems(d)
	case *Undefined:
		return &List{}
	}
	s.fail("items needs a dictionary, not %s", typeName(v))
	return nil
}

func filterIndent(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "width", "first", "blank")
	t := s.str(v)
	pad := "    "
	if w, ok := p[0].(Str); ok {
		pad = w.s
	} else if given[0] {
		pad = strings.Repeat(" ", max(0, min(1000, s.integer(a, p[0], true, 4))))
	}
	lines := s.concat(t, plain("\n")).lines(false)
	var b builder
	for i, item := range lines {
		line := item.(Str)
		s.charge(len(line.s) + len(pad) + 1)
		if i > 0 {
			b.addPlain("\n")
		}
		if i == 0 && truth(p[1]) || i > 0 && (line.s != "" || truth(p[2])) {
			b.addPlain(pad)
		}
		b.addStr(line)
	}
	return b.str().markup(t.safe)
}

func filterReplace(s *state, v Value, a args) Value {
	p, given := s.bind(a, 2, "old", "new", "count")
	n := -1
	if p[2] != nil {
		n = s.integer(a, p[2], given[2], -1)
	}
	return s.replace(s.str(v).markup(false), s.str(p[0]), s.str(p[1]), n)
}

func filterFirst(s *state, v Value, a args) Value {
	if items := s.iterate(v); len(items) > 0 {
		return items[0]
	}
	return &Undefined{"the sequence is empty: there is no first item"}
}

func filterLast(s *state, v Value, a args) Value {
	if items := s.iterate(v); len(items) > 0 {
		return items[len(items)-1]
	}
	return &Undefined{"the sequence is empty: there is no last item"}
}

func filterReverse(s *state, v Value, a args) Value {
	items := s.iterate(v)
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	if _, ok := v.(Str); ok {
		return s.join(Str{}, items)
	}
	return &List{Items: items}
}

func filterInt(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "default", "base")
	def := Value(int64(0))
	if given[0] {
		def = p[0]
	}
	if t, ok := v.(Str); ok {
		clean := strings.ReplaceAll(strings.TrimFunc(t.s, isSpace), "_", "")
		if n, err := strconv.ParseInt(clean, s.integer(a, p[1], given[1], 10), 64); err == nil {
			return n
		}
		f, err := strconv.ParseFloat(clean, 64)
		if err != nil {
			return def
		}
		v = f
	}
	i, f, isInt, ok := number(v)
	switch {
	case !ok || !isInt && (math.IsNaN(f) || math.Abs(f) >= 1<<63):
		return def
	case isInt:
		return i
	}
	return int64(f)
}

func filterFloat(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "default")
	if t, ok := v.(Str); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(t.s, isSpace), 64); err == nil {
			return f
		}
	}
	if _, f, _, ok := number(v); ok {
		return f
	}
	if given[0] {
		return p[0]
	}
	return 0.0
}

func filterAbs(s *state, v Value, a args) Value {
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		s.defined(v)
		s.fail("abs needs a number, not %s", typeName(v))
	case isInt && i < 0:
		return s.unary("-", i)
	case isInt:
		return i
	}
	return math.Abs(f)
}

func filterRound(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "precision", "method")
	_, f, _, ok := number(v)
	if !ok {
		s.defined(v)
		s.fail("round needs a number, not %s", typeName(v))
	}
	scale := math.Pow(10, float64(s.integer(a, p[0], given[0], 0)))
	method := "common"
	if given[1] {
		method = s.text(a, p[1]).s
	}
	switch method {
	case "common":
		return math.RoundToEven(f*scale) / scale
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	}
	s.fail("round knows the methods common, ceil, floor, not %q", method)
	return nil
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

func filterEscape(s *state, v Value, a args) Value {
	if t, ok := v.(Str); ok && t.safe {
		return t
	}
	return s.escape(s.str(v))
}

func (s *state) escape(t Str) Str {
	s.charge(6 * len(t.s))
	return t.mapRuns(htmlEscapes.Replace).markup(true)
}

func filterFormat(s *state, v Value, a args) Value {
	return s.format(s.str(v), &List{Items: a.pos, Tuple: true})
}

func filterWordCount(s *state, v Value, a args) Value {
	t := s.str(v)
	s.charge(len(t.s))
	return int64(len(strings.FieldsFunc(t.s, isSpace)))
}

func filterAttr(s *state, v Value, a args) Value {
	p, _ := s.bind(a, 1, "name")
	name := s.text(a, p[0]).s
	if d, ok := v.(*Dict); ok && method(d, name) == nil {
		return &Undefined{"'dict object' has no attribute '" + name + "'"}
	}
	return s.getAttr(v, name)
}
