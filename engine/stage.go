package engine

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A stage is one crossing into C and back: the embedding, one layer, or what follows the last layer.
type stage struct {
	forward  backend.Program
	backward backend.Program // nil where nothing is trained and no gradient passes
	keeps    []int64         // offset of each kept value (forward.exports after the outputs) in the stage's keep area
	keep     []graph.ID
	keepSize int64 // bytes
}

// The stages that are no layer.
const (
	stageEmbed = -1
	stageFinal = -2
)

// A shape is what a stage's graph depends on beside the model.
type shape struct {
	tokens, counted, segments int64
	adapter, dropout, back    bool
	recompute                 bool // keep nothing of a layer but its input
	inputGrad                 bool // the gradient of the stage's input is wanted
	logits                    bool // the last stage gives logits, not log-probabilities
}

type stageKey struct {
	signature string
	shape
}

// stage builds, or finds, the stage il (or stageEmbed, stageFinal) for batches of that shape.
func (s *Session) stage(il int, sh shape) (*stage, error) {
	key := stageKey{s.signature(il), sh}
	if st, ok := s.stages[key]; ok {
		return st, nil
	}
	st, err := s.buildStage(il, sh)
	if err != nil {
		return nil, err
	}
	const most = 64 // batches of a run have few shapes; a run with many builds some again
	if len(s.stages) >= most {
		clear(s.stages)
	}
	s.stages[key] = st
	return st, nil
}

// signature tells stages apart whose graphs differ: by storage types, what is trained and where pairs stand.
func (s *Session) signature(il int) string {
	if sig, ok := s.signatures[il]; ok {
		return sig
	}
	var b strings.Builder
	switch {
	case il == stageEmbed:
		b.WriteString("embed:")
	case il == stageFinal:
		b.WriteString("final:")
	default:
		b.WriteString("layer:")
		for _, p := range s.model.arch.Layer(s.model.hp) {
			if t, ok := s.model.tensors[p.Name(il)]; ok {
				fmt.Fprintf(&b, "%s%s=%d", p.Role, p.Suffix, t.info.Type)
				if pair, ok := s.pairs[p.Name(il)]; ok {
					fmt.Fprintf(&b, "r%d", pair.Rank)
				}
				b.WriteByte(' ')
			}
		}
	}
	s.signatures[il] = b.String()
	return b.String()
}

func (s *Session) builder(il int, sh shape) *arch.Builder {
	at := max(il, -1) // tensors outside the layers
	return &arch.Builder{
		G: &graph.Graph{}, HP: s.model.hp, T: sh.tokens, Segments: sh.segments,
		Tensor: func(r arch.Role, suffix string) (arch.Tensor, bool) {
			t, ok := s.model.tensors[arch.TensorName(r, suffix, at)]
			if !ok {
				return arch.Tensor{}, false
			}
			return arch.Tensor{Type: int32(t.info.Type), Shape: t.shape, Trained: s.full}, true
		},
		Pair: func(r arch.Role) (arch.Pair, bool) {
			p, ok := s.pairs[arch.TensorName(r, ".weight", at)]
			if !ok || !sh.adapter {
				return arch.Pair{}, false
			}
			out := arch.Pair{Rank: p.Rank, Scale: s.adapter.Scale(p), At: s.pairAt[p]}
			if sh.dropout {
				out.Dropout = s.cfg.Dropout
			}
			return out, true
		},
	}
}

func (s *Session) buildStage(il int, sh shape) (*stage, error) {
	b := s.builder(il, sh)
	var x, y graph.ID
	switch il {
	case stageEmbed:
		y = s.model.arch.Embed(b)
	case stageFinal:
		x = b.Input()
		h := s.model.arch.Final(b, b.G.Rows(x, b.Indices(arch.InputSources, sh.counted)))
		if sh.logits {
			y = b.Logits(h)
		} else {
			y = b.Head(h, sh.counted, sh.back)
		}
	default:
		x = b.Input()
		y = s.model.arch.Block(b, x)
	}
	b.G.Output(y)
	st := &stage{}
	if err := s.differentiate(st, b.G, x, il, sh); err != nil {
		return nil, err
	}
	var err error
	if st.forward, err = s.backend.Compile(b.G, st.keep, s.cfg.Exact); err != nil {
		return nil, err
	}
	for _, id := range st.keep {
		st.keeps = append(st.keeps, st.keepSize)
		st.keepSize += backend.Aligned(valueBytes(b.G.Value(id)))
	}
	return st, nil
}

func (s *Session) differentiate(st *stage, g *graph.Graph, x graph.ID, il int, sh shape) error {
	if !sh.back || g.Err() != nil {
		return g.Err()
	}
	var wanted []graph.ID
	if sh.inputGrad && il != stageEmbed {
		wanted = []graph.ID{x}
	}
	bw, err := graph.Differentiate(g, wanted, !sh.recompute || il == stageFinal)
	if err != nil || bw == nil {
		return err
	}
	st.keep = bw.Keep
	st.backward, err = s.backend.Compile(bw.Graph, nil, s.cfg.Exact)
	return err
}

func valueBytes(v *graph.Value) int64 { return v.Shape.Elements() * 4 }
