package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// A Value is what a template computes with: nil (none), bool, int64, float64, Str, *List, *Dict, *Undefined,
// *Namespace, *loop, *function, or rawNumber.
type Value any

type (
	// A List is a list or, with Tuple set, a tuple.
	List struct {
		Items []Value
		Tuple bool
	}

	// Undefined is the value of a name or attribute that does not exist. It prints as nothing and fails when it is
	// used.
	Undefined struct {
		what string // "'x'", "'dict' has no attribute 'y'"
	}

	// A Namespace holds attributes that a template may set from within a loop.
	Namespace struct{ vars *Dict }

	// A function is anything that can be called: a builtin, a method bound to its object, a macro.
	function struct {
		name string
		call func(s *state, a args) Value
	}

	// A rawNumber is an integer of a JSON document that does not fit an int64. It is printed as it was written.
	rawNumber string
)

// A Dict is a dictionary that keeps the order of its keys. Keys are string, int64, float64, bool or nil.
type Dict struct {
	keys []any
	vals map[any]entry
}

type entry struct {
	val Value
	key Str // the key with its marks, of a string key
}

// NewDict gives an empty dictionary.
func NewDict() *Dict { return &Dict{vals: map[any]entry{}} }

// Set sets a key; a new one goes to the end.
func (d *Dict) Set(key string, v Value) { d.set(key, plain(key), v) }

// SetMarked is Set with a key that carries its origin into tojson and items.
func (d *Dict) SetMarked(key Str, v Value) { d.set(key.s, key, v) }

// Len gives the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

func (d *Dict) set(key any, marked Str, v Value) {
	if _, ok := d.vals[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.vals[key] = entry{v, marked}
}

func (d *Dict) get(key any) Value { return d.vals[key].val }

func (d *Dict) has(key any) bool { _, ok := d.vals[key]; return ok }

func (d *Dict) remove(key any) {
	delete(d.vals, key)
	for i, k := range d.keys {
		if k == key {
			d.keys = append(d.keys[:i:i], d.keys[i+1:]...)
			return
		}
	}
}

// keyValue gives key i as a value.
func (d *Dict) keyValue(i int) Value {
	switch k := d.keys[i].(type) {
	case string:
		return d.vals[k].key
	case undefinedKey:
		return &Undefined{"the key is undefined"}
	}
	return d.keys[i]
}

func (d *Dict) copy() *Dict {
	c := NewDict()
	for _, k := range d.keys {
		c.set(k, d.vals[k].key, d.vals[k].val)
	}
	return c
}

type undefinedKey struct{}

// hashable gives the Go key for a value used as a dictionary key. Numbers that are equal are one key, as in Python.
func (s *state) hashable(v Value) any {
	switch v := v.(type) {
	case Str:
		return v.s
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
		return v
	case nil, int64:
		return v
	case *Undefined:
		return undefinedKey{} // jinja2 hashes all undefined values alike
	}
	s.fail("a value of type %s cannot be the key of a dictionary", typeName(v))
	return nil
}

// typeName is Python's name for the type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, rawNumber:
		return "int"
	case float64:
		return "float"
	case Str:
		return "str"
	case *List:
		if v.Tuple {
			return "tuple"
		}
		return "list"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *Namespace:
		return "Namespace"
	case *loop:
		return "LoopContext"
	}
	return "function"
}

