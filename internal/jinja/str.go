package jinja

import (
	"strings"
	"unicode/utf8"
)

// A run is a stretch of a string, up to byte offset end, of one origin.
type run struct {
	end    int
	origin int32
	gen    bool
}

// Str is a string value. Each of its bytes has an origin; runs is nil where all of them are 0.
//
// safe is jinja2's Markup: text that the filters safe and escape made. Joining it with other text by + escapes that
// other text for HTML, also where nothing else is escaped, as is the case in chat templates (~ does not escape there).
type Str struct {
	s    string
	runs []run // ends ascend, the last is len(s)
	safe bool
}

func plain(s string) Str { return Str{s: s} }

// Marked is a string whose text comes from the given origin, a positive number that Piece.Origin gives back.
func Marked(s string, origin int) Str {
	if s == "" || origin == 0 {
		return Str{s: s}
	}
	return Str{s: s, runs: []run{{len(s), int32(origin), false}}}
}

// String gives the text without the marks.
func (t Str) String() string { return t.s }

// slice gives the bytes [i, j).
func (t Str) slice(i, j int) Str {
	if t.runs == nil || i == j {
		return Str{s: t.s[i:j], safe: t.safe}
	}
	if i == 0 && j == len(t.s) {
		return t
	}
	var b builder
	b.addSub(t, i, j)
	return b.str().markup(t.safe)
}

// markup sets whether the text is safe.
func (t Str) markup(safe bool) Str {
	t.safe = safe
	return t
}

func (t Str) pieces() []Piece {
	if t.runs == nil {
		if t.s == "" {
			return nil
		}
		return []Piece{{Text: t.s}}
	}
	ps := make([]Piece, 0, len(t.runs))
	start := 0
	for _, r := range t.runs {
		ps = append(ps, Piece{t.s[start:r.end], int(r.origin), r.gen})
		start = r.end
	}
	return ps
}

// A builder concatenates strings with their origins.
type builder struct {
	buf  strings.Builder
	runs []run
}

func (b *builder) len() int { return b.buf.Len() }

// add appends text of one origin.
func (b *builder) add(s string, r run) {
	if s == "" {
		return
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].origin == r.origin && b.runs[n-1].gen == r.gen {
		b.buf.WriteString(s)
		b.runs[n-1].end = b.buf.Len()
		return
	}
	b.buf.WriteString(s)
	b.runs = append(b.runs, run{b.buf.Len(), r.origin, r.gen})
}

func (b *builder) addPlain(s string) { b.add(s, run{}) }

func (b *builder) addStr(t Str) { b.addSub(t, 0, len(t.s)) }

// addSub appends the bytes [i, j) of t.
func (b *builder) addSub(t Str, i, j int) {
	if t.runs == nil {
		b.addPlain(t.s[i:j])
		return
	}
	start := 0
	for _, r := range t.runs {
		lo, hi := max(i, start), min(j, r.end)
		if lo < hi {
			b.add(t.s[lo:hi], r)
		}
		start = r.end
		if start >= j {
			return
		}
	}
}

func (b *builder) str() Str {
	s := b.buf.String()
	for _, r := range b.runs {
		if r.origin != 0 || r.gen {
			return Str{s: s, runs: b.runs}
		}
	}
	return Str{s: s}
}

// mapRuns replaces every run of t by f of its text; the origins stay. f must work rune by rune.
func (t Str) mapRuns(f func(string) string) Str {
	if t.runs == nil {
		return Str{s: f(t.s), safe: t.safe}
	}
	var b builder
	start := 0
	for _, r := range t.runs {
		b.add(f(t.s[start:r.end]), r)
		start = r.end
	}
	return b.str().markup(t.safe)
}

// generated marks the whole string as written by a generation block.
func (t Str) generated() Str {
	if t.s == "" {
		return t
	}
	runs := make([]run, len(t.runs))
	copy(runs, t.runs)
	if len(runs) == 0 {
		runs = []run{{end: len(t.s)}}
	}
	for i := range runs {
		runs[i].gen = true
	}
	return Str{s: t.s, runs: runs, safe: t.safe}
}

