// Package jinja runs the Jinja that chat templates are written in, as transformers runs it: jinja2's language with
// trim_blocks, lstrip_blocks, loop controls, the generation tag and transformers' tojson, raise_exception and
// strftime_now. It knows no file, no network and no message format.
//
// It exists because a loss mask needs what no Jinja library gives: every string here carries its origin. A string that
// came in marked (Marked) keeps the mark, byte by byte, through slicing, stripping, splitting, joining and tojson, so
// that the rendered text says by itself which parts of it are a message's own words (Piece.Origin). Nothing is searched
// for and nothing can be forged by the content. The maintained Go library, gonja v2.9.1, was tried first: 4 of 37
// published templates do not parse with it and a fifth stops when rendered, none and undefined are one value,
// dictionaries are sorted, and a macro that calls itself exhausts the stack, which ends a Go process.
//
// Templates come from strangers. A template can reach nothing but the values it is given: there are no loaders, and
// include, import, extends and block are refused when it is parsed. Work, memory, output and depth are counted and
// bounded (Limits); the count does not depend on the clock, so a template that is refused is refused everywhere.
//
//	Parse: source → tokens → tree                        (lexer.go, parse.go, parse_expr.go, ast.go)
//	Render(variables): execute the tree                  (exec.go)
//	    a tag runs its body; an expression is a value    (eval.go, ops.go, value.go)
//	    strings are text with the origin of every byte   (str.go)
//	    |filter, is test, .method(), global()            (filters*.go, tests.go, methods.go, globals.go, json.go)
//	    every node, string and list is charged to Limits
//	→ pieces of text, each of one origin
package jinja
