package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// method gives the method of an object, bound to it, or nil.
func method(obj Value, name string) Value {
	switch o := obj.(type) {
	case Str:
		if m, ok := strMethods[name]; ok {
			return &function{name, func(s *state, a args) Value { return m(s, o, a) }}
		}
	case *Dict:
		if m, ok := dictMethods[name]; ok {
			return &function{name, func(s *state, a args) Value { return m(s, o, a) }}
		}
	case *List:
		if m, ok := listMethods[name]; ok && (!o.Tuple || name == "count" || name == "index") {
			return &function{name, func(s *state, a args) Value { return m(s, o, a) }}
		}
	}
	return nil
}

// text gives an argument that must be a string.
func (s *state) text(a args, v Value) Str {
	t, ok := v.(Str)
	if !ok {
		s.defined(v)
		s.fail("%s needs a string, not %s", a.fn, typeName(v))
	}
	return t
}

// integer gives an argument that must be an integer, or def where it is absent.
func (s *state) integer(a args, v Value, given bool, def int) int {
	if !given {
		return def
	}
	i, _, isInt, ok := number(v)
	if !ok || !isInt || i > 1<<31 || i < -1<<31 {
		s.defined(v)
		s.fail("%s needs an integer of 32 bits, not %s", a.fn, s.show(v))
	}
	return int(i)
}

var strMethods map[string]func(s *state, t Str, a args) Value

func init() { // the table refers to functions that refer to it
	strMethods = map[string]func(s *state, t Str, a args) Value{
		"strip":        func(s *state, t Str, a args) Value { return s.stripArgs(t, a, true, true) },
		"lstrip":       func(s *state, t Str, a args) Value { return s.stripArgs(t, a, true, false) },
		"rstrip":       func(s *state, t Str, a args) Value { return s.stripArgs(t, a, false, true) },
		"split":        func(s *state, t Str, a args) Value { return s.splitArgs(t, a, false) },
		"rsplit":       func(s *state, t Str, a args) Value { return s.splitArgs(t, a, true) },
		"splitlines":   strSplitLines,
		"partition":    func(s *state, t Str, a args) Value { return s.partition(t, a, strings.Index, false) },
		"rpartition":   func(s *state, t Str, a args) Value { return s.partition(t, a, strings.LastIndex, true) },
		"startswith":   func(s *state, t Str, a args) Value { return s.affix(t, a, strings.HasPrefix) },
		"endswith":     func(s *state, t Str, a args) Value { return s.affix(t, a, strings.HasSuffix) },
		"removeprefix": strRemovePrefix,
		"removesuffix": strRemoveSuffix,
		"upper":        simple(upper),
		"lower":        simple(lower),
		"title":        simple(title),
		"capitalize":   simple(capitalize),
		"replace":      strReplace,
		"join":         strJoin,
		"find":         func(s *state, t Str, a args) Value { return s.find(t, a, strings.Index) },
		"rfind":        func(s *state, t Str, a args) Value { return s.find(t, a, strings.LastIndex) },
		"count":        strCount,
		"isdigit":      isAll(unicode.IsDigit),
		"isnumeric":    isAll(unicode.IsNumber),
		"isalpha":      isAll(unicode.IsLetter),
		"isalnum":      isAll(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isspace":      isAll(isSpace),
		"isupper":      func(s *state, t Str, a args) Value { return isCase(t.s, strings.ToUpper) },
		"islower":      func(s *state, t Str, a args) Value { return isCase(t.s, strings.ToLower) },
	}
}

func simple(f func(Str) Str) func(s *state, t Str, a args) Value {
	return func(s *state, t Str, a args) Value {
		s.bind(a, 0)
		s.charge(len(t.s))
		return f(t)
	}
}

// capitals are the letters that become several as capitals, which strings.ToUpper leaves.
var capitals = strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ",
	"ST", "ﬆ", "ST")

func upper(t Str) Str {
	return t.mapRuns(func(p string) string { return strings.ToUpper(capitals.Replace(p)) })
}
func lower(t Str) Str { return t.mapRuns(strings.ToLower) }

// title makes the first letter of every word a capital, a word being a run of letters, as Python's str.title.
func title(t Str) Str {
	inWord := false
	return t.mapRuns(func(p string) string {
		return strings.Map(func(r rune) rune {
			was := inWord
			inWord = unicode.IsLetter(r)
			if was {
				return unicode.ToLower(r)
			}
			return unicode.ToTitle(r)
		}, p)
	})
}

func capitalize(t Str) Str {
	first := true
	return t.mapRuns(func(p string) string {
		return strings.Map(func(r rune) rune {
			if first {
				first = false
				return unicode.ToTitle(r)
			}
			return unicode.ToLower(r)
		}, p)
	})
}

func isAll(f func(rune) bool) func(s *state, t Str, a args) Value {
	return func(s *state, t Str, a args) Value {
		s.scan(len(t.s))
		return t.s != "" && strings.IndexFunc(t.s, func(r rune) bool { return !f(r) }) < 0
	}
}

