package jinja

import (
	"sort"
	"strconv"
	"strings"
)

// path gives an attribute named by a string with dots, or an item named by an integer, as the attribute argument of
// many filters.
func (s *state) path(v, attr Value) Value {
	name, ok := attr.(Str)
	if !ok {
		return s.getItem(v, attr)
	}
	for _, part := range strings.Split(name.s, ".") {
		if n, err := strconv.ParseInt(part, 10, 32); err == nil {
			v = s.getItem(v, n)
		} else {
			v = s.getItem(v, plain(part))
		}
	}
	return v
}

// filterMap is map('filter', args…) or map(attribute='a', default=…).
func filterMap(s *state, v Value, a args) Value {
	items := s.iterateTrue(v)
	kw := a.kwMap()
	if attr, ok := kw["attribute"]; ok && len(a.pos) == 0 {
		def, hasDef := kw["default"]
		for i, item := range items {
			x := s.path(item, attr)
			if _, undef := x.(*Undefined); undef && hasDef {
				x = def
			}
			items[i] = x
		}
		return &List{Items: items}
	}
	if len(a.pos) == 0 {
		s.fail("map needs the name of a filter, or attribute=")
	}
	name := s.text(a, a.pos[0]).s
	f, ok := filters[name]
	if !ok {
		s.fail("the filter %q is unknown; known: %s", name, names(filters))
	}
	// Filters that call filters by name can call each other without end in no template that parses, but they nest.
	s.deeper(func() {
		for i, item := range items {
			s.step(1)
			items[i] = f(s, item, args{fn: name, pos: a.pos[1:], kw: a.kw})
		}
	})
	return &List{Items: items}
}

// iterateTrue gives the items of v, none of anything that is false: map, select and their like take none too.
func (s *state) iterateTrue(v Value) []Value {
	if !truth(v) {
		return nil
	}
	return s.iterate(v)
}

// selector makes select and reject, and their forms that look at an attribute.
func selector(attr, keep bool) filterFunc {
	return func(s *state, v Value, a args) Value {
		rest := a.pos
		var by Value
		if attr {
			if len(rest) == 0 {
				s.fail("%s needs the name of an attribute", a.fn)
			}
			by, rest = rest[0], rest[1:]
		}
		test := func(v Value) bool { return truth(v) }
		if len(rest) > 0 {
			name := s.text(a, rest[0]).s
			f, ok := tests[testAlias(name)]
			if !ok {
				s.fail("the test %q is unknown; known: %s", name, names(tests))
			}
			test = func(v Value) bool { return f(s, v, args{fn: name, pos: rest[1:], kw: a.kw}) }
		}
		out := &List{}
		for _, item := range s.iterateTrue(v) {
			s.step(1)
			x := item
			if attr {
				x = s.path(item, by)
			}
			if test(x) == keep {
				out.Items = append(out.Items, item)
			}
		}
		return out
	}
}

// testAlias gives the test that an operator names, as in selectattr('role', '==', 'user').
func testAlias(name string) string {
	switch name {
	case "==":
		return "eq"
	case "!=":
		return "ne"
	case "<":
		return "lt"
	case "<=":
		return "le"
	case ">":
		return "gt"
	case ">=":
		return "ge"
	}
	return name
}

// sortKey is what sort, unique, min and max compare: the attribute, with strings in lower case unless asked otherwise.
func (s *state) sortKey(v, attr Value, caseSensitive bool) Value {
	if attr != nil {
		v = s.path(v, attr)
	}
	if t, ok := v.(Str); ok && !caseSensitive {
		s.charge(len(t.s))
		return plain(strings.ToLower(t.s))
	}
	return v
}

type keyed struct{ key, val Value }

func (s *state) keyed(items []Value, attr Value, caseSensitive bool) []keyed {
	ks := make([]keyed, len(items))
	for i, item := range items {
		ks[i] = keyed{s.sortKey(item, attr, caseSensitive), item}
	}
	return ks
}

func filterSort(s *state, v Value, a args) Value {
	p, _ := s.bind(a, 0, "reverse", "case_sensitive", "attribute")
	ks := s.keyed(s.iterate(v), p[2], truth(p[1]))
	reverse := truth(p[0])
	sort.SliceStable(ks, func(i, j int) bool {
		if reverse {
			return s.compare("<", ks[j].key, ks[i].key, 0) < 0
		}
		return s.compare("<", ks[i].key, ks[j].key, 0) < 0
	})
	out := &List{}
	for _, k := range ks {
		out.Items = append(out.Items, k.val)
	}
	return out
}

func filterUnique(s *state, v Value, a args) Value {
	p, _ := s.bind(a, 0, "case_sensitive", "attribute")
	seen := map[any]bool{}
	out := &List{}
	for _, k := range s.keyed(s.iterate(v), p[1], truth(p[0])) {
		if h := s.hashable(k.key); !seen[h] {
			seen[h] = true
			out.Items = append(out.Items, k.val)
		}
	}
	return out
}

func filterSum(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "attribute", "start")
	sum := Value(int64(0))
	if given[1] {
		sum = p[1]
	}
	for _, item := range s.iterate(v) {
		s.step(1)
		if p[0] != nil {
			item = s.path(item, p[0])
		}
		sum = s.binary("+", sum, item)
	}
	return sum
}

// extreme makes min (sign -1) and max (sign 1).
func extreme(sign int) filterFunc {
	return func(s *state, v Value, a args) Value {
		p, _ := s.bind(a, 0, "case_sensitive", "attribute")
		ks := s.keyed(s.iterate(v), p[1], truth(p[0]))
		if len(ks) == 0 {
			return &Undefined{"the sequence is empty"}
		}
		best := ks[0]
		for _, k := range ks[1:] {
			if s.compare("<", k.key, best.key, 0)*sign > 0 {
				best = k
			}
		}
		return best.val
	}
}

func filterDictSort(s *state, v Value, a args) Value {
	p, given := s.bind(a, 0, "case_sensitive", "by", "reverse")
	d, ok := v.(*Dict)
	if !ok {
		s.defined(v)
		s.fail("dictsort needs a dictionary, not %s", typeName(v))
	}
	by := int64(0)
	if given[1] {
		switch s.text(a, p[1]).s {
		case "key":
		case "value":
			by = 1
		default:
			s.fail("dictsort sorts by key or by value")
		}
	}
	kw := []kwArg{{"attribute", by}, {"case_sensitive", p[0]}, {"reverse", p[2]}}
	return filterSort(s, s.dictItems(d), args{fn: "sort", kw: kw})
}

func filterBatch(s *state, v Value, a args) Value {
	p, given := s.bind(a, 1, "linecount", "fill_with")
	n := s.integer(a, p[0], true, 1)
	if n < 1 {
		s.fail("batch needs a size of at least 1")
	}
	out := &List{}
	items := s.iterate(v)
	for i := 0; i < len(items); i += n {
		part := &List{Items: items[i:min(i+n, len(items)):min(i+n, len(items))]}
		for given[1] && p[1] != nil && len(part.Items) < n {
			s.charge(16)
			part.Items = append(part.Items, p[1])
		}
		out.Items = append(out.Items, part)
	}
	return out
}
