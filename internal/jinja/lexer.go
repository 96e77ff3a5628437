package jinja

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokKind uint8

const (
	tokEOF tokKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokKind
	text string // of a name or operator, the data, the decoded string
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the template"
	case tokVarBegin, tokVarEnd, tokBlockBegin, tokBlockEnd, tokOp:
		return fmt.Sprintf("%q", t.text)
	case tokString:
		return "a string"
	case tokData:
		return "text"
	}
	return fmt.Sprintf("%q", t.text)
}

// A lexer cuts a template into tokens by the rules of jinja2/lexer.py (version 3.1) with trim_blocks and lstrip_blocks.
type lexer struct {
	src  string
	pos  int
	line int
	toks []token
	// lineStart says that what was consumed before pos ended with a newline (or nothing was): the condition under which
	// lstrip_blocks removes the blanks before a block.
	lineStart bool
}

var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func lex(source string) []token {
	src := newlines.Replace(source)
	src = strings.TrimSuffix(src, "\n") // keep_trailing_newline is off
	l := &lexer{src: src, line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.lexData()
	}
	l.emit(tokEOF, "")
	return l.toks
}

func (l *lexer) emit(k tokKind, text string) { l.toks = append(l.toks, token{k, text, l.line}) }

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{Line: l.line, Message: fmt.Sprintf(format, args...)})
}

// advance moves to pos and counts the lines passed.
func (l *lexer) advance(pos int) {
	l.line += strings.Count(l.src[l.pos:pos], "\n")
	if pos > l.pos {
		l.lineStart = l.src[pos-1] == '\n'
	}
	l.pos = pos
}

// lexData takes text up to the next tag, and that tag.
func (l *lexer) lexData() {
	i := l.pos
	for {
		k := strings.IndexByte(l.src[i:], '{')
		if k < 0 || i+k+1 >= len(l.src) {
			l.emitData(l.src[l.pos:])
			l.advance(len(l.src))
			return
		}
		i += k
		if c := l.src[i+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		i++
	}
	kind, open := l.src[i+1], i+2
	sign := byte(0)
	if open < len(l.src) && (l.src[open] == '-' || l.src[open] == '+') {
		sign = l.src[open]
		open++
	}
	text := l.src[l.pos:i]
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, isSpace)
	case sign != '+' && kind != '{':
		if n := strings.LastIndexByte(text, '\n') + 1; n > 0 || l.lineStart {
			if strings.TrimLeftFunc(text[n:], isSpace) == "" {
				text = text[:n]
			}
		}
	}
	l.emitData(text)
	l.advance(open)
	switch kind {
	case '#':
		l.lexComment()
	case '{':
		l.emit(tokVarBegin, "{{")
		l.lexTag("}}", tokVarEnd)
	default:
		if m := rawBegin.FindStringIndex(l.src[l.pos:]); m != nil {
			l.lexRaw(l.pos + m[1])
			return
		}
		l.emit(tokBlockBegin, "{%")
		l.lexTag("%}", tokBlockEnd)
	}
}

func (l *lexer) emitData(text string) {
	if text != "" {
		l.emit(tokData, text)
	}
}

// close passes a closing mark at i, of which it is known that it begins there, with what it trims: after "-" all
// whitespace, after a block or comment one newline, after "+" nothing.
func (l *lexer) close(i int, mark string) {
	end := i + len(mark)
	switch l.src[i] {
	case '-':
		end++
		end = len(l.src) - len(strings.TrimLeftFunc(l.src[end:], isSpace))
	case '+':
		end++
	default:
		if mark != "}}" && strings.HasPrefix(l.src[end:], "\n") {
			end++
		}
	}
	l.advance(end)
}

func (l *lexer) lexComment() {
	k := strings.Index(l.src[l.pos:], "#}")
	if k < 0 {
		l.fail("the comment is not closed; expected %q", "#}")
	}
	i := l.pos + k
	if i > l.pos && (l.src[i-1] == '-' || l.src[i-1] == '+') {
		i--
	}
	l.close(i, "#}")
}

