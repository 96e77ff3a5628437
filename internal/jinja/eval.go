package jinja

import (
	"fmt"
	"strings"
)

// maxEval bounds the evaluations nested in each other, and so the stack.
const maxEval = 5000

func (s *state) eval(e expr) Value {
	s.line = e.pos()
	s.step(1)
	if s.nested++; s.nested > maxEval {
		s.limit("expressions and calls nested more than %d levels deep", maxEval)
	}
	v := s.eval1(e)
	s.nested--
	return v
}

func (s *state) eval1(e expr) Value {
	switch e := e.(type) {
	case *constExpr:
		return e.val
	case *nameExpr:
		if v, ok := s.scope.lookup(e.name); ok {
			return v
		}
		return &Undefined{"'" + e.name + "' is undefined"}
	case *attrExpr:
		obj := s.eval(e.obj)
		s.line = e.pos()
		return s.getAttr(obj, e.name)
	case *itemExpr:
		obj := s.eval(e.obj)
		if sl, ok := e.key.(*sliceExpr); ok {
			return s.slice(obj, sl)
		}
		key := s.eval(e.key)
		s.line = e.pos()
		return s.getItem(obj, key)
	case *sliceExpr:
		s.fail("a slice stands outside a subscript")
	case *callExpr:
		return s.evalCall(e, nil)
	case *filterExpr:
		v := s.eval(e.operand)
		a := s.evalArgs(e.name, e.args)
		s.line = e.pos()
		return e.fn(s, v, a)
	case *testExpr:
		v := s.eval(e.operand)
		a := s.evalArgs(e.name, e.args)
		s.line = e.pos()
		return e.fn(s, v, a) != e.negate
	case *condExpr:
		if truth(s.eval(e.test)) {
			return s.eval(e.then)
		}
		if e.orelse == nil {
			return &Undefined{"the inline if-expression evaluated to false and no else section was defined"}
		}
		return s.eval(e.orelse)
	case *logicExpr:
		v := s.eval(e.left)
		if truth(v) == e.or {
			return v
		}
		return s.eval(e.right)
	case *notExpr:
		return !truth(s.eval(e.operand))
	case *unaryExpr:
		return s.unary(e.op, s.eval(e.operand))
	case *binaryExpr:
		a, b := s.eval(e.left), s.eval(e.right)
		s.line = e.pos()
		return s.binary(e.op, a, b)
	case *compareExpr:
		return s.evalCompare(e)
	case *listExpr:
		return s.evalList(e)
	case *dictExpr:
		return s.evalDict(e)
	}
	panic(fmt.Sprintf("jinja: no evaluation for %T", e))
}

func (s *state) evalList(e *listExpr) Value {
	l := &List{Tuple: e.tuple, Items: make([]Value, len(e.items))}
	s.charge(16 * len(e.items))
	for i, item := range e.items {
		l.Items[i] = s.eval(item)
	}
	return l
}

func (s *state) evalDict(e *dictExpr) Value {
	d := NewDict()
	s.charge(64 * len(e.keys))
	for i, k := range e.keys {
		s.setKey(d, s.eval(k), s.eval(e.vals[i]))
	}
	return d
}

func (s *state) setKey(d *Dict, key, val Value) {
	t, _ := key.(Str)
	d.set(s.hashable(key), t, val)
}

func (s *state) evalCompare(e *compareExpr) Value {
	left := s.eval(e.left)
	for i, op := range e.ops {
		right := s.eval(e.rest[i])
		s.line = e.pos()
		var ok bool
		switch op {
		case "==":
			ok = s.equal(left, right, 0)
		case "!=":
			ok = !s.equal(left, right, 0)
		case "in":
			ok = s.contains(right, left)
		case "not in":
			ok = !s.contains(right, left)
		case "<":
			ok = s.compare(op, left, right, 0) < 0
		case "<=":
			ok = s.compare(op, left, right, 0) <= 0
		case ">":
			ok = s.compare(op, left, right, 0) > 0
		case ">=":
			ok = s.compare(op, left, right, 0) >= 0
		}
		if !ok {
			return false
		}
		left = right
	}
	return true
}

