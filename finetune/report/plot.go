package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/visible"
)

// An inkwell is a colour on a light ground, and what it becomes where the reader prefers a dark one.
type inkwell struct {
	light color.RGBA
	dark  string
}

func rgb(r, g, b uint8) color.RGBA { return color.RGBA{R: r, G: g, B: b, A: 255} }

// The colours of a plot. No two may be the same on the light ground, because the dark ones are found by them.
var (
	ground = inkwell{rgb(254, 254, 254), "#16181d"}
	ink    = inkwell{rgb(40, 44, 52), "#d6d9e0"}
	grid   = inkwell{rgb(228, 230, 234), "#2b2f38"}
	each   = inkwell{rgb(168, 196, 232), "#35557f"}
	mean   = inkwell{rgb(26, 84, 168), "#6ea8ff"}
	held   = inkwell{rgb(196, 58, 40), "#ff8a70"}
	// Of several runs: Okabe and Ito's colours, which colour-blind readers can tell apart, darkened for a light ground.
	runs = []inkwell{{rgb(0, 104, 168), "#56b4e9"}, {rgb(204, 82, 0), "#ff9d4d"}, {rgb(0, 128, 92), "#3fd0a4"},
		{rgb(176, 72, 136), "#e79fc8"}, {rgb(122, 108, 0), "#f0e442"}, {rgb(90, 90, 96), "#c4c4cc"},
		{rgb(92, 60, 168), "#b7a2ff"}, {rgb(160, 24, 32), "#ff7a7a"}}
	inks = append([]inkwell{ground, ink, grid, each, mean, held}, runs...)
)

// The size of a plot, and of what stands above its axes.
const (
	plotWidth  = 8 * vg.Inch
	plotHeight = 4.5 * vg.Inch
	plotHead   = 44 // points: a line of title, a line that says what the curves are
	plotMargin = 10
	plotRow    = 16 // of names of curves
	plotStroke = 18
	plotGap    = 5
	// mostPoints of a curve: more than the plot has pixels beside each other.
	mostPoints = 1500
)

// WritePlot draws the losses of a run over its steps as an SVG file: each step's, their running mean, and the held-out
// losses, with the untouched base's (or nil) at step 0. It is light or dark as the reader's other pages are.
func WritePlot(path, title, unit string, lines []Line, before *float64) error {
	b, err := drawPlot(axes{title: title, x: "step", y: unit}, curves(lines, before))
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b, 0o666)
}

// WriteCalibration draws as an SVG file how often something was so that was said to be so with some probability: points
// [said, was] in ascending order, beside the line on which both are the same.
func WriteCalibration(path, title string, points [][2]float64) error {
	var xys plotter.XYs
	for _, p := range points {
		xys = append(xys, plotter.XY{X: p[0], Y: p[1]})
	}
	ideal := plotter.XYs{{X: 0, Y: 0}, {X: 1, Y: 1}}
	if len(xys) > 0 && xys[0].X >= 0.5 { // of two answers, the better one is said to be so with at least that
		ideal[0] = plotter.XY{X: 0.5, Y: 0.5}
	}
	b, err := drawPlot(axes{title: title, x: "said", y: "was"}, []curve{
		{"said is what was", ideal, grid, 1.75, false, nil}, {"measured", xys, mean, 1.75, true, nil}})
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b, 0o666)
}

// A curve of a plot.
type curve struct {
	name   string // "": it is not named
	xys    plotter.XYs
	ink    inkwell
	width  vg.Length
	dots   bool
	points []string // names of the points, which are drawn without a line; nil: it has one
}

// axes are what a plot's say.
type axes struct {
	title, x, y string
	log         bool // the vertical one is logarithmic: all values are above 0
}

// losses gives each step's loss, their running mean, and the held-out losses, with the untouched base's (or nil) at
// step 0.
func losses(lines []Line, before *float64) (loss, smooth, kept plotter.XYs) {
	if before != nil {
		kept = append(kept, plotter.XY{X: 0, Y: *before})
	}
	avg, weight := 0.0, 0.0
	for _, l := range lines {
		if math.IsNaN(l.Loss) {
			continue
		}
		loss = append(loss, plotter.XY{X: float64(l.Step), Y: l.Loss})
		// An exponential mean over about 20 steps, without the bias of a start at 0.
		avg, weight = 0.95*avg+0.05*l.Loss, 0.95*weight+0.05
		smooth = append(smooth, plotter.XY{X: float64(l.Step), Y: avg / weight})
		if l.EvalLoss != nil {
			kept = append(kept, plotter.XY{X: float64(l.Step), Y: *l.EvalLoss})
		}
	}
	return thin(loss), thin(smooth), thin(kept)
}