func truth(v Value) bool {
	switch v := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case Str:
		return v.s != ""
	case *List:
		return len(v.Items) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

// maxDepth bounds the recursion over values, which can be cyclic (a list appended to itself).
const maxDepth = 300

// str is Python's str().
func (s *state) str(v Value) Str {
	switch v := v.(type) {
	case Str:
		return v
	case *Undefined:
		return Str{}
	}
	var b builder
	s.repr(&b, v, 0)
	s.charge(b.len())
	return b.str()
}

// repr writes Python's repr().
func (s *state) repr(b *builder, v Value, depth int) {
	if depth > maxDepth {
		s.limit("a value nested more than %d levels deep was printed", maxDepth)
	}
	s.step(1)
	switch v := v.(type) {
	case nil:
		b.addPlain("None")
	case bool:
		if v {
			b.addPlain("True")
		} else {
			b.addPlain("False")
		}
	case int64:
		b.addPlain(strconv.FormatInt(v, 10))
	case float64:
		b.addPlain(floatRepr(v))
	case rawNumber:
		b.addPlain(string(v))
	case Str:
		s.charge(len(v.s))
		quote := "'"
		if strings.Contains(v.s, "'") && !strings.Contains(v.s, `"`) {
			quote = `"`
		}
		b.addPlain(quote)
		b.addStr(v.mapRuns(func(t string) string { return reprText(t, quote[0]) }))
		b.addPlain(quote)
	case *List:
		open, end := "[", "]"
		if v.Tuple {
			open, end = "(", ")"
			if len(v.Items) == 1 {
				end = ",)"
			}
		}
		b.addPlain(open)
		for i, item := range v.Items {
			if i > 0 {
				b.addPlain(", ")
			}
			s.repr(b, item, depth+1)
		}
		b.addPlain(end)
	case *Dict:
		b.addPlain("{")
		for i, k := range v.keys {
			if i > 0 {
				b.addPlain(", ")
			}
			s.repr(b, v.keyValue(i), depth+1)
			b.addPlain(": ")
			s.repr(b, v.get(k), depth+1)
		}
		b.addPlain("}")
	case *Undefined:
		b.addPlain("Undefined")
	case *Namespace:
		b.addPlain("<Namespace ")
		s.repr(b, v.vars, depth+1)
		b.addPlain(">")
	case *loop:
		b.addPlain("<LoopContext " + strconv.Itoa(v.i+1) + "/" + strconv.Itoa(len(v.items)) + ">")
	case *function:
		b.addPlain("<function " + v.name + ">")
	}
}

func reprText(t string, quote byte) string {
	var b strings.Builder
	for _, r := range t {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	return b.String()
}

func hex(r rune, n int) string {
	h := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", max(0, n-len(h))) + h
}

// floatRepr is Python's repr of a float.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	t := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(t, ".") {
		t += ".0"
	}
	return t
}

// number gives a value as a number: an int64 (isInt) or a float64. Booleans are 0 and 1.
func number(v Value) (i int64, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	case rawNumber:
		f, err := strconv.ParseFloat(string(v), 64)
		return 0, f, false, err == nil
	}
	return 0, 0, false, false
}

// equal is Python's ==.
func (s *state) equal(a, b Value, depth int) bool {
	if depth > maxDepth {
		s.limit("values nested more than %d levels deep were compared", maxDepth)
	}
	s.step(1)
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		if aInt && bInt {
			return ok && ai == bi
		}
		return ok && af == bf
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case Str:
		t, ok := b.(Str)
		s.scan(len(a.s))
		return ok && a.s == t.s
	case *List:
		t, ok := b.(*List)
		if !ok || a.Tuple != t.Tuple || len(a.Items) != len(t.Items) {
			return false
		}
		for i := range a.Items {
			if !s.equal(a.Items[i], t.Items[i], depth+1) {
				return false
			}
		}
		return true
	case *Dict:
		t, ok := b.(*Dict)
		if !ok || len(a.keys) != len(t.keys) {
			return false
		}
		for _, k := range a.keys {
			if !t.has(k) || !s.equal(a.get(k), t.get(k), depth+1) {
				return false
			}
		}
		return true
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok
	}
	return a == b
}

// compare orders two values, as Python's < does; values it does not order fail.
func (s *state) compare(op string, a, b Value, depth int) int {
	if depth > maxDepth {
		s.limit("values nested more than %d levels deep were compared", maxDepth)
	}
	s.step(1)
	if ai, af, aInt, ok := number(a); ok {
		if bi, bf, bInt, ok := number(b); ok {
			switch {
			case aInt && bInt && ai < bi, !(aInt && bInt) && af < bf:
				return -1
			case aInt && bInt && ai > bi, !(aInt && bInt) && af > bf:
				return 1
			}
			return 0
		}
	}
	switch x := a.(type) {
	case Str:
		if y, ok := b.(Str); ok {
			s.scan(len(x.s))
			return strings.Compare(x.s, y.s)
		}
	case *List:
		if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
			for i := 0; i < len(x.Items) && i < len(y.Items); i++ {
				if !s.equal(x.Items[i], y.Items[i], depth+1) {
					return s.compare(op, x.Items[i], y.Items[i], depth+1)
				}
			}
			return len(x.Items) - len(y.Items)
		}
	}
	s.defined(a)
	s.defined(b)
	s.fail("%q is not supported between %s and %s", op, typeName(a), typeName(b))
	return 0
}

// inputSize estimates the bytes of a value handed in by the caller, for the limits.
func inputSize(v Value, depth int) int {
	n := 16
	if depth > maxDepth {
		return n
	}
	switch v := v.(type) {
	case Str:
		return n + len(v.s)
	case *List:
		for _, item := range v.Items {
			n += inputSize(item, depth+1)
		}
	case *Dict:
		for _, e := range v.vals {
			n += len(e.key.s) + inputSize(e.val, depth+1)
		}
	}
	return n
}
