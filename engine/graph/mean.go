package graph

// A MeanAttr holds the constants of MeanBack.
type MeanAttr struct {
	Rows int64 // of the output
}

// Mean: x [K,T], ends i32 [1,N] → [K,N], the means of runs of rows: of rows [ends_i−1, ends_i), the first run from row
// 0; 0 of a run without rows.
var Mean = register(&Op{Name: "mean", Outs: 1, Cheap: true, shape: shapeMean, back: backMean})

// MeanBack: dy [K,N], ends → [K,Rows], to each row of a run its share of the run's; 0 to rows behind the last run.
var MeanBack = register(&Op{Name: "mean_back", Outs: 1, shape: shapeMeanBack})

// Mean gives the means of runs of x's rows.
func (g *Graph) Mean(x, ends ID) ID {
	return g.emit(Node{Op: Mean, In: []ID{x, ends}, Acc: None})[0]
}

func backMean(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	a := MeanAttr{Rows: r.f.shape(n.In[0])[1]}
	in := []ID{r.grad[n.Out[0]], r.need(n.In[1])}
	r.pass(n.In[0], r.out.emit(Node{Op: MeanBack, In: in, Acc: None, Attr: a})[0])
}

func shapeMean(g *Graph, n *Node) ([]Shape, error) {
	x, ends := g.shape(n.In[0]), g.Value(n.In[1])
	return []Shape{Matrix(x[0], ends.Shape[1])}, want(ends.Shape[0] == 1 && ends.Type == I32,
		"ends of runs %v of type %d", ends.Shape, ends.Type)
}

func shapeMeanBack(g *Graph, n *Node) ([]Shape, error) {
	dy, ends := g.shape(n.In[0]), g.shape(n.In[1])
	out := Matrix(dy[0], n.Attr.(MeanAttr).Rows)
	return []Shape{out}, want(ends == Matrix(1, dy[1]), "%d rows, ends of runs %v", dy[1], ends)
}
