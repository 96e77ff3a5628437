package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// Pooled is a vector [n_embd] for each segment that Row.Pooled lists: of the states after the output norm at the tokens
// of the text that ends with the segment, its ancestors' and its own, it is the mean, the first or the last, as
// Options.Pooling says, and what the model has behind the pooling makes of that. Its length is as it comes: who
// compares directions normalises it.
var Pooled = registerOutput(&Output{
	Name:  "pooled",
	Doc:   "a vector for each pooled segment, of the states after the output norm at its text's tokens",
	of:    pooledSegments,
	width: func(r *request) int64 { return int64(r.hp.NEmbd) },
	build: func(t *top) graph.ID {
		v := t.rows(arch.InputPooled)
		if t.G.Value(v).Shape[1] != t.n { // else one of each text
			v = t.G.Mean(v, t.Indices(arch.InputPooledEnds, t.n))
		}
		return t.Project(t.after, v)
	},
})

// pooledSegments are those that Row.Pooled lists, each with the tokens that its vector is made of.
var pooledSegments = &reading{
	what:  "pooled segment",
	names: []string{arch.InputPooledEnds, arch.InputPooled},
	row: func(x indices, r *laid) error {
		last := int32(-1)
		for _, i := range r.Pooled {
			if i <= last || int(i) >= len(r.Segments) {
				return fmt.Errorf("pooled segment %d after %d: expected ascending numbers below %d", i, last,
					len(r.Segments))
			}
			end := lastToken(r.Segments, int(i))
			if end < 0 {
				return fmt.Errorf("pooled segment %d has no token, and none before it", i)
			}
			text := r.upTo(end)
			switch r.pooling {
			case arch.PoolCLS:
				text = text[:1]
			case arch.PoolLast:
				text = text[len(text)-1:]
			}
			x.add(arch.InputPooled, text...)
			x.add(arch.InputPooledEnds, int32(len(x[arch.InputPooled])))
			last = i
		}
		return nil
	},
	plan: func(x indices, e *Extent, p arch.Pooling) {
		x[arch.InputPooledEnds] = make([]int32, e.Pooled)
		x[arch.InputPooled] = make([]int32, e.Pooled)
		if p == arch.PoolMean {
			x[arch.InputPooled] = make([]int32, e.Tokens)
		}
	},
}

// upTo gives the places in the batch of a token and of those before it in the tree.
func (r *laid) upTo(token int32) []int32 {
	var text []int32
	for ; token >= 0; token = r.before[token] {
		text = append(text, r.token+token)
	}
	slices.Reverse(text)
	return text
}

// Pooling gives what a text's vector is made of: what is asked for, or, where that is 0, what the model's file says.
func (m *Model) Pooling(asked arch.Pooling) (arch.Pooling, error) {
	if asked.Pools() {
		return asked, nil
	}
	if asked != 0 {
		return 0, fmt.Errorf("pooling %v gives no vector, expected %s", asked, strings.Join(arch.Poolings(), ", "))
	}
	if p := m.net.Pooling; p.Pools() {
		return p, nil
	}
	return 0, m.fault("the file says %q of how one vector is made of a text (%s.pooling_type); say it: %s",
		m.net.Pooling, m.net.Arch, strings.Join(arch.Poolings(), ", "))
}

// pooling is that of a pass, 0 where it is asked for no vectors.
func (s *Session) pooling(opt *Options) (arch.Pooling, error) {
	if !slices.Contains(s.outputs(opt), Pooled) {
		return 0, nil
	}
	p, err := s.model.Pooling(opt.Pooling)
	if err != nil {
		return 0, fmt.Errorf("engine: forward: %w", err)
	}
	return p, nil
}
