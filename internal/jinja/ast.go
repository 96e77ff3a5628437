package jinja

// A node is a statement; an expr is an expression. Both know their line.
type node interface{ pos() int }

type expr interface{ pos() int }

type at int // a line

func (a at) pos() int { return int(a) }

// Statements.
type (
	dataNode struct {
		at
		text Str
	}
	outputNode struct {
		at
		expr expr
	}
	ifNode struct {
		at
		tests  []expr
		bodies [][]node
		orelse []node
	}
	forNode struct {
		at
		target       target
		iter, filter expr // filter may be nil
		recursive    bool
		body, orelse []node
	}
	setNode struct {
		at
		target target
		expr   expr
	}
	setBlockNode struct {
		at
		target  target
		filters []*filterExpr // applied in turn to the text of the body; their first operand is nil
		body    []node
	}
	macroNode struct {
		at
		name     string
		params   []string
		defaults []expr // of the last parameters
		body     []node
		// The names that jinja2 binds only where the body uses them.
		usesVarargs, usesKwargs, usesCaller bool
	}
	callNode struct {
		at
		call   *callExpr
		caller *macroNode
	}
	filterNode struct {
		at
		filters []*filterExpr
		body    []node
	}
	withNode struct {
		at
		targets []target
		values  []expr
		body    []node
	}
	generationNode struct {
		at
		body []node
	}
	breakNode    struct{ at }
	continueNode struct{ at }
)

// A target is what an assignment writes to: a name, an attribute of a namespace, or a tuple of targets.
type target struct {
	name string
	attr string // of the namespace in name, or ""
	list []target
}

// Expressions.
type (
	constExpr struct {
		at
		val Value
	}
	nameExpr struct {
		at
		name string
	}
	listExpr struct {
		at
		items []expr
		tuple bool
	}
	dictExpr struct {
		at
		keys, vals []expr
	}
	condExpr struct {
		at
		test, then, orelse expr
	} // orelse may be nil
	logicExpr struct {
		at
		or          bool
		left, right expr
	}
	notExpr struct {
		at
		operand expr
	}
	unaryExpr struct {
		at
		op      string
		operand expr
	}
	binaryExpr struct {
		at
		op          string
		left, right expr
	}
	compareExpr struct {
		at
		left expr
		ops  []string
		rest []expr
	}
	attrExpr struct {
		at
		obj  expr
		name string
	}
	itemExpr struct {
		at
		obj, key expr
	}
	sliceExpr struct {
		at
		start, stop, step expr
	} // each may be nil
	callExpr struct {
		at
		fn   expr
		args argExprs
	}
	filterExpr struct {
		at
		name    string
		fn      filterFunc
		operand expr
		args    argExprs
	}
	testExpr struct {
		at
		name    string
		fn      testFunc
		operand expr
		args    argExprs
		negate  bool
	}
)

// argExprs are the arguments of a call as written.
type argExprs struct {
	pos        []expr
	kw         []kwExpr
	star, dict expr // *args and **kwargs, or nil
}

type kwExpr struct {
	name string
	val  expr
}
