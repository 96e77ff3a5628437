// Package cpu runs compute graphs on the processor: it lowers a graph to kernel calls, joins and places them, and runs
// them on a pool of threads. It is the reference that other backends are held to. It knows no model and no session.
//
//	Compile(graph):                          once for each kind of layer and batch shape
//	    when is each value read last?                                   (lower.go)
//	    a product that starts from another is joined with it: one call  (fuse.go)
//	    a value lives in the memory of one that it may overwrite        (lower.go)
//	    for each node: its emitter appends calls on views of values     (emit.go, and a file named as the operation's)
//	    each slot gets its offset in the work area                      (place.go)
//	Run(program, binding):                   for each layer of each pass
//	    fill in the addresses, and run all calls in one crossing into C (program.go, bindings/ggml)
//
// Memory and weights are blocks behind handles (cpu.go).
package cpu
