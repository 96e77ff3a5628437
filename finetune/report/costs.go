package report

import (
	"cmp"
	"fmt"
	"slices"

	"gonum.org/v1/plot/plotter"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/visible"
)

// A SizeCost is what a model of a size lost.
type SizeCost struct {
	Name   string
	Bytes  int64
	KL     float64 // nats per token
	Chosen bool    // its types were chosen for a size, not by a mix's rule
}

// leastKL is where a plot puts what is less: rounding in the measurement itself.
const leastKL = 1e-7

// WriteCosts draws the divergence of several sizes of a model from it, on a text, as an SVG file: a point for each.
func WriteCosts(path, text string, all []SizeCost) error {
	mixes := curve{name: "mixes", ink: mean, points: []string{}}
	chosen := curve{name: "types chosen for the size", ink: held, points: []string{}}
	all = slices.SortedFunc(slices.Values(all), func(a, b SizeCost) int { return cmp.Compare(a.Bytes, b.Bytes) })
	for _, s := range all {
		c := &mixes
		if s.Chosen {
			c = &chosen
		}
		c.xys = append(c.xys, plotter.XY{X: float64(s.Bytes) / 1e6, Y: max(s.KL, leastKL)})
		c.points = append(c.points, visible.Escape(s.Name))
	}
	mixes.width, chosen.width = 1.75, 1.75
	b, err := drawPlot(axes{title: "against the source, on " + text, x: "tensors, MB", y: "KL, nats per token",
		log: true}, drawable([]curve{mixes, chosen}))
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b, 0o666)
}