// contains is Python's "in".
func (s *state) contains(in, v Value) bool {
	switch in := in.(type) {
	case Str:
		t, ok := v.(Str)
		if !ok {
			s.fail("'in' on a string needs a string on its left, not %s", typeName(v))
		}
		s.scan(len(in.s))
		return strings.Contains(in.s, t.s)
	case *Dict:
		return in.has(s.hashable(v))
	case *List:
		for _, item := range in.Items {
			if s.equal(item, v, 0) {
				return true
			}
		}
		return false
	case *Undefined:
		return false
	}
	s.fail("'in' needs a string, list or dictionary on its right, not %s", typeName(in))
	return false
}

// defined fails where v is undefined.
func (s *state) defined(v Value) {
	if u, ok := v.(*Undefined); ok {
		s.fail("%s", u.what)
	}
}

// getAttr is obj.name: an attribute or method first, then an item.
func (s *state) getAttr(obj Value, name string) Value {
	s.defined(obj)
	if f := method(obj, name); f != nil {
		return f
	}
	switch obj := obj.(type) {
	case *Dict:
		if obj.has(name) {
			return obj.get(name)
		}
	case *Namespace:
		if obj.vars.has(name) {
			return obj.vars.get(name)
		}
	case *loop:
		if v, ok := s.loopAttr(obj, name); ok {
			return v
		}
	}
	return &Undefined{fmt.Sprintf("'%s object' has no attribute '%s'", typeName(obj), name)}
}

// getItem is obj[key]: an item first, then an attribute or method.
func (s *state) getItem(obj, key Value) Value {
	s.defined(obj)
	switch o := obj.(type) {
	case *Dict:
		if k := s.hashable(key); o.has(k) {
			return o.get(k)
		}
	case *List:
		if i, _, isInt, ok := number(key); ok && isInt {
			if i < 0 {
				i += int64(len(o.Items))
			}
			if i >= 0 && i < int64(len(o.Items)) {
				return o.Items[i]
			}
		}
	case Str:
		if i, _, isInt, ok := number(key); ok && isInt {
			s.scan(len(o.s))
			off := o.offsets()
			if i < 0 {
				i += int64(len(off) - 1)
			}
			if i >= 0 && i < int64(len(off)-1) {
				return o.slice(off[i], off[i+1])
			}
		}
	}
	if name, ok := key.(Str); ok {
		if _, isDict := obj.(*Dict); !isDict {
			return s.getAttr(obj, name.s)
		}
		if f := method(obj, name.s); f != nil {
			return f
		}
	}
	return &Undefined{fmt.Sprintf("'%s object' has no element %s", typeName(obj), s.show(key))}
}

// show gives a short printed form for messages.
func (s *state) show(v Value) string {
	var b builder
	s.repr(&b, v, 0)
	t := b.str().s
	if len(t) > 60 {
		t = strings.ToValidUTF8(t[:60], "") + "…"
	}
	return t
}

// slice is obj[start:stop:step].
func (s *state) slice(obj Value, e *sliceExpr) Value {
	var parts [3]*int64
	for i, x := range []expr{e.start, e.stop, e.step} {
		if x == nil {
			continue
		}
		v := s.eval(x)
		if v == nil {
			continue
		}
		n, _, isInt, ok := number(v)
		if !ok || !isInt {
			s.defined(v)
			s.fail("a slice needs integers, not %s", typeName(v))
		}
		parts[i] = &n
	}
	s.line = e.pos()
	s.defined(obj)
	switch o := obj.(type) {
	case *List:
		l := &List{Tuple: o.Tuple}
		for _, i := range s.sliceIndices(len(o.Items), parts) {
			l.Items = append(l.Items, o.Items[i])
		}
		s.charge(16 * len(l.Items))
		return l
	case Str:
		s.charge(len(o.s))
		off := o.offsets()
		idx := s.sliceIndices(len(off)-1, parts)
		if parts[2] == nil || *parts[2] == 1 {
			if len(idx) == 0 {
				return Str{}
			}
			return o.slice(off[idx[0]], off[idx[len(idx)-1]+1])
		}
		var b builder
		for _, i := range idx {
			b.addSub(o, off[i], off[i+1])
		}
		return b.str()
	}
	s.fail("a value of type %s cannot be sliced", typeName(obj))
	return nil
}

