package parity

import "github.com/ggtune/ggtune/engine/graph"

// masters adds a case for each type of what is trained.
func masters(name string, build func(b *Builder, typ int32) graph.ID, tol float64) bool {
	of := func(typ int32) func(b *Builder) graph.ID { return func(b *Builder) graph.ID { return build(b, typ) } }
	return add(Case{name, of(graph.F32), tol}, Case{name + ", bf16", of(graph.BF16), tol})
}

var _ = masters("adamw", func(b *Builder, typ int32) graph.ID {
	g := b.Input("g", graph.Matrix(1003, 3))
	k := b.Doubles("constants", 0.7, 0.9, 0.99, 0.999, 0.1, 0.3, 1e-8)
	return b.G.AdamW(b.Master("x", typ, 1003, 3), b.State("m", 1003, 3), b.State("v", 1003, 3), g, k)
}, 0)
