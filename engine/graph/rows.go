package graph

// A ScatterAttr holds the constants of Scatter.
type ScatterAttr struct {
	Rows int64 // of the output
}

// Rows: table [K,V] (a Weight of any type, a Param or an activation), ids i32 [1,T] → [K,T].
var Rows = register(&Op{Name: "rows", Outs: 1, Cheap: true, shape: shapeRows, back: backRows})

// RowsGrad: dy [K,T], ids; adds dy_t to row ids[t] of a Grad [K,V].
var RowsGrad = register(&Op{Name: "rows_grad", shape: shapeNone})

// Scatter: dy [K,T], ids → [K,Rows] = Acc, with dy_t added to row ids[t].
var Scatter = register(&Op{Name: "scatter", Outs: 1, Starts: true, shape: shapeScatter})

// Rows gathers rows ids of table.
func (g *Graph) Rows(table, ids ID) ID {
	return g.emit(Node{Op: Rows, In: []ID{table, ids}, Acc: None})[0]
}

func backRows(r *reverse, n *Node) {
	table, ids, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	if g := r.accumulator(table); g != None {
		r.out.into(Node{Op: RowsGrad, In: []ID{dy, r.need(ids)}}, g)
		return
	}
	if r.needs[table] {
		a := ScatterAttr{Rows: r.f.shape(table)[1]}
		r.into(table, Node{Op: Scatter, In: []ID{dy, r.need(ids)}, Attr: a})
	}
}

func shapeRows(g *Graph, n *Node) ([]Shape, error) {
	return []Shape{Matrix(g.shape(n.In[0])[0], g.shape(n.In[1])[1])}, nil
}

func shapeScatter(g *Graph, n *Node) ([]Shape, error) {
	dy, ids := g.shape(n.In[0]), g.shape(n.In[1])
	out := Matrix(dy[0], n.Attr.(ScatterAttr).Rows)
	return []Shape{out}, want(dy[1] == ids[1], "%d rows, %d indices", dy[1], ids[1])
}