// sliceIndices lists the indices that a slice takes of a sequence of n, by Python's rules.
func (s *state) sliceIndices(n int, parts [3]*int64) []int {
	step := int64(1)
	if parts[2] != nil {
		step = *parts[2]
	}
	if step == 0 {
		s.fail("the step of a slice is 0")
	}
	lo, hi := int64(0), int64(n)
	if step < 0 {
		lo, hi = -1, int64(n)-1
	}
	clamp := func(p *int64, def int64) int64 {
		if p == nil {
			return def
		}
		v := *p
		if v < 0 {
			v += int64(n)
		}
		return max(lo, min(hi, v))
	}
	start, stop := clamp(parts[0], lo), clamp(parts[1], hi)
	if step < 0 {
		start, stop = clamp(parts[0], hi), clamp(parts[1], lo)
	}
	var idx []int
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		idx = append(idx, int(i))
		if step > int64(n) || step < -int64(n) {
			break // the next would be past the end, and the sum could overflow
		}
	}
	s.step(len(idx) >> 4)
	return idx
}

// args are the evaluated arguments of a call.
type args struct {
	fn  string // the name called, for messages
	pos []Value
	kw  []kwArg
}

type kwArg struct {
	name string
	val  Value
}

func (a args) kwMap() map[string]Value {
	m := make(map[string]Value, len(a.kw))
	for _, k := range a.kw {
		m[k.name] = k.val
	}
	return m
}

func (s *state) evalArgs(fn string, e argExprs) args {
	a := args{fn: fn}
	for _, x := range e.pos {
		a.pos = append(a.pos, s.eval(x))
	}
	if e.star != nil {
		a.pos = append(a.pos, s.iterate(s.eval(e.star))...)
	}
	for _, k := range e.kw {
		a.kw = append(a.kw, kwArg{k.name, s.eval(k.val)})
	}
	if e.dict != nil {
		d, ok := s.eval(e.dict).(*Dict)
		if !ok {
			s.fail("the argument after ** must be a dictionary")
		}
		for _, k := range d.keys {
			name, ok := k.(string)
			if !ok {
				s.fail("the keys of the dictionary after ** must be strings")
			}
			a.kw = append(a.kw, kwArg{name, d.get(k)})
		}
	}
	return a
}

func (s *state) evalCall(e *callExpr, caller *function) Value {
	fn := s.eval(e.fn)
	s.line = e.pos()
	s.defined(fn)
	name := "value"
	if f, ok := fn.(*function); ok {
		name = f.name
	}
	a := s.evalArgs(name, e.args)
	if caller != nil {
		a.kw = append(a.kw, kwArg{"caller", caller})
	}
	s.line = e.pos()
	switch f := fn.(type) {
	case *function:
		return f.call(s, a)
	case *loop:
		if !f.node.recursive || len(a.pos) != 1 {
			s.fail("loop() needs a loop tag with \"recursive\" and one argument")
		}
		var text Str
		s.deeper(func() {
			defer s.enterScope(f.scope)()
			outer := s.out
			s.out = &builder{}
			s.execFor(f.node, a.pos[0], f.depth+1)
			text, s.out = s.out.str(), outer
		})
		return text
	}
	s.fail("a value of type %s cannot be called", typeName(fn))
	return nil
}

// bind assigns the arguments to the parameters named, of which the first n are required; one that is absent is left nil
// in the slice and false in the second result.
func (s *state) bind(a args, required int, params ...string) ([]Value, []bool) {
	vals, given := make([]Value, len(params)), make([]bool, len(params))
	if len(a.pos) > len(params) {
		s.fail("%s takes at most %d arguments, got %d", a.fn, len(params), len(a.pos))
	}
	for i, v := range a.pos {
		vals[i], given[i] = v, true
	}
next:
	for _, k := range a.kw {
		for i, p := range params {
			if p == k.name {
				if given[i] {
					s.fail("%s got the argument %q twice", a.fn, p)
				}
				vals[i], given[i] = k.val, true
				continue next
			}
		}
		s.fail("%s takes no argument named %q", a.fn, k.name)
	}
	for i := 0; i < required; i++ {
		if !given[i] {
			s.fail("%s needs the argument %q", a.fn, params[i])
		}
	}
	return vals, given
}