// curves gives those that have a point.
func curves(lines []Line, before *float64) []curve {
	return threeCurves(losses(lines, before))
}

// threeCurves gives those of a figure that have a point: of each step, their mean, and what is held out.
func threeCurves(single, smooth, kept plotter.XYs) []curve {
	return drawable([]curve{{"each step", single, each, 1, false, nil}, {"mean of 20 steps", smooth, mean, 1.75,
		false, nil}, {"held out", kept, held, 1.75, true, nil}})
}

func drawable(all []curve) []curve {
	return slices.DeleteFunc(all, func(c curve) bool { return len(c.xys) == 0 })
}

// A Curve is the loss of one of several runs.
type Curve struct {
	name         string
	smooth, kept plotter.XYs
}

// NewCurve makes a run's: the running mean of its losses, and the held-out ones, with the untouched base's (or nil) at
// step 0.
func NewCurve(name string, lines []Line, before *float64) Curve {
	_, smooth, kept := losses(lines, before)
	return Curve{name, smooth, kept}
}

// Points gives the running mean and the held-out losses, each as steps and values, ascending.
func (c Curve) Points() (smooth, kept [][2]float64) {
	pairs := func(xys plotter.XYs) [][2]float64 {
		out := make([][2]float64, len(xys))
		for i, p := range xys {
			out[i] = [2]float64{p.X, p.Y}
		}
		return out
	}
	return pairs(c.smooth), pairs(c.kept)
}

// A Colour is how one of several runs is drawn, as CSS writes it.
type Colour struct{ Light, Dark string }

// Colours are those of runs, in their order. So many can be told apart.
func Colours() []Colour {
	var out []Colour
	for _, c := range runs {
		out = append(out, Colour{hex(c.light), c.dark})
	}
	return out
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// WriteCurves draws the losses of several runs over each other as an SVG file. There are colours for only so many: more
// are an error.
func WriteCurves(path, unit string, several []Curve) error {
	if len(several) > len(runs) {
		return fmt.Errorf("draw %s: %d runs are more than can be told apart; name at most %d", path, len(several),
			len(runs))
	}
	var all []curve
	for i, c := range several {
		// The name stands with the first that has points.
		training := curve{c.name, c.smooth, runs[i], 1, false, nil}
		heldOut := curve{"", c.kept, runs[i], 1.75, true, nil}
		if len(c.smooth) == 0 {
			heldOut.name = c.name
		}
		all = append(all, training, heldOut)
	}
	b, err := drawPlot(axes{title: "lines: mean of 20 steps; dots: held out", x: "step", y: unit}, drawable(all))
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b, 0o666)
}

// thin replaces neighbours by their mean until there are few enough.
func thin(xys plotter.XYs) plotter.XYs {
	n := (len(xys) + mostPoints - 1) / mostPoints
	if n <= 1 {
		return xys
	}
	var out plotter.XYs
	for at := 0; at < len(xys); at += n {
		part := xys[at:min(at+n, len(xys))]
		var p plotter.XY
		for _, q := range part {
			p.X += q.X / float64(len(part))
			p.Y += q.Y / float64(len(part))
		}
		out = append(out, p)
	}
	return out
}

func drawPlot(says axes, all []curve) ([]byte, error) {
	title, all := visible.Escape(says.title), slices.Clone(all)
	for i := range all {
		all[i].name = visible.Escape(all[i].name)
	}
	p := newPlot(says)
	style := draw.TextStyle{Color: ink.light, Font: sans(11), Handler: p.TextHandler, YAlign: draw.YBottom}
	names := legend(style, all)
	head := plotHead + vg.Length(names[len(names)-1].row)*plotRow
	canvas := vgsvg.New(plotWidth, plotHeight+head-plotHead)
	whole := draw.New(canvas)
	whole.SetColor(ground.light)
	whole.Fill(whole.Rectangle.Path())
	top := draw.Crop(whole, plotMargin, -plotMargin, whole.Max.Y-head+4, -6)
	above := style
	above.Font, above.YAlign = sans(12), draw.YTop
	top.FillText(above, vg.Point{X: top.Min.X, Y: top.Max.Y}, title)
	for i, n := range names[:len(all)] {
		if all[i].name == "" {
			continue
		}
		at := vg.Point{X: top.Min.X + n.x, Y: top.Min.Y + head - plotHead - vg.Length(n.row)*plotRow}
		y := at.Y + style.FontExtents().Height/2
		top.StrokeLine2(draw.LineStyle{Color: all[i].ink.light, Width: all[i].width}, at.X, y, at.X+plotStroke, y)
		top.FillText(style, vg.Point{X: at.X + plotStroke + plotGap, Y: at.Y}, all[i].name)
	}
	for _, c := range all {
		if err := c.add(p); err != nil {
			return nil, err
		}
	}
	if says.log { // room around a single point, where the library would go below 0
		p.Y.Min, p.Y.Max = p.Y.Min/2, p.Y.Max*2
	}
	p.Draw(draw.Crop(whole, plotMargin, -plotMargin, plotMargin, -head))
	return svgOf(canvas)
}

