package jinja

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// iterate gives the items a value yields in a loop.
func (s *state) iterate(v Value) []Value {
	switch v := v.(type) {
	case *List:
		s.charge(16 * len(v.Items))
		return append([]Value(nil), v.Items...) // a copy: the loop's body may change the list
	case *Dict:
		s.charge(16 * len(v.keys))
		items := make([]Value, len(v.keys))
		for i := range v.keys {
			items[i] = v.keyValue(i)
		}
		return items
	case Str:
		s.charge(48 * len(v.s))
		off := v.offsets()
		items := make([]Value, len(off)-1)
		for i := range items {
			items[i] = v.slice(off[i], off[i+1])
		}
		return items
	case *Undefined:
		return nil
	}
	s.fail("a value of type %s cannot be looped over", typeName(v))
	return nil
}

func (s *state) length(v Value) int {
	switch v := v.(type) {
	case Str:
		s.scan(len(v.s))
		return v.runeLen()
	case *List:
		return len(v.Items)
	case *Dict:
		return len(v.keys)
	case *Undefined:
		return 0
	case *loop:
		return len(v.items)
	}
	s.fail("a value of type %s has no length", typeName(v))
	return 0
}

func (s *state) unary(op string, v Value) Value {
	s.defined(v)
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		s.fail("%q cannot be applied to %s", op, typeName(v))
	case op == "+" && isInt:
		return i
	case op == "+":
		return f
	case isInt && i == math.MinInt64:
		s.fail("the integer is out of range")
	case isInt:
		return -i
	}
	return -f
}

func (s *state) binary(op string, a, b Value) Value {
	if op == "~" {
		return s.concat(s.str(a).markup(false), s.str(b).markup(false))
	}
	s.defined(a)
	s.defined(b)
	ai, af, aInt, aNum := number(a)
	bi, bf, bInt, bNum := number(b)
	switch {
	case aNum && bNum && aInt && bInt && op != "/":
		return s.intOp(op, ai, bi)
	case aNum && bNum:
		return s.floatOp(op, af, bf)
	case op == "+":
		if x, ok := a.(Str); ok {
			if y, ok := b.(Str); ok {
				return s.concat(x, y)
			}
		}
		if x, ok := a.(*List); ok {
			if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
				s.charge(16 * (len(x.Items) + len(y.Items)))
				return &List{Items: append(append([]Value(nil), x.Items...), y.Items...), Tuple: x.Tuple}
			}
		}
	case op == "*" && aNum && aInt:
		if v, ok := s.repeat(b, ai); ok {
			return v
		}
	case op == "*" && bNum && bInt:
		if v, ok := s.repeat(a, bi); ok {
			return v
		}
	case op == "%":
		if t, ok := a.(Str); ok {
			return s.format(t, b)
		}
	}
	s.fail("%q cannot be applied to %s and %s", op, typeName(a), typeName(b))
	return nil
}

func (s *state) concat(a, b Str) Str {
	s.charge(len(a.s) + len(b.s))
	if a.safe != b.safe {
		if !a.safe {
			a = s.escape(a)
		} else {
			b = s.escape(b)
		}
	}
	if a.runs == nil && b.runs == nil {
		return Str{s: a.s + b.s, safe: a.safe}
	}
	var out builder
	out.addStr(a)
	out.addStr(b)
	return out.str().markup(a.safe)
}

// repeat is a string or list times n.
func (s *state) repeat(v Value, n int64) (Value, bool) {
	size := 0
	switch v := v.(type) {
	case Str:
		size = len(v.s)
	case *List:
		size = 16 * len(v.Items)
	default:
		return nil, false
	}
	n = max(n, 0)
	hi, lo := bits.Mul64(uint64(size), uint64(n))
	if hi != 0 || lo > math.MaxInt32 {
		lo = math.MaxInt64 >> 1 // beyond any limit
	}
	s.charge(int(lo))
	if size == 0 {
		return v, true
	}
	if l, ok := v.(*List); ok {
		out := &List{Tuple: l.Tuple}
		for range n {
			out.Items = append(out.Items, l.Items...)
		}
		return out, true
	}
	var b builder
	for range n {
		b.addStr(v.(Str))
	}
	return b.str(), true
}

