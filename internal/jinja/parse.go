package jinja

import (
	"fmt"
	"sort"
	"strings"
)

// maxNesting bounds the depth of statements and expressions, so that neither the parser nor the interpreter can exhaust
// the stack (which Go does not survive).
const maxNesting = 200

// A parser follows jinja2/parser.py (version 3.1).
type parser struct {
	toks          []token
	i             int
	depth         int
	loops         int  // enclosing for-blocks within the current macro: where break and continue may stand
	sawGeneration bool // a generation block was parsed
	macro         *macroNode
}

func (p *parser) cur() token { return p.toks[p.i] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

func (p *parser) peek() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) fail(line int, format string, args ...any) {
	panic(&Error{Line: line, Message: fmt.Sprintf(format, args...)})
}

func (p *parser) is(kind tokKind, text string) bool {
	t := p.cur()
	return t.kind == kind && t.text == text
}

// accept takes the token if it is the one asked for.
func (p *parser) accept(kind tokKind, text string) bool {
	if p.is(kind, text) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(kind tokKind, text string) token {
	t := p.cur()
	if t.kind != kind || text != "" && t.text != text {
		want := fmt.Sprintf("%q", text)
		if text == "" {
			want = map[tokKind]string{tokName: "a name", tokBlockEnd: `"%}"`, tokVarEnd: `"}}"`}[kind]
		}
		p.fail(t.line, "expected %s, found %v", want, t)
	}
	return p.next()
}

// enter counts one level of nesting; the caller defers the returned function.
func (p *parser) enter() func() {
	if p.depth++; p.depth > maxNesting {
		p.fail(p.cur().line, "nested more than %d levels deep", maxNesting)
	}
	return func() { p.depth-- }
}

func (p *parser) parseTemplate() []node {
	body, _ := p.parseBody()
	if t := p.cur(); t.kind != tokEOF {
		p.fail(t.line, "found %v outside a tag", t)
	}
	return body
}

// parseBody parses statements up to one of the end tags, whose name it takes and returns; without end tags, up to the
// end of the template. The rest of the end tag is the caller's to parse.
func (p *parser) parseBody(ends ...string) ([]node, string) {
	defer p.enter()()
	var body []node
	for {
		t := p.next()
		switch t.kind {
		case tokEOF:
			if len(ends) > 0 {
				p.fail(t.line, "the template ends where {%% %s %%} is expected", strings.Join(ends, " %} or {% "))
			}
			return body, ""
		case tokData:
			body = append(body, &dataNode{at(t.line), plain(t.text)})
		case tokVarBegin:
			e := p.parseTuple()
			p.expect(tokVarEnd, "")
			body = append(body, &outputNode{at(t.line), e})
		case tokBlockBegin:
			name := p.expect(tokName, "")
			for _, end := range ends {
				if name.text == end {
					return body, end
				}
			}
			body = append(body, p.parseStatement(name))
		default:
			p.fail(t.line, "found %v outside a tag", t)
		}
	}
}

// refused are the statements of Jinja that a chat template cannot have, each with the reason.
var refused = map[string]string{
	"include": "it would read another file", "import": "it would read another file",
	"from":    "it would read another file",
	"extends": "it would read another file", "block": "it serves template inheritance, which reads other files",
	"autoescape": "nothing is escaped here", "trans": "there are no translations here",
	"do": "transformers does not know it",
}

func (p *parser) parseStatement(name token) node {
	line := at(name.line)
	switch name.text {
	case "if":
		return p.parseIf(line)
	case "for":
		return p.parseFor(line)
	case "set":
		return p.parseSet(line)
	case "macro":
		return p.parseMacro(line)
	case "call":
		return p.parseCallBlock(line)
	case "filter":
		n := &filterNode{at: line, filters: p.parseFilterChain()}
		p.expect(tokBlockEnd, "")
		n.body = p.parseUntil("endfilter")
		return n
	case "with":
		return p.parseWith(line)
	case "generation":
		p.sawGeneration = true
		p.expect(tokBlockEnd, "")
		return &generationNode{line, p.parseUntil("endgeneration")}
	case "break", "continue":
		if p.loops == 0 {
			p.fail(name.line, "%s stands outside a loop", name.text)
		}
		p.expect(tokBlockEnd, "")
		if name.text == "break" {
			return &breakNode{line}
		}
		return &continueNode{line}
	}
	if why, ok := refused[name.text]; ok {
		p.fail(name.line, "the tag %q is not allowed in a chat template: %s", name.text, why)
	}
	if strings.HasPrefix(name.text, "end") || name.text == "else" || name.text == "elif" {
		p.fail(name.line, "the tag %q closes nothing that is open", name.text)
	}
	p.fail(name.line,
		"the tag %q is unknown; known: break, call, continue, filter, for, generation, if, macro, raw, set, with",
		name.text)
	return nil
}

// parseUntil parses a body and its end tag.
func (p *parser) parseUntil(end string) []node {
	body, _ := p.parseBody(end)
	p.expect(tokBlockEnd, "")
	return body
}

func (p *parser) parseIf(line at) node {
	n := &ifNode{at: line}
	for {
		n.tests = append(n.tests, p.parseTuple())
		p.expect(tokBlockEnd, "")
		body, end := p.parseBody("elif", "else", "endif")
		n.bodies = append(n.bodies, body)
		switch end {
		case "else":
			p.expect(tokBlockEnd, "")
			n.orelse = p.parseUntil("endif")
			return n
		case "endif":
			p.expect(tokBlockEnd, "")
			return n
		}
	}
}

func (p *parser) parseFor(line at) node {
	n := &forNode{at: line, target: p.parseTarget(false)}
	p.expect(tokName, "in")
	n.iter = p.parseTupleNoCond()
	if p.accept(tokName, "if") {
		n.filter = p.parseExpr()
	}
	n.recursive = p.accept(tokName, "recursive")
	p.expect(tokBlockEnd, "")
	p.loops++
	body, end := p.parseBody("else", "endfor")
	p.loops--
	n.body = body
	p.expect(tokBlockEnd, "")
	if end == "else" {
		n.orelse = p.parseUntil("endfor")
	}
	return n
}

// parseTarget parses one or several names to assign to; attributes of a namespace too where attr is set.
func (p *parser) parseTarget(attr bool) target {
	var list []target
	first := p.parseTarget1(attr)
	tuple := false
	for p.accept(tokOp, ",") {
		tuple = true
		list = append(list, first)
		if t := p.cur(); t.kind != tokName && !p.is(tokOp, "(") || t.text == "in" {
			return target{list: list}
		}
		first = p.parseTarget1(attr)
	}
	if tuple {
		return target{list: append(list, first)}
	}
	return first
}

func (p *parser) parseTarget1(attr bool) target {
	defer p.enter()()
	if p.accept(tokOp, "(") {
		t := p.parseTarget(attr)
		p.expect(tokOp, ")")
		return t
	}
	name := p.expect(tokName, "")
	switch name.text {
	case "true", "false", "none", "True", "False", "None", "loop":
		p.fail(name.line, "nothing can be assigned to %q", name.text)
	}
	t := target{name: name.text}
	if attr && p.accept(tokOp, ".") {
		t.attr = p.expect(tokName, "").text
	}
	return t
}

func (p *parser) parseSet(line at) node {
	t := p.parseTarget(true)
	if p.accept(tokOp, "=") {
		n := &setNode{line, t, p.parseTuple()}
		p.expect(tokBlockEnd, "")
		return n
	}
	n := &setBlockNode{at: line, target: t}
	if p.accept(tokOp, "|") {
		n.filters = p.parseFilterChain()
	}
	p.expect(tokBlockEnd, "")
	n.body = p.parseUntil("endset")
	return n
}

// parseFilterChain parses "name(args)|name…", the first without its bar.
func (p *parser) parseFilterChain() []*filterExpr {
	fs := []*filterExpr{p.parseFilter(nil)}
	for p.accept(tokOp, "|") {
		fs = append(fs, p.parseFilter(nil))
	}
	return fs
}

func (p *parser) parseMacro(line at) node {
	n := &macroNode{at: line, name: p.expect(tokName, "").text}
	p.parseSignature(n)
	p.expect(tokBlockEnd, "")
	p.parseMacroBody(n, "endmacro")
	return n
}

// parseMacroBody parses the body and notes which of the special names it uses.
func (p *parser) parseMacroBody(n *macroNode, end string) {
	outer, loops := p.macro, p.loops
	p.macro, p.loops = n, 0
	n.body = p.parseUntil(end)
	p.macro, p.loops = outer, loops
}

func (p *parser) parseSignature(n *macroNode) {
	p.expect(tokOp, "(")
	for !p.accept(tokOp, ")") {
		if len(n.params) > 0 {
			p.expect(tokOp, ",")
			if p.accept(tokOp, ")") {
				return
			}
		}
		name := p.expect(tokName, "")
		n.params = append(n.params, name.text)
		if p.accept(tokOp, "=") {
			n.defaults = append(n.defaults, p.parseExpr())
		} else if len(n.defaults) > 0 {
			p.fail(name.line, "the parameter %q without a default follows one with a default", name.text)
		}
	}
}

func (p *parser) parseCallBlock(line at) node {
	caller := &macroNode{at: line, name: "caller"}
	if p.is(tokOp, "(") {
		p.parseSignature(caller)
	}
	e := p.parseExpr()
	call, ok := e.(*callExpr)
	if !ok {
		p.fail(int(line), "the call tag needs a call, such as {%% call name() %%}")
	}
	p.expect(tokBlockEnd, "")
	p.parseMacroBody(caller, "endcall")
	return &callNode{line, call, caller}
}

func (p *parser) parseWith(line at) node {
	n := &withNode{at: line}
	for p.cur().kind != tokBlockEnd {
		if len(n.targets) > 0 {
			p.expect(tokOp, ",")
		}
		n.targets = append(n.targets, p.parseTarget1(false))
		p.expect(tokOp, "=")
		n.values = append(n.values, p.parseExpr())
	}
	p.expect(tokBlockEnd, "")
	n.body = p.parseUntil("endwith")
	return n
}

// names lists the keys of a table for a message.
func names[V any](m map[string]V) string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return strings.Join(ks, ", ")
}
