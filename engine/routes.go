package engine

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// Routes are which experts the tokens of a batch have, layer by layer. A pass that is given them empty fills them in,
// and passes over the same batch after it take what they hold: a small step of the parameters then changes no choice,
// across which a loss has no slope. Of a model without experts they stay empty.
type Routes struct {
	of map[int][]int32 // by layer, [experts of a token, tokens]
}

// A routing says what a stage does about the choice of experts.
type routing int

const (
	routesFree routing = iota
	routesTold
	routesHeld
)

// routing is what a pass does about it.
func (r *Routes) routing() routing {
	switch {
	case r == nil:
		return routesFree
	case r.of == nil:
		return routesTold
	}
	return routesHeld
}

// hold adds what r holds to a pass's lists.
func (r *Routes) hold(idx indices) {
	for il, chosen := range r.of {
		idx[chosenIn(il)] = chosen
	}
}

// chosenIn names a layer's list of chosen experts among those of a pass.
func chosenIn(il int) string { return fmt.Sprint(arch.InputChosen, ".", il) }

// checkRoutes refuses routes that are not of the pass's tokens.
func (p *pass) checkRoutes() error {
	for il, st := range p.layers {
		g := st.forward.Graph()
		id := g.Find(graph.Input, arch.InputChosen)
		if id == graph.None {
			continue
		}
		if got, want := int64(len(p.idx[chosenIn(il)])), g.Value(id).Shape.Elements(); got != want {
			return fmt.Errorf("engine: layer %d: routes of %d choices, expected %d: they are of another batch", il, got,
				want)
		}
	}
	return nil
}

// noteRoutes keeps what a layer has chosen.
func (p *pass) noteRoutes(il int, st *stage) error {
	if p.opt.Routes.routing() == routesFree || st.chosen == graph.None {
		return nil
	}
	chosen := make([]int32, st.forward.Graph().Value(st.chosen).Shape.Elements())
	if err := p.s.backend.Download(backend.BytesOf(chosen), p.keptPlace(st, st.chosen, p.keptAt[il])); err != nil {
		return err
	}
	p.chosen[il] = chosen
	return nil
}