func isCase(t string, to func(string) string) bool {
	return to(t) == t &&
		strings.IndexFunc(t, func(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) }) >= 0
}

func (s *state) stripArgs(t Str, a args, left, right bool) Value {
	v, given := s.bind(a, 0, "chars")
	s.charge(len(t.s))
	if !given[0] || v[0] == nil {
		return t.strip(isSpace, left, right)
	}
	cut := s.text(a, v[0]).s
	return t.strip(func(r rune) bool { return strings.ContainsRune(cut, r) }, left, right)
}

func (s *state) splitArgs(t Str, a args, fromRight bool) Value {
	v, given := s.bind(a, 0, "sep", "maxsplit")
	n := s.integer(a, v[1], given[1], -1)
	s.charge(len(t.s))
	var out []Value
	switch {
	case !given[0] || v[0] == nil:
		if fromRight && n >= 0 {
			s.fail("rsplit without a separator but with a limit is not supported")
		}
		s.charge(24 * len(t.s))
		out = t.fields(n)
	default:
		sep := s.text(a, v[0]).s
		if sep == "" {
			s.fail("%s needs a separator that is not empty", a.fn)
		}
		s.charge(48 * strings.Count(t.s, sep))
		if fromRight {
			out = t.rsplit(sep, n)
		} else {
			out = t.split(sep, n)
		}
	}
	return &List{Items: out}
}

func strSplitLines(s *state, t Str, a args) Value {
	v, _ := s.bind(a, 0, "keepends")
	s.charge(48 * len(t.s))
	return &List{Items: t.lines(truth(v[0]))}
}

// partition cuts t at one occurrence of the separator; without one, the whole is last where last is set, else first.
func (s *state) partition(t Str, a args, index func(s, sep string) int, last bool) Value {
	v, _ := s.bind(a, 1, "sep")
	sep := s.text(a, v[0]).s
	s.charge(len(t.s))
	if sep == "" {
		s.fail("%s needs a separator that is not empty", a.fn)
	}
	parts := []Value{t, Str{}, Str{}}
	if last {
		parts = []Value{Str{}, Str{}, t}
	}
	if k := index(t.s, sep); k >= 0 {
		parts = []Value{t.slice(0, k), t.slice(k, k+len(sep)), t.slice(k+len(sep), len(t.s))}
	}
	return &List{Items: parts, Tuple: true}
}

func (s *state) affix(t Str, a args, has func(s, affix string) bool) Value {
	v, _ := s.bind(a, 1, "affix")
	if l, ok := v[0].(*List); ok && l.Tuple {
		for _, item := range l.Items {
			if has(t.s, s.text(a, item).s) {
				return true
			}
		}
		return false
	}
	return has(t.s, s.text(a, v[0]).s)
}

func strRemovePrefix(s *state, t Str, a args) Value {
	v, _ := s.bind(a, 1, "prefix")
	return t.slice(len(t.s)-len(strings.TrimPrefix(t.s, s.text(a, v[0]).s)), len(t.s))
}

func strRemoveSuffix(s *state, t Str, a args) Value {
	v, _ := s.bind(a, 1, "suffix")
	return t.slice(0, len(strings.TrimSuffix(t.s, s.text(a, v[0]).s)))
}

func strReplace(s *state, t Str, a args) Value {
	v, given := s.bind(a, 2, "old", "new", "count")
	return s.replace(t, s.text(a, v[0]), s.text(a, v[1]), s.integer(a, v[2], given[2], -1))
}

func (s *state) replace(t, from, to Str, n int) Str {
	hits := strings.Count(t.s, from.s)
	if n >= 0 {
		hits = min(hits, n)
	}
	s.charge(len(t.s))
	if len(to.s) > 0 && hits > s.limits.Bytes/len(to.s) {
		s.charge(s.limits.Bytes)
	}
	if t.safe && !to.safe {
		to = s.escape(to)
	}
	s.charge(hits * len(to.s))
	return t.replace(from.s, to, n).markup(t.safe)
}

func strJoin(s *state, t Str, a args) Value {
	v, _ := s.bind(a, 1, "iterable")
	items := s.iterate(v[0])
	for i, item := range items {
		if _, ok := item.(Str); !ok {
			s.fail("join needs strings; item %d is of type %s", i, typeName(item))
		}
	}
	if t.safe {
		for i, item := range items {
			items[i] = filterEscape(s, item, a)
		}
	}
	return s.join(t, items).markup(t.safe)
}

func (s *state) join(sep Str, items []Value) Str {
	var b builder
	for i, item := range items {
		if i > 0 {
			s.charge(len(sep.s))
			b.addStr(sep)
		}
		t := s.str(item)
		s.charge(len(t.s))
		b.addStr(t)
	}
	return b.str()
}

func (s *state) find(t Str, a args, index func(s, sub string) int) Value {
	v, _ := s.bind(a, 1, "sub")
	s.scan(len(t.s))
	k := index(t.s, s.text(a, v[0]).s)
	if k < 0 {
		return int64(-1)
	}
	return int64(utf8.RuneCountInString(t.s[:k]))
}