func (s *state) intOp(op string, a, b int64) Value {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		if a == 0 || b == 0 {
			return int64(0)
		}
		if c := a * b; c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64) {
			return c
		}
	case "//", "%":
		if b == 0 {
			s.fail("division by zero")
		}
		if b == -1 && a == math.MinInt64 {
			break
		}
		q, r := a/b, a%b
		if r != 0 && (r < 0) != (b < 0) { // Python rounds down, Go towards zero
			q, r = q-1, r+b
		}
		if op == "%" {
			return r
		}
		return q
	case "**":
		if b < 0 {
			return s.floatOp(op, float64(a), float64(b))
		}
		c := Value(int64(1))
		for b > 0 {
			if a == 0 || a == 1 || a == -1 {
				if a == -1 && b%2 == 0 {
					return int64(1)
				}
				return a
			}
			c = s.intOp("*", c.(int64), a)
			b--
		}
		return c
	}
	s.fail("the result of %q is out of the range of 64-bit integers", op)
	return nil
}

func (s *state) floatOp(op string, a, b float64) Value {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "**":
		return math.Pow(a, b)
	}
	if b == 0 {
		s.fail("division by zero")
	}
	switch op {
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	}
	r := math.Mod(a, b)
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

// format is Python's "…" % values, for %s, %r, %d, %i, %f, %x and %%.
func (s *state) format(t Str, v Value) Value {
	vals := []Value{v}
	if l, ok := v.(*List); ok && l.Tuple {
		vals = l.Items
	}
	var b builder
	i, n := 0, 0
	for {
		k := strings.IndexByte(t.s[i:], '%')
		if k < 0 {
			break
		}
		b.addSub(t, i, i+k)
		j := i + k + 1
		for j < len(t.s) && strings.IndexByte("0123456789.-+ #", t.s[j]) >= 0 {
			j++
		}
		if j >= len(t.s) {
			s.fail("the format %q is not whole", t.s[i+k:])
		}
		if t.s[j] == '%' {
			b.addPlain("%")
			i = j + 1
			continue
		}
		if n >= len(vals) {
			s.fail("the format has more places than values")
		}
		b.addStr(s.formatOne(t.s[i+k+1:j], t.s[j], vals[n]))
		n, i = n+1, j+1
	}
	b.addSub(t, i, len(t.s))
	if n < len(vals) {
		s.fail("the format has fewer places than values")
	}
	s.charge(b.len())
	return b.str()
}

func (s *state) formatOne(spec string, verb byte, v Value) Str {
	num, _, isInt, ok := number(v)
	switch {
	case spec != "" && verb != 'f' || verb != 's' && verb != 'r' && !ok:
	case verb == 's':
		return s.str(v)
	case verb == 'r':
		var b builder
		s.repr(&b, v, 0)
		return b.str()
	case (verb == 'd' || verb == 'i') && isInt:
		return plain(strconv.FormatInt(num, 10))
	case verb == 'x' && isInt:
		return plain(strconv.FormatInt(num, 16))
	case verb == 'f':
		prec := 6
		if spec != "" {
			p, err := strconv.Atoi(strings.TrimPrefix(spec, "."))
			if err != nil || !strings.HasPrefix(spec, ".") || p < 0 || p > 100 {
				break
			}
			prec = p
		}
		_, f, _, _ := number(v)
		return plain(strconv.FormatFloat(f, 'f', prec, 64))
	}
	s.fail("the format %%%s%c of a %s is not supported; supported: %%s %%r %%d %%i %%x %%f %%.nf", spec, verb,
		typeName(v))
	return Str{}
}
