package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

func swigluOAI(n *graph.Node) kernels.SwiGLUOAIConstants {
	return kernels.SwiGLUOAIConstants(n.Attr.(graph.SwiGLUOAIAttr))
}

var _ = emit(graph.SwiGLUOAI, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSwiGLUOAI, swigluOAI(n), l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.SwiGLUOAIBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSwiGLUOAIBack, swigluOAI(n), l.operands(n)...)
})
