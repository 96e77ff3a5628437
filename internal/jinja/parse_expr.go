package jinja

import (
	"strconv"
	"strings"
)

// parseExpr parses one expression, with a conditional ("a if b else c").
func (p *parser) parseExpr() expr {
	defer p.enter()()
	e := p.parseOr()
	for p.is(tokName, "if") {
		line := at(p.next().line)
		c := &condExpr{at: line, then: e, test: p.parseOr()}
		if p.accept(tokName, "else") {
			c.orelse = p.parseExpr()
		}
		e = c
	}
	return e
}

// parseTuple parses an expression, or several with commas between them as a tuple.
func (p *parser) parseTuple() expr { return p.parseTupleOf(p.parseExpr) }

// parseTupleNoCond is parseTuple without conditionals: after "in" of a for tag, "if" begins the filter.
func (p *parser) parseTupleNoCond() expr { return p.parseTupleOf(p.parseOr) }

func (p *parser) parseTupleOf(one func() expr) expr {
	line := at(p.cur().line)
	first := one()
	if !p.is(tokOp, ",") {
		return first
	}
	items := []expr{first}
	for p.accept(tokOp, ",") {
		if t := p.cur(); t.kind == tokBlockEnd || t.kind == tokVarEnd || p.is(tokOp, ")") {
			break
		}
		items = append(items, one())
	}
	return &listExpr{line, items, true}
}

func (p *parser) parseOr() expr {
	e := p.parseAnd()
	for p.is(tokName, "or") {
		line := at(p.next().line)
		e = &logicExpr{line, true, e, p.parseAnd()}
	}
	return e
}

func (p *parser) parseAnd() expr {
	e := p.parseNot()
	for p.is(tokName, "and") {
		line := at(p.next().line)
		e = &logicExpr{line, false, e, p.parseNot()}
	}
	return e
}

func (p *parser) parseNot() expr {
	if p.is(tokName, "not") {
		defer p.enter()()
		line := at(p.next().line)
		return &notExpr{line, p.parseNot()}
	}
	return p.parseCompare()
}

func (p *parser) parseCompare() expr {
	line := at(p.cur().line)
	e := p.parseMath1()
	c := &compareExpr{at: line, left: e}
	for {
		t := p.cur()
		op := t.text
		switch {
		case t.kind == tokOp && (op == "==" || op == "!=" || op == "<" || op == "<=" || op == ">" || op == ">="):
			p.next()
		case t.kind == tokName && op == "in":
			p.next()
		case t.kind == tokName && op == "not" && p.peek().kind == tokName && p.peek().text == "in":
			p.next()
			p.next()
			op = "not in"
		default:
			if len(c.ops) == 0 {
				return e
			}
			return c
		}
		c.ops = append(c.ops, op)
		c.rest = append(c.rest, p.parseMath1())
	}
}

// binary parses a left-associative level of operators.
func (p *parser) binary(sub func() expr, ops ...string) expr {
	e := sub()
	for {
		t := p.cur()
		found := false
		for _, op := range ops {
			found = found || t.kind == tokOp && t.text == op
		}
		if !found {
			return e
		}
		p.next()
		e = &binaryExpr{at(t.line), t.text, e, sub()}
	}
}

func (p *parser) parseMath1() expr  { return p.binary(p.parseConcat, "+", "-") }
func (p *parser) parseConcat() expr { return p.binary(p.parseMath2, "~") }
func (p *parser) parseMath2() expr  { return p.binary(p.parsePow, "*", "/", "//", "%") }
func (p *parser) parsePow() expr {
	return p.binary(func() expr { return p.parseUnary(true) }, "**")
}

func (p *parser) parseUnary(filters bool) expr {
	defer p.enter()()
	t := p.cur()
	var e expr
	if t.kind == tokOp && (t.text == "-" || t.text == "+") {
		p.next()
		e = &unaryExpr{at(t.line), t.text, p.parseUnary(false)}
	} else {
		e = p.parsePrimary()
	}
	e = p.parsePostfix(e)
	if filters {
		e = p.parseFilterTail(e)
	}
	return e
}

func (p *parser) parsePrimary() expr {
	t := p.next()
	line := at(t.line)
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{line, true}
		case "false", "False":
			return &constExpr{line, false}
		case "none", "None":
			return &constExpr{line, nil}
		}
		if p.macro != nil {
			p.macro.usesVarargs = p.macro.usesVarargs || t.text == "varargs"
			p.macro.usesKwargs = p.macro.usesKwargs || t.text == "kwargs"
			p.macro.usesCaller = p.macro.usesCaller || t.text == "caller"
		}
		return &nameExpr{line, t.text}
	case tokString:
		var b strings.Builder
		b.WriteString(t.text)
		for p.cur().kind == tokString {
			b.WriteString(p.next().text)
		}
		return &constExpr{line, plain(b.String())}
	case tokInt:
		n, err := strconv.ParseInt(t.text, 0, 64)
		if strings.Trim(t.text, "0") == "" {
			n, err = 0, nil
		}
		if err != nil {
			p.fail(t.line, "the number %s is out of range", t.text)
		}
		return &constExpr{line, n}
	case tokFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			p.fail(t.line, "the number %s is out of range", t.text)
		}
		return &constExpr{line, f}
	case tokOp:
		switch t.text {
		case "(":
			if p.accept(tokOp, ")") {
				return &listExpr{line, nil, true}
			}
			e := p.parseTuple()
			p.expect(tokOp, ")")
			return e
		case "[":
			return &listExpr{line, p.parseItems("]"), false}
		case "{":
			return p.parseDict(line)
		}
	}
	p.fail(t.line, "found %v where an expression is expected", t)
	return nil
}

