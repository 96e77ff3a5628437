package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loss.svg")
	before, after := 3.5, 1.5
	lines := []Line{lineOf(1), lineOf(2), {Step: 3, Loss: math.NaN()}, lineOf(4)}
	lines[3].EvalLoss = &after
	for _, n := range []int{0, 1, 4} {
		if err := WritePlot(path, "run", "nats", lines[:n], &before); err != nil {
			t.Fatalf("%d steps: %v", n, err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dec := xml.NewDecoder(bytes.NewReader(raw))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%d steps: not XML: %v", n, err)
			}
		}
		for _, words := range []string{">step</text>", ">nats</text>", ">held out</text>"} {
			if !strings.Contains(string(raw), words) {
				t.Errorf("%d steps: no %s", n, words)
			}
		}
	}
	if err := WritePlot(path, "run", "nats", lines, nil); err != nil {
		t.Error(err)
	}
}

// TestPlotNames: a name that would turn the text round is shown as what it is.
func TestPlotNames(t *testing.T) {
	lines := []Line{lineOf(1), lineOf(2)}
	several := []curve{{name: "\u2066run", xys: curves(lines, nil)[0].xys, ink: runs[0], width: 1}}
	b, err := drawPlot(axes{title: "a\u202eb", x: "step", y: "nats"}, several)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`>a\u202eb</text>`, `>\u2066run</text>`} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s in:\n%.3000s", want, b)
		}
	}
}

// TestPlotDark: every colour that the plot is drawn in has one for a dark ground, and no other is drawn in.
func TestPlotDark(t *testing.T) {
	before, after := 3.5, 1.5
	lines := []Line{lineOf(1), lineOf(2)}
	lines[1].EvalLoss = &after
	b, err := drawPlot(axes{title: "run", x: "step", y: "nats"}, curves(lines, &before))
	if err != nil {
		t.Fatal(err)
	}
	_, drawn, ok := strings.Cut(string(b), "</style>")
	if !ok {
		t.Fatal("no colours for a dark ground")
	}
	for _, part := range strings.SplitAfter(drawn, "style=\"")[1:] {
		style, _, _ := strings.Cut(part, "\"")
		for _, what := range []string{"fill:", "stroke:"} {
			_, colour, found := strings.Cut(style, what)
			colour, _, _ = strings.Cut(colour, ";")
			if found && colour != "none" && !strings.Contains(string(b), "[style*=\""+what+colour+"\"] { ") {
				t.Errorf("%s%s has no colour for a dark ground", what, colour)
			}
		}
		if strings.Contains(style, "font-family") && !strings.Contains(style, "sans-serif") {
			t.Errorf("typeface of %s", style)
		}
	}
}

// TestPlotThin: a long run's curve keeps its ends, its mean and a bounded number of points.
func TestPlotThin(t *testing.T) {
	var lines []Line
	for i := range 100_001 {
		lines = append(lines, Line{Step: i + 1, Loss: float64(i)})
	}
	xys := curves(lines, nil)[0].xys
	if len(xys) > mostPoints || len(xys) < mostPoints/2 || xys[0].X > 100 || xys[len(xys)-1].X < 99_900 ||
		math.Abs(xys[700].Y-(xys[700].X-1)) > 1e-6 {
		t.Errorf("%d points from %v to %v", len(xys), xys[0], xys[len(xys)-1])
	}
}

// TestPlotOfRuns: every run has its name and a colour of its own; names that are many take several rows; more runs than
// colours are refused.
func TestPlotOfRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.svg")
	var several []Curve
	for i := range len(runs) {
		before := 3 + float64(i)
		lines := []Line{lineOf(1), lineOf(2), lineOf(3)}
		if i == 1 {
			lines = nil // nothing but the base's measurement
		}
		several = append(several, NewCurve(fmt.Sprintf("experiments/a-long-name-of-a-run-%d", i), lines, &before))
	}
	if err := WriteCurves(path, "loss", several); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for i, ink := range runs {
		name := fmt.Sprintf(">experiments/a-long-name-of-a-run-%d</text>", i)
		before, _, found := strings.Cut(string(text), name)
		if !found {
			t.Errorf("run %d is not named", i)
		}
		_, y, _ := strings.Cut(before[strings.LastIndex(before, "<text"):], " y=\"")
		y, _, _ = strings.Cut(y, "\"")
		rows[y] = true
		hex := fmt.Sprintf("#%02X%02X%02X", ink.light.R, ink.light.G, ink.light.B)
		// its name's stroke, and its curve
		if _, drawn, _ := strings.Cut(string(text), "</style>"); strings.Count(drawn, hex) < 2 {
			t.Errorf("run %d is not drawn in %s", i, hex)
		}
	}
	if len(rows) < 2 {
		t.Errorf("all names stand in %d row, want several", len(rows))
	}
	if err := WriteCurves(path, "loss", append(several, several[0])); err == nil ||
		!strings.Contains(err.Error(), "at most 8") {
		t.Errorf("one too many: %v", err)
	}
}
