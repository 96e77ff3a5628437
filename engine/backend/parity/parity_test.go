package parity

import (
	"testing"

	"github.com/ggtune/ggtune/engine/graph"
)

// TestEveryOperationHasACase walks the operations.
func TestEveryOperationHasACase(t *testing.T) {
	met := map[*graph.Op]bool{}
	for _, c := range cases {
		b := &Builder{G: &graph.Graph{}, data: map[key][]byte{}}
		b.G.Output(c.Build(b))
		if err := b.fault(); err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		nodes := b.G.Nodes
		if b.differentiated() {
			back, err := graph.Differentiate(b.G, b.wanted(), false)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			nodes = append(nodes[:len(nodes):len(nodes)], back.Graph.Nodes...)
		}
		for _, n := range nodes {
			met[n.Op] = true
		}
	}
	for _, op := range graph.Ops() {
		if !met[op] {
			t.Errorf("%v has no case: write one into a file named as the operation's", op)
		}
	}
}
