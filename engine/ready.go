package engine

import (
	"slices"

	"github.com/ggtune/ggtune/engine/graph"
)

// A watch tells of parameters whose gradients nothing more is added to: once of each, while the pass goes on below.
// Before, it ties the gradients of numbers that are tied.
type watch struct {
	ready func(*Param) error // nil: nobody asks
	last  map[*Param]int     // the last leg of the way back that adds to a parameter's gradient
}

// A leg is one stage on the way back.
type leg struct {
	il int
	st *stage
}

// wayBack lists the stages in the order in which the backward pass runs them.
func (p *pass) wayBack() []leg {
	out := []leg{{stageFinal, p.final}}
	for il := len(p.layers) - 1; il >= max(0, p.lowest); il-- {
		out = append(out, leg{il, p.layers[il]})
	}
	return append(out, leg{stageEmbed, p.embed})
}

// watch finds out which leg is a parameter's last from where the legs' graphs write: an accumulator may be those of
// several parameters, and a tensor may be used by several stages.
func (p *pass) watch(way []leg, ready func(*Param) error) *watch {
	if ready == nil && !slices.ContainsFunc(p.s.params, func(q *Param) bool { return q.Tied > 1 }) {
		return nil
	}
	w := &watch{ready: ready, last: map[*Param]int{}}
	for i, one := range way {
		if one.st.backward == nil {
			continue
		}
		g := one.st.backward.Graph()
		for k := range g.Values {
			v := &g.Values[k]
			if v.Kind != graph.Grad {
				continue
			}
			from := p.outside(one.il, v)
			for _, param := range p.s.params {
				if at := param.Grad.At; at.Mem == from.Mem && at.At >= from.At && at.At < from.At+valueBytes(v) {
					w.last[param] = i
				}
			}
		}
	}
	return w
}

// after tells of the parameters whose last leg was i; those that no leg adds to are told of after the last one.
func (w *watch) after(p *pass, i int, end bool) error {
	if w == nil {
		return nil
	}
	for _, param := range p.s.params {
		if last, ok := w.last[param]; ok && last != i || !ok && !end {
			continue
		}
		if err := param.tie(); err != nil {
			return err
		}
		if w.ready == nil {
			continue
		}
		if err := w.ready(param); err != nil {
			return err
		}
	}
	return nil
}

// tie makes the gradients of tied numbers their mean: the gradient of what they are together, along the step that each
// of them makes. Gradients that were tied before stay as they are to the bit.
func (p *Param) tie() error {
	if p.Tied < 2 {
		return nil
	}
	step := max(1, piece/p.Tied) * p.Tied
	buffer := make([]float32, min(step, p.Grad.N))
	for at := int64(0); at < p.Grad.N; at += step {
		some := buffer[:min(step, p.Grad.N-at)]
		if err := p.Grad.Download(some, at); err != nil {
			return err
		}
		for group := range slices.Chunk(some, int(p.Tied)) {
			sum := 0.0
			for _, g := range group {
				sum += float64(g)
			}
			for i := range group {
				group[i] = float32(sum / float64(len(group)))
			}
		}
		if err := p.Grad.Upload(some, at); err != nil {
			return err
		}
	}
	return nil
}