// parseItems parses expressions with commas between them up to the closing bracket.
func (p *parser) parseItems(end string) []expr {
	var items []expr
	for !p.accept(tokOp, end) {
		if len(items) > 0 {
			p.expect(tokOp, ",")
			if p.accept(tokOp, end) {
				break
			}
		}
		items = append(items, p.parseExpr())
	}
	return items
}

func (p *parser) parseDict(line at) expr {
	d := &dictExpr{at: line}
	for !p.accept(tokOp, "}") {
		if len(d.keys) > 0 {
			p.expect(tokOp, ",")
			if p.accept(tokOp, "}") {
				break
			}
		}
		d.keys = append(d.keys, p.parseExpr())
		p.expect(tokOp, ":")
		d.vals = append(d.vals, p.parseExpr())
	}
	return d
}

// parsePostfix parses attributes, subscripts and calls.
func (p *parser) parsePostfix(e expr) expr {
	for n := 0; ; n++ {
		t := p.cur()
		if t.kind != tokOp {
			return e
		}
		if n > maxNesting {
			p.fail(t.line, "more than %d attributes in a row", maxNesting)
		}
		line := at(t.line)
		switch t.text {
		case ".":
			p.next()
			name := p.next()
			switch name.kind {
			case tokName:
				e = &attrExpr{line, e, name.text}
			case tokInt:
				k, _ := strconv.ParseInt(name.text, 0, 64)
				e = &itemExpr{line, e, &constExpr{line, k}}
			default:
				p.fail(name.line, "expected a name after \".\", found %v", name)
			}
		case "[":
			p.next()
			e = &itemExpr{line, e, p.parseSubscript()}
			p.expect(tokOp, "]")
		case "(":
			e = &callExpr{line, e, p.parseArgs()}
		default:
			return e
		}
	}
}

func (p *parser) parseSubscript() expr {
	line := at(p.cur().line)
	var parts [3]expr
	n := 0
	for {
		if !p.is(tokOp, ":") && !p.is(tokOp, "]") {
			parts[n] = p.parseExpr()
		}
		if n == 2 || !p.accept(tokOp, ":") {
			break
		}
		n++
	}
	if n == 0 {
		if parts[0] == nil {
			p.fail(int(line), "expected a subscript, found %v", p.cur())
		}
		return parts[0]
	}
	return &sliceExpr{line, parts[0], parts[1], parts[2]}
}

// parseArgs parses the arguments of a call with its parentheses.
func (p *parser) parseArgs() argExprs {
	var a argExprs
	p.expect(tokOp, "(")
	for first := true; !p.accept(tokOp, ")"); first = false {
		if !first {
			p.expect(tokOp, ",")
			if p.accept(tokOp, ")") {
				break
			}
		}
		t := p.cur()
		switch {
		case p.accept(tokOp, "*"):
			a.star = p.parseExpr()
		case p.accept(tokOp, "**"):
			a.dict = p.parseExpr()
		case t.kind == tokName && p.peek().kind == tokOp && p.peek().text == "=":
			p.next()
			p.next()
			a.kw = append(a.kw, kwExpr{t.text, p.parseExpr()})
		default:
			if len(a.kw) > 0 {
				p.fail(t.line, "a positional argument follows a named one")
			}
			a.pos = append(a.pos, p.parseExpr())
		}
	}
	return a
}

// parseFilterTail parses the filters and tests after a value.
func (p *parser) parseFilterTail(e expr) expr {
	for n := 0; ; n++ {
		if n > maxNesting {
			p.fail(p.cur().line, "more than %d filters in a row", maxNesting)
		}
		switch {
		case p.accept(tokOp, "|"):
			e = p.parseFilter(e)
		case p.is(tokName, "is"):
			e = p.parseTest(e)
		case p.is(tokOp, "("):
			line := at(p.cur().line)
			e = &callExpr{line, e, p.parseArgs()}
		default:
			return e
		}
	}
}

func (p *parser) parseFilter(operand expr) *filterExpr {
	t := p.expect(tokName, "")
	fn, ok := filters[t.text]
	if !ok {
		p.fail(t.line, "the filter %q is unknown; known: %s", t.text, names(filters))
	}
	f := &filterExpr{at: at(t.line), name: t.text, fn: fn, operand: operand}
	if p.is(tokOp, "(") {
		f.args = p.parseArgs()
	}
	return f
}

func (p *parser) parseTest(operand expr) expr {
	line := at(p.next().line)
	t := &testExpr{at: line, operand: operand, negate: p.accept(tokName, "not")}
	name := p.expect(tokName, "")
	fn, ok := tests[name.text]
	if !ok {
		p.fail(name.line, "the test %q is unknown; known: %s", name.text, names(tests))
	}
	t.name, t.fn = name.text, fn
	c := p.cur()
	switch {
	case p.is(tokOp, "("):
		t.args = p.parseArgs()
	case c.kind == tokName && (c.text == "else" || c.text == "or" || c.text == "and"):
	case c.kind == tokName && c.text == "is":
		p.fail(c.line, "tests cannot be chained with \"is\"")
	case c.kind == tokName, c.kind == tokString, c.kind == tokInt, c.kind == tokFloat, p.is(tokOp, "["),
		p.is(tokOp, "{"):
		t.args.pos = []expr{p.parsePostfix(p.parsePrimary())}
	}
	return t
}