var (
	rawBegin = regexp.MustCompile(`^\s*raw\s*(?:-%\}\s*|%\})`)
	rawEnd   = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*[-+]?%\}`)
)

// lexRaw takes the text of a raw block, which begins at i.
func (l *lexer) lexRaw(i int) {
	l.advance(i)
	m := rawEnd.FindStringSubmatchIndex(l.src[i:])
	if m == nil {
		l.fail("the raw block is not closed; expected {%% endraw %%}")
	}
	text := l.src[i : i+m[0]]
	switch l.src[i+m[2] : i+m[3]] {
	case "-":
		text = strings.TrimRightFunc(text, isSpace)
	case "":
		if n := strings.LastIndexByte(text, '\n') + 1; n > 0 && strings.TrimLeftFunc(text[n:], isSpace) == "" {
			text = text[:n]
		}
	}
	l.emitData(text)
	end := i + m[1] - len("%}")
	if c := l.src[end-1]; c == '-' || c == '+' {
		end--
	}
	l.close(end, "%}")
}

// lexTag takes the tokens of an expression or statement up to its end mark. Brackets are balanced, so that "}}" can
// close two dictionaries.
func (l *lexer) lexTag(mark string, end tokKind) {
	var stack []byte
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		r, size := utf8.DecodeRuneInString(rest)
		if isSpace(r) {
			l.advance(l.pos + size)
			continue
		}
		if len(stack) == 0 {
			i := l.pos
			if rest[0] == '-' || rest[0] == '+' && mark == "%}" {
				i++
			}
			if strings.HasPrefix(l.src[i:], mark) {
				l.emit(end, mark)
				l.close(l.pos, mark)
				return
			}
		}
		switch {
		case r == '\'' || r == '"':
			l.lexString(byte(r))
		case r >= '0' && r <= '9':
			l.lexNumber()
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)
			})
			if n < 0 {
				n = len(rest)
			}
			l.emit(tokName, rest[:n])
			l.advance(l.pos + n)
		default:
			stack = l.lexOp(stack)
		}
	}
	l.fail("the tag is not closed; expected %q", mark)
}

var closer = map[byte]byte{'(': ')', '[': ']', '{': '}'}

func (l *lexer) lexOp(stack []byte) []byte {
	rest := l.src[l.pos:]
	for _, op := range [...]string{"//", "**", "==", "!=", ">=", "<="} {
		if strings.HasPrefix(rest, op) {
			l.emit(tokOp, op)
			l.advance(l.pos + 2)
			return stack
		}
	}
	c := rest[0]
	switch c {
	case '(', '[', '{':
		stack = append(stack, closer[c])
	case ')', ']', '}':
		if len(stack) == 0 || stack[len(stack)-1] != c {
			l.fail("found %q where nothing it could close is open", c)
		}
		stack = stack[:len(stack)-1]
	case '+', '-', '/', '*', '%', '~', '>', '<', '=', '.', ':', '|', ',', ';':
	default:
		r, _ := utf8.DecodeRuneInString(rest)
		l.fail("found the character %q, which means nothing here", r)
	}
	l.emit(tokOp, rest[:1])
	l.advance(l.pos + 1)
	return stack
}

var (
	floatPat = regexp.MustCompile(
		`^[0-9](?:_?[0-9])*(?:(?:\.[0-9](?:_?[0-9])*)?[eE][+-]?[0-9](?:_?[0-9])*|\.[0-9](?:_?[0-9])*)`)
	intPat = regexp.MustCompile(
		`^(?:0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[0-9a-fA-F])+|[1-9](?:_?[0-9])*|0(?:_?0)*)`)
)

func (l *lexer) lexNumber() {
	rest := l.src[l.pos:]
	kind, text := tokFloat, floatPat.FindString(rest)
	// In jinja2 a number after a dot is an attribute: x.0.1 is not a float.
	if n := len(l.toks); n > 0 && l.toks[n-1].kind == tokOp && l.toks[n-1].text == "." {
		text = ""
	}
	if text == "" {
		kind, text = tokInt, intPat.FindString(rest)
	}
	l.emit(kind, strings.ReplaceAll(text, "_", ""))
	l.advance(l.pos + len(text))
}

func (l *lexer) lexString(quote byte) {
	i := l.pos + 1
	for i < len(l.src) && l.src[i] != quote {
		if l.src[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(l.src) {
		l.fail("the string is not closed; expected %q", quote)
	}
	l.emit(tokString, l.unescape(l.src[l.pos+1:i]))
	l.advance(i + 1)
}

var simpleEscapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t",
	'v': "\v",
}

// unescape decodes the escapes of a Python string literal; an unknown one stands for itself, as in Python.
func (l *lexer) unescape(s string) string {
	if !strings.Contains(s, "\\") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		c := s[i+1]
		if text, ok := simpleEscapes[c]; ok {
			b.WriteString(text)
			i += 2
			continue
		}
		digits, base, start := 0, rune(16), i+2
		switch {
		case c == 'x':
			digits = 2
		case c == 'u':
			digits = 4
		case c == 'U':
			digits = 8
		case c >= '0' && c <= '7':
			digits, base, start = 3, 8, i+1
		}
		r, n := rune(0), 0
		for n < digits && start+n < len(s) {
			v := hexValue(s[start+n])
			if v < 0 || v >= base {
				break
			}
			r, n = r*base+v, n+1
		}
		switch {
		case digits == 0:
			b.WriteByte('\\')
			i++
			continue
		case base == 16 && n < digits, !utf8.ValidRune(r):
			l.fail("the escape %q in a string is not whole or names no character", s[i:min(start+n, len(s))])
		}
		b.WriteRune(r)
		i = start + n
	}
	return b.String()
}

func hexValue(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
