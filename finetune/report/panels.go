package report

import (
	"fmt"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/visible"
)

// The size of several plots on one sheet.
const (
	panelColumns = 2
	panelWidth   = 4.5 * vg.Inch
	panelHeight  = 2.2 * vg.Inch
	panelHead    = 18 // points: its title
)

// WriteFigures draws the figures of a run by rewards over its steps as one SVG file, a panel each: of each step, their
// mean, and what was measured of held-out prompts, with before of the untouched base. Without a figure there is no
// file.
func WriteFigures(path, title string, lines []Line, before map[string]float64) error {
	list := Figures(lines)
	if len(list) == 0 {
		return nil
	}
	rows := vg.Length((len(list) + panelColumns - 1) / panelColumns)
	canvas := vgsvg.New(panelColumns*panelWidth, plotHead+rows*panelHeight)
	whole := draw.New(canvas)
	whole.SetColor(ground.light)
	whole.Fill(whole.Rectangle.Path())
	style := draw.TextStyle{Color: ink.light, Font: sans(12), Handler: newPlot(axes{}).TextHandler, YAlign: draw.YTop}
	top := whole.Max.Y - plotMargin
	whole.FillText(style, vg.Point{X: plotMargin, Y: top}, visible.Escape(title))
	style.Font = sans(10)
	whole.FillText(style, vg.Point{X: plotMargin, Y: top - panelHead},
		"thin: each step; strong: mean of 20 steps; dots: held out")
	for i, f := range list {
		x, y := vg.Length(i%panelColumns)*panelWidth, whole.Max.Y-plotHead-vg.Length(i/panelColumns)*panelHeight
		part := draw.Canvas{Canvas: whole.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: x + plotMargin, Y: y - panelHeight + plotMargin},
			Max: vg.Point{X: x + panelWidth - plotMargin, Y: y}}}
		part.FillText(style, vg.Point{X: part.Min.X, Y: part.Max.Y}, visible.Escape(f.Title))
		p := newPlot(axes{x: "step"})
		for _, c := range figureCurves(lines, f.Name, before) {
			if err := c.add(p); err != nil {
				return fmt.Errorf("draw %s: %w", path, err)
			}
		}
		p.Draw(draw.Crop(part, 0, 0, 0, -panelHead))
	}
	b, err := svgOf(canvas)
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b, 0o666)
}

// figureCurves are those of one figure.
func figureCurves(lines []Line, name string, before map[string]float64) []curve {
	of := make([]Line, 0, len(lines))
	var kept plotter.XYs
	if x, ok := before[name]; ok {
		kept = append(kept, plotter.XY{X: 0, Y: x})
	}
	for _, l := range lines {
		if x, ok := l.Figures[name]; ok {
			of = append(of, Line{Step: l.Step, Loss: x})
		}
		if x, ok := l.Figures["eval_"+name]; ok {
			kept = append(kept, plotter.XY{X: float64(l.Step), Y: x})
		}
	}
	each, smooth, _ := losses(of, nil)
	return threeCurves(each, smooth, thin(kept))
}
