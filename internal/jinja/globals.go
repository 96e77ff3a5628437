package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxRange is the longest range() gives, the same as in jinja2's sandbox, in which transformers renders.
const maxRange = 100000

// newGlobals makes the scope of the functions every template has.
func newGlobals(*state) *scope {
	c := &scope{}
	for name, f := range globals {
		c.set(name, &function{name, f})
	}
	return c
}

var globals = map[string]func(s *state, a args) Value{
	"range":           globalRange,
	"namespace":       func(s *state, a args) Value { return &Namespace{s.newDict(a)} },
	"dict":            func(s *state, a args) Value { return s.newDict(a) },
	"raise_exception": raiseException,
	"strftime_now": func(s *state, a args) Value {
		p, _ := s.bind(a, 1, "format")
		return plain(strftime(s, s.now, s.text(a, p[0]).s))
	},
}

func raiseException(s *state, a args) Value {
	p, _ := s.bind(a, 1, "message")
	panic(&Error{Line: s.line, Message: s.str(p[0]).s, Raised: true})
}

func globalRange(s *state, a args) Value {
	if len(a.pos) < 1 || len(a.pos) > 3 || len(a.kw) > 0 {
		s.fail("range takes one to three integers")
	}
	lo, hi, step := 0, s.integer(a, a.pos[0], true, 0), 1
	if len(a.pos) > 1 {
		lo, hi = hi, s.integer(a, a.pos[1], true, 0)
	}
	if len(a.pos) > 2 {
		step = s.integer(a, a.pos[2], true, 1)
	}
	if step == 0 {
		s.fail("the step of range is 0")
	}
	n := (hi - lo + step - 1) / step
	if step < 0 {
		n = (lo - hi - step - 1) / -step
	}
	if n > maxRange {
		s.limit("range gives %d numbers; at most %d are allowed", n, maxRange)
	}
	s.charge(16 * max(n, 0))
	l := &List{}
	for i := 0; i < n; i++ {
		l.Items = append(l.Items, int64(lo+i*step))
	}
	return l
}

// newDict makes a dictionary of another one, or of pairs, and of named arguments.
func (s *state) newDict(a args) *Dict {
	d := NewDict()
	for _, v := range a.pos {
		if src, ok := v.(*Dict); ok {
			for _, k := range src.keys {
				d.set(k, src.vals[k].key, src.get(k))
			}
			continue
		}
		for _, pair := range s.iterate(v) {
			kv := s.iterate(pair)
			if len(kv) != 2 {
				s.fail("%s needs pairs, got an item of %d", a.fn, len(kv))
			}
			s.setKey(d, kv[0], kv[1])
		}
	}
	for _, k := range a.kw {
		d.Set(k.name, k.val)
	}
	s.charge(64 * len(d.keys))
	return d
}

// loopAttr is an attribute of the variable "loop".
func (s *state) loopAttr(l *loop, name string) (Value, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(n - l.i), true
	case "revindex0":
		return int64(n - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		if l.i == 0 {
			return &Undefined{"there is no previous item"}, true
		}
		return l.items[l.i-1], true
	case "nextitem":
		if l.i == n-1 {
			return &Undefined{"there is no next item"}, true
		}
		return l.items[l.i+1], true
	case "cycle":
		return &function{name, func(s *state, a args) Value {
			if len(a.pos) == 0 {
				s.fail("loop.cycle needs at least one value")
			}
			return a.pos[l.i%len(a.pos)]
		}}, true
	case "changed":
		return &function{name, func(s *state, a args) Value {
			v := &List{Items: a.pos}
			same := l.seen && s.equal(l.changed, v, 0)
			l.changed, l.seen = v, true
			return !same
		}}, true
	}
	return nil, false
}

// strftime formats a time as C's strftime does in the C locale.
func strftime(s *state, t time.Time, format string) string {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'D': "01/02/06", 'e': "_2",
		'F': "2006-01-02",
		'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'y': "06",
		'Y': "2006",
		'z': "-0700", 'Z': "MST", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 >= len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		c, unpadded := format[i], false
		if c == '-' && i+1 < len(format) {
			i++
			c, unpadded = format[i], true
		}
		var text string
		switch layout, ok := layouts[c]; {
		case ok:
			text = t.Format(layout)
		case c == 'j':
			text = fmt.Sprintf("%03d", t.YearDay())
		case c == 'w':
			text = strconv.Itoa(int(t.Weekday()))
		case c == '%':
			text = "%"
		case c == 'n':
			text = "\n"
		default:
			s.fail("strftime_now does not know the format %%%c", c)
		}
		if unpadded && len(text) > 1 {
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		}
		b.WriteString(text)
	}
	return b.String()
}
