package jinja

import "strings"

// A testFunc is what "is" calls. Its table is fixed: tests are looked up when a template is parsed.
type testFunc func(s *state, v Value, a args) bool

var tests map[string]testFunc

func init() { // the tests named test and filter refer to the tables
	ordering := func(op string, ok func(int) bool) testFunc {
		return func(s *state, v Value, a args) bool {
			p, _ := s.bind(a, 1, "other")
			return ok(s.compare(op, v, p[0], 0))
		}
	}
	equal := func(s *state, v Value, a args) bool {
		p, _ := s.bind(a, 1, "other")
		return s.equal(v, p[0], 0)
	}
	ne := func(s *state, v Value, a args) bool { return !equal(s, v, a) }
	lt := ordering("<", func(c int) bool { return c < 0 })
	le := ordering("<=", func(c int) bool { return c <= 0 })
	gt := ordering(">", func(c int) bool { return c > 0 })
	ge := ordering(">=", func(c int) bool { return c >= 0 })
	tests = map[string]testFunc{
		"defined":     func(s *state, v Value, a args) bool { _, ok := v.(*Undefined); return !ok },
		"undefined":   func(s *state, v Value, a args) bool { _, ok := v.(*Undefined); return ok },
		"none":        func(s *state, v Value, a args) bool { return v == nil },
		"string":      func(s *state, v Value, a args) bool { _, ok := v.(Str); return ok },
		"number":      func(s *state, v Value, a args) bool { _, _, _, ok := number(v); return ok },
		"integer":     isInteger,
		"float":       func(s *state, v Value, a args) bool { _, ok := v.(float64); return ok },
		"boolean":     func(s *state, v Value, a args) bool { _, ok := v.(bool); return ok },
		"true":        func(s *state, v Value, a args) bool { return v == true },
		"false":       func(s *state, v Value, a args) bool { return v == false },
		"mapping":     func(s *state, v Value, a args) bool { _, ok := v.(*Dict); return ok },
		"iterable":    isSequence,
		"sequence":    isSequence,
		"callable":    func(s *state, v Value, a args) bool { _, ok := v.(*function); return ok },
		"sameas":      isSame,
		"eq":          equal,
		"equalto":     equal,
		"ne":          ne,
		"lt":          lt,
		"lessthan":    lt,
		"le":          le,
		"gt":          gt,
		"greaterthan": gt,
		"ge":          ge,
		"in": func(s *state, v Value, a args) bool {
			p, _ := s.bind(a, 1, "seq")
			return s.contains(p[0], v)
		},
		"even": func(s *state, v Value, a args) bool { return s.mod(a, v, 2) == 0 },
		"odd":  func(s *state, v Value, a args) bool { return s.mod(a, v, 2) == 1 },
		"divisibleby": func(s *state, v Value, a args) bool {
			p, _ := s.bind(a, 1, "num")
			return s.mod(a, v, s.integer(a, p[0], true, 0)) == 0
		},
		"lower":  func(s *state, v Value, a args) bool { return isCase(s.str(v).s, strings.ToLower) },
		"upper":  func(s *state, v Value, a args) bool { return isCase(s.str(v).s, strings.ToUpper) },
		"filter": func(s *state, v Value, a args) bool { _, ok := filters[s.str(v).s]; return ok },
		"test":   func(s *state, v Value, a args) bool { _, ok := tests[s.str(v).s]; return ok },
	}
}

func isInteger(s *state, v Value, a args) bool {
	switch v.(type) {
	case int64, rawNumber:
		return true
	}
	return false
}

// isSequence is true for undefined values too: in jinja2 they iterate as nothing.
func isSequence(s *state, v Value, a args) bool {
	switch v.(type) {
	case Str, *List, *Dict, *Undefined:
		return true
	}
	return false
}

func isSame(s *state, v Value, a args) bool {
	p, _ := s.bind(a, 1, "other")
	switch v.(type) {
	case *List, *Dict, nil, bool, *Namespace, *function:
		return v == p[0]
	}
	return typeName(v) == typeName(p[0]) && s.equal(v, p[0], 0)
}

func (s *state) mod(a args, v Value, n int) int {
	i := s.integer(a, v, true, 0)
	if n == 0 {
		s.fail("division by zero")
	}
	return ((i % n) + n) % n
}
