package jinja

import (
	"fmt"
	"time"
)

// A scope holds the names assigned in one block.
type scope struct {
	parent *scope
	vars   map[string]Value
}

func (c *scope) set(name string, v Value) {
	if c.vars == nil {
		c.vars = map[string]Value{}
	}
	c.vars[name] = v
}

func (c *scope) lookup(name string) (Value, bool) {
	for ; c != nil; c = c.parent {
		if v, ok := c.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// A state is one rendering under way.
type state struct {
	limits Limits
	now    time.Time
	scope  *scope
	out    *builder
	line   int // of the node being evaluated, for messages
	steps  int
	bytes  int
	calls  int // macro calls and recursive loops under way
	nested int // evaluations under way
}

func (s *state) fail(format string, args ...any) {
	panic(&Error{Line: s.line, Message: fmt.Sprintf(format, args...)})
}

func (s *state) limit(format string, args ...any) {
	panic(&Error{Line: s.line, Limit: true, Message: "stopped: " + fmt.Sprintf(format, args...)})
}

// step counts n steps.
func (s *state) step(n int) {
	if s.steps += n; s.steps > s.limits.Steps {
		s.limit("it took more than %d steps; it loops for ever or does far too much", s.limits.Steps)
	}
}

// scan counts reading n bytes.
func (s *state) scan(n int) { s.step(n >> 8) }

// charge counts building n bytes. It is called before they are built where n can be large.
func (s *state) charge(n int) {
	if n > s.limits.Bytes || s.bytes > s.limits.Bytes-n {
		s.limit("it built more than %d bytes of strings and lists", s.limits.Bytes)
	}
	s.bytes += n
	s.step(n >> 8)
}

// write appends to the output under construction.
func (s *state) write(t Str) {
	s.charge(len(t.s))
	if s.out.len()+len(t.s) > s.limits.Output {
		s.limit("its output grew beyond %d bytes", s.limits.Output)
	}
	s.out.addStr(t)
}

type signal uint8

const (
	goOn signal = iota
	doBreak
	doContinue
)

func (s *state) execAll(body []node) signal {
	for _, n := range body {
		if sig := s.exec(n); sig != goOn {
			return sig
		}
	}
	return goOn
}

func (s *state) exec(n node) signal {
	s.line = n.pos()
	s.step(1)
	switch n := n.(type) {
	case *dataNode:
		s.write(n.text)
	case *outputNode:
		s.write(s.str(s.eval(n.expr)))
	case *ifNode:
		for i, t := range n.tests {
			if truth(s.eval(t)) {
				return s.execAll(n.bodies[i])
			}
		}
		return s.execAll(n.orelse)
	case *forNode:
		s.execFor(n, s.eval(n.iter), 0)
	case *setNode:
		s.assign(n.target, s.eval(n.expr), s.scope)
	case *setBlockNode:
		s.assign(n.target, s.filtered(s.capture(n.body), n.filters), s.scope)
	case *macroNode:
		s.scope.set(n.name, s.macro(n, s.scope))
	case *callNode:
		caller := s.macro(n.caller, s.scope)
		s.write(s.str(s.evalCall(n.call, caller)))
	case *filterNode:
		s.write(s.str(s.filtered(s.capture(n.body), n.filters)))
	case *withNode:
		inner := &scope{parent: s.scope}
		for i, t := range n.targets {
			s.assign(t, s.eval(n.values[i]), inner)
		}
		defer s.enterScope(inner)()
		return s.execAll(n.body)
	case *generationNode:
		outer := s.out
		s.out = &builder{}
		defer s.enterScope(&scope{parent: s.scope})()
		sig := s.execAll(n.body)
		text := s.out.str().generated()
		s.out = outer
		s.write(text)
		return sig
	case *breakNode:
		return doBreak
	case *continueNode:
		return doContinue
	}
	return goOn
}

// enterScope makes c the current scope; the returned function restores the old one.
func (s *state) enterScope(c *scope) func() {
	old := s.scope
	s.scope = c
	return func() { s.scope = old }
}

// capture renders a body into a string of its own, in a scope of its own.
func (s *state) capture(body []node) Str {
	outer := s.out
	s.out = &builder{}
	defer s.enterScope(&scope{parent: s.scope})()
	s.execAll(body)
	text := s.out.str()
	s.out = outer
	return text
}

func (s *state) filtered(v Value, fs []*filterExpr) Value {
	for _, f := range fs {
		s.line = f.pos()
		v = f.fn(s, v, s.evalArgs(f.name, f.args))
	}
	return v
}

// assign writes v to a target; plain names go to the given scope.
func (s *state) assign(t target, v Value, to *scope) {
	switch {
	case t.list != nil:
		items := s.iterate(v)
		if len(items) != len(t.list) {
			s.fail("%d values cannot be assigned to %d names", len(items), len(t.list))
		}
		for i, sub := range t.list {
			s.assign(sub, items[i], to)
		}
	case t.attr != "":
		obj, _ := s.scope.lookup(t.name)
		ns, ok := obj.(*Namespace)
		if !ok {
			s.fail("%s.%s cannot be assigned: only attributes of a namespace() can", t.name, t.attr)
		}
		s.charge(16)
		ns.vars.Set(t.attr, v)
	default:
		to.set(t.name, v)
	}
}

// A loop is the variable "loop" of a for block.
type loop struct {
	items   []Value
	i       int
	depth   int // 0-based
	node    *forNode
	scope   *scope // in which the loop stands
	changed Value
	seen    bool // changed holds a value
}

func (s *state) execFor(n *forNode, over Value, depth int) {
	items := s.iterate(over)
	if n.filter != nil {
		var kept []Value
		for _, item := range items {
			inner := &scope{parent: s.scope}
			s.assign(n.target, item, inner)
			restore := s.enterScope(inner)
			s.step(1)
			if truth(s.eval(n.filter)) {
				kept = append(kept, item)
			}
			restore()
		}
		items = kept
	}
	if len(items) == 0 {
		defer s.enterScope(&scope{parent: s.scope})()
		s.execAll(n.orelse)
		return
	}
	l := &loop{items: items, node: n, depth: depth, scope: s.scope}
	outer := s.scope
	defer func() { s.scope = outer }()
	for i, item := range items {
		l.i = i
		s.step(1)
		inner := &scope{parent: outer}
		inner.set("loop", l)
		s.assign(n.target, item, inner)
		s.scope = inner
		if s.execAll(n.body) == doBreak {
			return
		}
	}
}

// call runs f one level deeper, within the limit on nesting.
func (s *state) deeper(f func()) {
	if s.calls++; s.calls > s.limits.Depth {
		s.limit("macros or recursive loops called each other more than %d levels deep", s.limits.Depth)
	}
	f()
	s.calls--
}

// macro makes the function of a macro defined in scope c.
func (s *state) macro(n *macroNode, c *scope) *function {
	return &function{name: n.name, call: func(s *state, a args) Value {
		inner := &scope{parent: c}
		line := s.line
		s.bindMacro(n, inner, a)
		var text Str
		s.deeper(func() {
			restore := s.enterScope(inner)
			outer := s.out
			s.out = &builder{}
			s.execAll(n.body)
			text, s.out = s.out.str(), outer
			restore()
		})
		s.line = line
		return text
	}}
}

// bindMacro sets the parameters of a macro in its scope.
func (s *state) bindMacro(n *macroNode, inner *scope, a args) {
	kw := a.kwMap()
	for i, name := range n.params {
		switch v, ok := kw[name]; {
		case i < len(a.pos):
			if ok {
				s.fail("macro %q got the argument %q twice", n.name, name)
			}
			inner.set(name, a.pos[i])
		case ok:
			inner.set(name, v)
			delete(kw, name)
		default:
			if d := i - (len(n.params) - len(n.defaults)); d >= 0 {
				restore := s.enterScope(inner)
				inner.set(name, s.eval(n.defaults[d]))
				restore()
			} else {
				inner.set(name, &Undefined{fmt.Sprintf("parameter %q was not provided", name)})
			}
		}
	}
	if caller, ok := kw["caller"]; ok && n.usesCaller {
		inner.set("caller", caller)
		delete(kw, "caller")
	} else if n.usesCaller {
		inner.set("caller", &Undefined{"no caller defined"})
	}
	if n.usesKwargs {
		d := NewDict()
		for _, k := range a.kw {
			if v, ok := kw[k.name]; ok {
				d.Set(k.name, v)
			}
		}
		inner.set("kwargs", d)
	} else if len(kw) > 0 {
		s.fail("macro %q takes no argument named %s", n.name, names(kw))
	}
	extra := a.pos[min(len(n.params), len(a.pos)):]
	if n.usesVarargs {
		inner.set("varargs", &List{Items: extra, Tuple: true})
	} else if len(extra) > 0 {
		s.fail("macro %q takes at most %d arguments, got %d", n.name, len(n.params), len(a.pos))
	}
}
