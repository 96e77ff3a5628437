package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/ggtune/ggtune/internal/atomicfile"
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
	inks   = []inkwell{ground, ink, grid, each, mean, held}
)

// The size of a plot, and of what stands above its axes.
const (
	plotWidth  = 8 * vg.Inch
	plotHeight = 4.5 * vg.Inch
	plotHead   = 44 // points: a line of title, a line that says what the curves are
	plotMargin = 10
	// mostPoints of a curve: more than the plot has pixels beside each other.
	mostPoints = 1500
)

// WritePlot draws the losses of a run over its steps as an SVG file: each step's, their running mean, and the held-out
// losses, with the untouched base's (or nil) at step 0. It is light or dark as the reader's other pages are.
func WritePlot(path, title, unit string, lines []Line, before *float64) error {
	b, err := drawPlot(title, unit, lines, before)
	if err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, b, 0o666)
}

// A curve of a plot.
type curve struct {
	name  string
	xys   plotter.XYs
	ink   inkwell
	width vg.Length
	dots  bool
}

// curves gives those that have a point.
func curves(lines []Line, before *float64) (out []curve) {
	var loss, smooth, kept plotter.XYs
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
	for _, c := range []curve{{"each step", loss, each, 1, false}, {"mean of 20 steps", smooth, mean, 1.75, false},
		{"held out", kept, held, 1.75, true}} {
		if len(c.xys) > 0 {
			c.xys = thin(c.xys)
			out = append(out, c)
		}
	}
	return out
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

func drawPlot(title, unit string, lines []Line, before *float64) ([]byte, error) {
	p := plot.New()
	p.BackgroundColor = ground.light
	p.X.Label.Text, p.Y.Label.Text = "step", unit
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Color, a.Tick.Label.Color = ink.light, ink.light, ink.light, ink.light
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(11), sans(10)
	}
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = grid.light, grid.light
	p.Add(g)
	canvas := vgsvg.New(plotWidth, plotHeight)
	whole := draw.New(canvas)
	whole.SetColor(ground.light)
	whole.Fill(whole.Rectangle.Path())
	head := draw.Crop(whole, plotMargin, -plotMargin, plotHeight-plotHead+4, -6)
	style := draw.TextStyle{Color: ink.light, Font: sans(12), Handler: p.TextHandler, YAlign: draw.YTop}
	head.FillText(style, vg.Point{X: head.Min.X, Y: head.Max.Y}, title)
	style.Font, style.YAlign = sans(11), draw.YBottom
	x := head.Min.X
	for _, c := range curves(lines, before) {
		line, points, err := plotter.NewLinePoints(c.xys)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = c.ink.light, c.width
		points.Color, points.Radius, points.Shape = c.ink.light, 2.5, draw.CircleGlyph{}
		p.Add(line)
		// A line of one point cannot be seen.
		if c.dots || len(c.xys) == 1 {
			p.Add(points)
		}
		// What the curves are stands above them: nothing lies on them there.
		const stroke, gap = 18, 5 // points
		y := head.Min.Y + style.FontExtents().Height/2
		head.StrokeLine2(draw.LineStyle{Color: c.ink.light, Width: c.width}, x, y, x+stroke, y)
		head.FillText(style, vg.Point{X: x + stroke + gap, Y: head.Min.Y}, c.name)
		// The reader's typeface may be a fifth wider than the one that text is measured with.
		x += stroke + gap + 1.2*style.Width(c.name) + 3*gap
	}
	p.Draw(draw.Crop(whole, plotMargin, -plotMargin, plotMargin, -plotHead))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	return finishSVG(b.String()), nil
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
		hex := fmt.Sprintf("#%02X%02X%02X", c.light.R, c.light.G, c.light.B)
		for _, what := range []string{"fill", "stroke"} {
			// The library writes colours into each element; only !important goes before those.
			fmt.Fprintf(&css, "[style*=%q] { %s: %s !important }\n", what+":"+hex, what, c.dark)
		}
	}
	css.WriteString("}</style>\n")
	end := strings.Index(svg, "<svg")
	end += strings.IndexByte(svg[end:], '>') + 2
	return []byte(svg[:end] + css.String() + svg[end:])
}
