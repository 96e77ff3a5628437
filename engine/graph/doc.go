// Package graph holds a compute graph as plain data: values, nodes, their shapes and their derivatives. It knows no
// memory, no thread and no kernel; package cpu, or another backend, lowers a graph to calls and places its values.
//
//	g ← &Graph{}
//	w ← g.Bound(Value{Kind: Param, …})       a value from outside: an input, a weight, what is trained (graph.go)
//	y ← g.Linear(w, x, …)                    a node: the operation checks its inputs and gives the outputs' shapes
//	g.Output(y); g.Err()                     the first fault met while building
//
//	Differentiate(g, wanted, keep):          a graph of its own (reverse.go)
//	    bind the gradients of g's outputs
//	    for each node of g, backwards, that a gradient reaches and that leads to something trained or wanted:
//	        op.back: nodes for the gradients of its inputs; a forward value that they need is
//	            bound, if it comes from outside; kept from the forward pass, if costly and keep; else computed again
//	        gradients of one value are summed; those of a Param are added to its Grad
//
// An operation is a file: its Op, its constants, the builder's method, its derivative and the operations of that. What
// it may overwrite and what it costs are fields of the Op (op.go).
package graph
