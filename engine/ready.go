package engine

import "github.com/ggtune/ggtune/engine/graph"

// A watch tells of parameters whose gradients nothing more is added to: once of each, while the pass goes on below.
type watch struct {
	ready func(*Param) error
	last  map[*Param]int // the last leg of the way back that adds to a parameter's gradient
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
	if ready == nil {
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
		if last, ok := w.last[param]; ok && last == i || !ok && end {
			if err := w.ready(param); err != nil {
				return err
			}
		}
	}
	return nil
}