// newPlot has axes and a grid, and no curve.
func newPlot(says axes) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = ground.light
	p.X.Label.Text, p.Y.Label.Text = says.x, says.y
	if says.log {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Color, a.Tick.Label.Color = ink.light, ink.light, ink.light, ink.light
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(11), sans(10)
	}
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = grid.light, grid.light
	p.Add(g)
	return p
}

// svgOf is the text of what was drawn.
func svgOf(canvas *vgsvg.Canvas) ([]byte, error) {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	return finishSVG(b.String()), nil
}

// add draws the curve.
func (c *curve) add(p *plot.Plot) error {
	line, points, err := plotter.NewLinePoints(c.xys)
	if err != nil {
		return err
	}
	line.Color, line.Width = c.ink.light, c.width
	points.Color, points.Radius, points.Shape = c.ink.light, 2.5, draw.CircleGlyph{}
	if c.points == nil {
		p.Add(line)
	}
	// A line of one point cannot be seen.
	if c.dots || len(c.xys) == 1 || c.points != nil {
		p.Add(points)
	}
	if c.points == nil {
		return nil
	}
	// Names of neighbours stand above and below their points in turns, not on each other.
	for turn, y := range []vg.Length{plotGap / 2, -3 * plotGap} {
		var some plotter.XYLabels
		for i := turn; i < len(c.xys); i += 2 {
			some.XYs, some.Labels = append(some.XYs, c.xys[i]), append(some.Labels, c.points[i])
		}
		if len(some.XYs) == 0 {
			continue
		}
		names, err := plotter.NewLabels(some)
		if err != nil {
			return err
		}
		for i := range names.TextStyle {
			names.TextStyle[i].Color, names.TextStyle[i].Font = c.ink.light, sans(10)
		}
		names.Offset = vg.Point{X: plotGap, Y: y}
		p.Add(names)
	}
	return nil
}

// A label is where a curve's name stands above the plot: nothing lies on the curves there.
type label struct {
	row int
	x   vg.Length
}

// legend places the names of curves in as many rows as they need.
func legend(style draw.TextStyle, all []curve) []label {
	out, at := make([]label, len(all)), label{}
	for i, c := range all {
		if c.name == "" {
			out[i] = at
			continue
		}
		// The reader's typeface may be a fifth wider than the one that text is measured with.
		width := plotStroke + plotGap + 1.2*style.Width(c.name)
		if at.x > 0 && at.x+width > plotWidth-2*plotMargin {
			at = label{row: at.row + 1}
		}
		out[i] = at
		at.x += width + 3*plotGap
	}
	return append(out, at)
}

// sans is a typeface without serifs, of that size in points. Text is measured with the one that the library brings.
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// families is what the library calls the typeface.
var families = regexp.MustCompile(`font-family:[^;"]*`)

// finishSVG names typefaces that readers have, and adds the colours of a dark ground: a reader that knows no styles
// shows the light one.
func finishSVG(svg string) []byte {
	svg = families.ReplaceAllString(svg, "font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	var css strings.Builder
	css.WriteString("<style>@media (prefers-color-scheme: dark) {\n")
	for _, c := range inks {
		light := hex(c.light)
		for _, what := range []string{"fill", "stroke"} {
			// The library writes colours into each element; only !important goes before those.
			fmt.Fprintf(&css, "[style*=%q] { %s: %s !important }\n", what+":"+light, what, c.dark)
		}
	}
	css.WriteString("}</style>\n")
	end := strings.Index(svg, "<svg")
	end += strings.IndexByte(svg[end:], '>') + 2
	return []byte(svg[:end] + css.String() + svg[end:])
}