func strCount(s *state, t Str, a args) Value {
	v, _ := s.bind(a, 1, "sub")
	s.scan(len(t.s))
	return int64(strings.Count(t.s, s.text(a, v[0]).s))
}

var dictMethods = map[string]func(s *state, d *Dict, a args) Value{
	"get": func(s *state, d *Dict, a args) Value {
		v, _ := s.bind(a, 1, "key", "default")
		if k := s.hashable(v[0]); d.has(k) {
			return d.get(k)
		}
		return v[1]
	},
	"items": func(s *state, d *Dict, a args) Value {
		s.bind(a, 0)
		return s.dictItems(d)
	},
	"keys": func(s *state, d *Dict, a args) Value {
		s.bind(a, 0)
		return &List{Items: s.iterate(d)}
	},
	"values": func(s *state, d *Dict, a args) Value {
		s.bind(a, 0)
		s.charge(16 * len(d.keys))
		l := &List{}
		for _, k := range d.keys {
			l.Items = append(l.Items, d.get(k))
		}
		return l
	},
	"copy": func(s *state, d *Dict, a args) Value {
		s.bind(a, 0)
		s.charge(64 * len(d.keys))
		return d.copy()
	},
	"pop": func(s *state, d *Dict, a args) Value {
		v, given := s.bind(a, 1, "key", "default")
		k := s.hashable(v[0])
		if !d.has(k) {
			if !given[1] {
				s.fail("the dictionary has no key %s to pop", s.show(v[0]))
			}
			return v[1]
		}
		val := d.get(k)
		s.step(1 + len(d.keys)>>4)
		d.remove(k)
		return val
	},
	"update": func(s *state, d *Dict, a args) Value {
		for _, v := range a.pos {
			other, ok := v.(*Dict)
			if !ok {
				s.fail("update needs a dictionary, not %s", typeName(v))
			}
			s.charge(64 * len(other.keys))
			for _, k := range append([]any(nil), other.keys...) {
				d.set(k, other.vals[k].key, other.get(k))
			}
		}
		for _, k := range a.kw {
			d.Set(k.name, k.val)
		}
		return nil
	},
	"setdefault": func(s *state, d *Dict, a args) Value {
		v, _ := s.bind(a, 1, "key", "default")
		if k := s.hashable(v[0]); d.has(k) {
			return d.get(k)
		}
		s.charge(64)
		s.setKey(d, v[0], v[1])
		return v[1]
	},
}

func (s *state) dictItems(d *Dict) *List {
	s.charge(64 * len(d.keys))
	l := &List{}
	for i, k := range d.keys {
		l.Items = append(l.Items, &List{Items: []Value{d.keyValue(i), d.get(k)}, Tuple: true})
	}
	return l
}

var listMethods = map[string]func(s *state, l *List, a args) Value{
	"append": func(s *state, l *List, a args) Value {
		v, _ := s.bind(a, 1, "object")
		s.charge(16)
		l.Items = append(l.Items, v[0])
		return nil
	},
	"extend": func(s *state, l *List, a args) Value {
		v, _ := s.bind(a, 1, "iterable")
		l.Items = append(l.Items, s.iterate(v[0])...)
		return nil
	},
	"insert": func(s *state, l *List, a args) Value {
		v, given := s.bind(a, 2, "index", "object")
		i := s.integer(a, v[0], given[0], 0)
		if i < 0 {
			i = max(0, i+len(l.Items))
		}
		i = min(i, len(l.Items))
		s.charge(16 + len(l.Items))
		l.Items = append(l.Items[:i:i], append([]Value{v[1]}, l.Items[i:]...)...)
		return nil
	},
	"pop": func(s *state, l *List, a args) Value {
		v, given := s.bind(a, 0, "index")
		i := s.integer(a, v[0], given[0], -1)
		if i < 0 {
			i += len(l.Items)
		}
		if i < 0 || i >= len(l.Items) {
			s.fail("pop from a list of %d: the index is out of range", len(l.Items))
		}
		s.step(1 + len(l.Items)>>4)
		x := l.Items[i]
		l.Items = append(l.Items[:i:i], l.Items[i+1:]...)
		return x
	},
	"reverse": func(s *state, l *List, a args) Value {
		s.step(len(l.Items) >> 4)
		for i, j := 0, len(l.Items)-1; i < j; i, j = i+1, j-1 {
			l.Items[i], l.Items[j] = l.Items[j], l.Items[i]
		}
		return nil
	},
	"copy": func(s *state, l *List, a args) Value { return &List{Items: s.iterate(l)} },
	"index": func(s *state, l *List, a args) Value {
		v, _ := s.bind(a, 1, "value")
		for i, item := range l.Items {
			if s.equal(item, v[0], 0) {
				return int64(i)
			}
		}
		s.fail("%s is not in the list", s.show(v[0]))
		return nil
	},
	"count": func(s *state, l *List, a args) Value {
		v, _ := s.bind(a, 1, "value")
		n := int64(0)
		for _, item := range l.Items {
			if s.equal(item, v[0], 0) {
				n++
			}
		}
		return n
	},
}
