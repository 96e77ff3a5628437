package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/ggtune/ggtune/internal/atomicfile"
)

// WritePlot draws the losses of a run over its steps as an SVG file: each step's, their running mean, and the held-out
// losses, with the untouched base's (or nil) at step 0.
func WritePlot(path, title, unit string, lines []Line, before *float64) error {
	var loss, mean, held plotter.XYs
	if before != nil {
		held = append(held, plotter.XY{X: 0, Y: *before})
	}
	avg, weight := 0.0, 0.0
	for _, l := range lines {
		if math.IsNaN(l.Loss) {
			continue
		}
		loss = append(loss, plotter.XY{X: float64(l.Step), Y: l.Loss})
		// An exponential mean over about 20 steps, without the bias of a start at 0.
		avg, weight = 0.95*avg+0.05*l.Loss, 0.95*weight+0.05
		mean = append(mean, plotter.XY{X: float64(l.Step), Y: avg / weight})
		if l.EvalLoss != nil {
			held = append(held, plotter.XY{X: float64(l.Step), Y: *l.EvalLoss})
		}
	}
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "step"
	p.Y.Label.Text = unit
	p.Legend.Top, p.Legend.Padding = true, 4 // points; without, the entries' letters touch
	p.Add(plotter.NewGrid())
	light, dark, red := color.RGBA{R: 160, G: 190, B: 230, A: 255}, color.RGBA{R: 20, G: 70, B: 150, A: 255}, color.RGBA{R: 200, G: 40, B: 30, A: 255}
	for _, c := range []struct {
		name  string
		xys   plotter.XYs
		color color.Color
		width vg.Length
		dots  bool
	}{{"each step", loss, light, 1, false}, {"mean of 20 steps", mean, dark, 1.5, false}, {"held out", held, red, 1.5, true}} {
		if len(c.xys) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(c.xys)
		if err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
		line.Color, line.Width = c.color, c.width
		points.Color, points.Radius = c.color, 2
		p.Add(line)
		// A line of one point cannot be seen.
		if c.dots || len(c.xys) == 1 {
			p.Add(points)
		}
		p.Legend.Add(c.name, line)
	}
	w, err := p.WriterTo(8*vg.Inch, 4.5*vg.Inch, "svg")
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b.Bytes(), 0o666)
}
