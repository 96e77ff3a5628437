package jinja

import (
	"fmt"
	"time"
)

// Limits bound one rendering. The zero value of a field means its default.
type Limits struct {
	// Steps is the number of nodes evaluated, with a surcharge for work on long strings. Default 20 million, about a
	// few seconds at worst; a real template takes some hundred per message.
	Steps int
	// Bytes is the total size of the strings and lists built, also of those that are dropped again. Default 128 MiB
	// plus 64 times the size of the values passed in.
	Bytes int
	// Output is the size of the rendered text, bytes. Default 16 MiB plus 16 times the size of the values passed in.
	Output int
	// Depth is the nesting of macro calls and recursive loops. Default 64.
	Depth int
}

func (l Limits) withDefaults(input int) Limits {
	if l.Steps == 0 {
		l.Steps = 20_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = 128<<20 + 64*input
	}
	if l.Output == 0 {
		l.Output = 16<<20 + 16*input
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	return l
}

// An Error is a fault of a template, or what its raise_exception said.
type Error struct {
	Name    string // the template's name
	Line    int    // 1-based, of the tag that failed
	Message string
	// Raised says that the template itself refused its input through raise_exception, with Message as its reason.
	Raised bool
	// Limit says that the template was stopped at one of the Limits.
	Limit bool
}

func (e *Error) Error() string {
	if e.Raised {
		return fmt.Sprintf("chat template %s refused the conversation: %s", e.Name, e.Message)
	}
	return fmt.Sprintf("chat template %s, line %d: %s", e.Name, e.Line, e.Message)
}

// A Template is a parsed template. It is immutable: any number of goroutines may render it at once.
type Template struct {
	name string
	body []node
	// HasGeneration says that the template marks trained text itself with {% generation %}.
	hasGeneration bool
}

// MaxSource is the largest template that Parse accepts, bytes. The longest published ones have some 20 kB.
const MaxSource = 1 << 20

// Parse parses a template. The name is used in messages only. An error is an *Error.
func Parse(name, source string) (t *Template, err error) {
	defer rescue(name, &err)
	if len(source) > MaxSource {
		panic(&Error{Line: 1,
			Message: fmt.Sprintf("the template has %d bytes; at most %d are accepted", len(source), MaxSource)})
	}
	p := &parser{toks: lex(source)}
	body := p.parseTemplate()
	return &Template{name: name, body: body, hasGeneration: p.sawGeneration}, nil
}

// HasGeneration says whether the template contains a {% generation %} block.
func (t *Template) HasGeneration() bool { return t.hasGeneration }

// A Piece is a run of rendered text of one origin.
type Piece struct {
	Text string
	// Origin is the mark of the input the text comes from (Marked), or 0: written by the template.
	Origin int
	// Generation says that the text was written inside a {% generation %} block.
	Generation bool
}

// Render runs the template on the variables and gives its output, in pieces without empty ones. now is what
// strftime_now shows. An error is an *Error.
func (t *Template) Render(vars *Dict, now time.Time, limits Limits) (pieces []Piece, err error) {
	defer rescue(t.name, &err)
	size := inputSize(vars, 0)
	s := &state{limits: limits.withDefaults(size), now: now, line: 1}
	s.scope = newGlobals(s)
	s.scope = &scope{parent: s.scope}
	for _, k := range vars.keys {
		if name, ok := k.(string); ok {
			s.scope.set(name, vars.get(name))
		}
	}
	s.scope = &scope{parent: s.scope}
	s.out = &builder{}
	s.execAll(t.body)
	return s.out.str().pieces(), nil
}

// rescue turns the *Error that the parser and the interpreter panic with into a returned error. Anything else is a bug
// of ours and goes on.
func rescue(name string, err *error) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		r.Name = name
		*err = r
	default:
		panic(r)
	}
}
