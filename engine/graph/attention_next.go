package graph

import (
	"errors"
	"fmt"
)

// AttentionNext: q [HeadDim·Heads,T], k, v [HeadDim·KVHeads,T] of new tokens of texts, kept [page,pages] (a State),
// table i32, sinks [Heads] or None → o as q. Keys and values are put among those kept, and each token attends to what
// its text has, itself included. It is for writing texts token by token, to the bits of Attention over the whole of
// them. How a page is laid out, and in which type, is the device's (backend.Backend.Kept); the table is the kernels'
// (attn_next.inc.h).
var AttentionNext = register(&Op{Name: "attention_next", Outs: 1, Updates: []int{3}, NoGrad: true,
	shape: shapeAttentionNext})

// AttentionNext adds attention of new tokens to what is kept, with sinks or None, and returns o.
func (g *Graph) AttentionNext(q, k, v, kept, table, sinks ID, a AttentionAttr) ID {
	return g.emit(Node{Op: AttentionNext, In: []ID{q, k, v, kept, table, sinks}, Acc: None, Attr: a})[0]
}

func shapeAttentionNext(g *Graph, n *Node) ([]Shape, error) {
	switch a := n.Attr.(AttentionAttr); {
	case a.Bidirectional:
		return nil, errors.New("tokens that see later ones cannot be written one after the other")
	case a.Drop.Rate != 0:
		return nil, errors.New("dropout of a text that is written")
	}
	shapes, err := shapeAttended(g, n, n.In[5])
	if err != nil {
		return nil, err
	}
	if v := g.Value(n.In[3]); v.Type != F32 && v.Type != BF16 {
		return nil, fmt.Errorf("keeps keys and values in type %d", v.Type)
	}
	return shapes[:1], nil
}
