package graph

import "testing"

// meanings holds what each operation computes, in float64, one scalar loop an operation: derivatives are checked
// against it without any kernel. Each stands in the test file of its operation.
var meanings = map[*Op]func(e *evaluator){}

func meaning(op *Op, f func(e *evaluator)) *Op {
	meanings[op] = f
	return op
}

// A diffCase builds a graph from bound values; every Param and the Input named "x" is differentiated.
type diffCase struct {
	name  string
	build func(g *Graph) ID
}

var diffCases []diffCase

// differences adds a case of TestDerivatives.
func differences(name string, build func(g *Graph) ID) string {
	diffCases = append(diffCases, diffCase{name, build})
	return name
}

// eval runs a graph in float64. vals holds the bound values by ID and receives the others; Grads are added to.
func eval(g *Graph, vals map[ID][]float64) {
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for k, out := range n.Out {
			if out == None || vals[out] != nil {
				continue
			}
			vals[out] = make([]float64, g.shape(out).Elements())
			if k == 0 && n.Acc != None {
				copy(vals[out], vals[n.Acc])
			}
		}
		meanings[n.Op](&evaluator{g: g, n: n, vals: vals})
	}
}

// An evaluator is one node on its way through eval.
type evaluator struct {
	g    *Graph
	n    *Node
	vals map[ID][]float64
}

func (e *evaluator) in(i int) []float64 {
	if e.n.In[i] == None {
		return nil
	}
	return e.vals[e.n.In[i]]
}

func (e *evaluator) out(i int) []float64 {
	if e.n.Out[i] == None {
		return nil
	}
	return e.vals[e.n.Out[i]]
}

func (e *evaluator) dims(i int) (int, int) {
	s := e.g.shape(e.n.In[i])
	return int(s[0]), int(s[1])
}

// TestEveryOperationIsProven: each has a meaning, and its derivative, or the derivative that it is part of, is held to
// finite differences by a case in its test file.
func TestEveryOperationIsProven(t *testing.T) {
	met := map[*Op]bool{}
	for _, c := range diffCases {
		f := &Graph{}
		f.Output(c.build(f))
		b, err := Differentiate(f, []ID{f.Find(Input, "x")}, true)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, n := range append(f.Nodes, b.Graph.Nodes...) {
			met[n.Op] = true
		}
	}
	for _, op := range Ops() {
		if op.NoGrad {
			if op.back != nil || met[op] {
				t.Errorf("%v has a derivative, or is part of one", op)
			}
			continue
		}
		if meanings[op] == nil {
			t.Errorf("%v has no meaning: write one into its test file (meaning)", op)
		}
		if !met[op] {
			t.Errorf("%v is met by no case of finite differences: write one into its test file (differences)", op)
		}
	}
}