// strip removes leading and trailing runes that are in the cutset, whitespace where it is nil.
func (t Str) strip(cut func(rune) bool, left, right bool) Str {
	i, j := 0, len(t.s)
	if left {
		i = j - len(strings.TrimLeftFunc(t.s, cut))
	}
	if right {
		j = i + len(strings.TrimRightFunc(t.s[i:], cut))
	}
	return t.slice(i, j)
}

// isSpace is Python's str.isspace for one rune.
func isSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1c && r <= ' ', r == 0x85, r == 0xa0:
		return true
	case r == 0x1680, r >= 0x2000 && r <= 0x200a, r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000:
		return true
	}
	return false
}

// runeLen is Python's len of a string.
func (t Str) runeLen() int { return utf8.RuneCountInString(t.s) }

// offsets gives the byte offset of every rune of t, and len(t.s) at the end.
func (t Str) offsets() []int {
	o := make([]int, 0, len(t.s)+1)
	for i := range t.s {
		o = append(o, i)
	}
	return append(o, len(t.s))
}

// split cuts t at sep, at most n times (all where n < 0), from the left.
func (t Str) split(sep string, n int) []Value {
	var out []Value
	i := 0
	for n != 0 {
		k := strings.Index(t.s[i:], sep)
		if k < 0 {
			break
		}
		out = append(out, t.slice(i, i+k))
		i += k + len(sep)
		n--
	}
	return append(out, t.slice(i, len(t.s)))
}

// rsplit cuts t at sep, at most n times, from the right.
func (t Str) rsplit(sep string, n int) []Value {
	var out []Value
	j := len(t.s)
	for n != 0 {
		k := strings.LastIndex(t.s[:j], sep)
		if k < 0 {
			break
		}
		out = append(out, t.slice(k+len(sep), j))
		j = k
		n--
	}
	out = append(out, t.slice(0, j))
	for a, b := 0, len(out)-1; a < b; a, b = a+1, b-1 {
		out[a], out[b] = out[b], out[a]
	}
	return out
}

// fields is Python's split without a separator: at runs of whitespace, at most n times.
func (t Str) fields(n int) []Value {
	var out []Value
	i := 0
	for {
		rest := strings.TrimLeftFunc(t.s[i:], isSpace)
		i = len(t.s) - len(rest)
		if rest == "" {
			return out
		}
		if n == 0 {
			return append(out, t.slice(i, len(strings.TrimRightFunc(t.s, isSpace))))
		}
		k := strings.IndexFunc(rest, isSpace)
		if k < 0 {
			k = len(rest)
		}
		out = append(out, t.slice(i, i+k))
		i += k
		n--
	}
}

// lines is Python's splitlines.
func (t Str) lines(keepEnds bool) []Value {
	var out []Value
	start := 0
	for i, r := range t.s {
		if i < start {
			continue
		}
		end := i + utf8.RuneLen(r)
		switch r {
		case '\r':
			if end < len(t.s) && t.s[end] == '\n' {
				end++
			}
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		if keepEnds {
			out = append(out, t.slice(start, end))
		} else {
			out = append(out, t.slice(start, i))
		}
		start = end
	}
	if start < len(t.s) {
		out = append(out, t.slice(start, len(t.s)))
	}
	return out
}

// replace puts to in the place of from, at most n times (all where n < 0), as Python's str.replace.
func (t Str) replace(from string, to Str, n int) Str {
	var b builder
	if from == "" {
		for i, r := range t.s {
			if n == 0 {
				b.addSub(t, i, len(t.s))
				return b.str()
			}
			b.addStr(to)
			n--
			b.addSub(t, i, i+utf8.RuneLen(r))
		}
		if n != 0 {
			b.addStr(to)
		}
		return b.str()
	}
	i := 0
	for n != 0 {
		k := strings.Index(t.s[i:], from)
		if k < 0 {
			break
		}
		b.addSub(t, i, i+k)
		b.addStr(to)
		i += k + len(from)
		n--
	}
	b.addSub(t, i, len(t.s))
	return b.str()
}
