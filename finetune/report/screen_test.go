package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rivo/uniseg"
)

// wide is a terminal of that many columns, without colours.
func wide(columns int) Screen { return Screen{Columns: func() int { return columns }} }

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// longest is the most columns that were written between returns to the left margin.
func longest(out string) (columns int, line string) {
	for _, l := range regexp.MustCompile("[\r\n]").Split(sgr.ReplaceAllString(out, ""), -1) {
		if n := len([]rune(l)); n > columns {
			columns, line = n, l
		}
	}
	return columns, line
}

// TestBarFits: what is drawn over never takes more than a line, however much there is to say, and the loss and the time
// left are in it from 40 columns up.
func TestBarFits(t *testing.T) {
	for _, columns := range []int{20, 39, 40, 41, 60, 79, 80, 81, 120, 200} {
		for _, colour := range []bool{false, true} {
			for _, steps := range []int{3, 100_000} {
				var b bytes.Buffer
				s := wide(columns)
				s.Colour = colour
				term := NewTerminal(&b, s)
				// What is drawn over, not the table.
				term.began, term.steps = time.Now().Add(-9*time.Second), steps
				l := lineOf(1)
				l.Figures = map[string]float64{"accuracy": 0.512, "margin": -0.000123, "kl": 1.25e-7}
				l.Peak = 123_456_789_012
				term.Report(Step{Line: l, Steps: steps})
				term.bar.lib, term.bar.what = nil, "" // not throttled
				term.Report(Progress{What: "train", Done: 15, Total: 16})
				term.bar.lib, term.bar.what = nil, ""
				term.Report(Progress{What: "reference", Done: 99_999, Total: 100_000})
				if n, line := longest(b.String()); n >= columns {
					t.Errorf("%d columns, colour %v: %d: %q", columns, colour, n, line)
				}
				if columns >= 40 &&
					(!strings.Contains(b.String(), "loss 3.0000, ") || !strings.Contains(b.String(), " left")) {
					t.Errorf("%d columns: got %q, want the loss and the time left", columns, b.String())
				}
				if strings.Contains(b.String(), "\x1b[") != colour {
					t.Errorf("colour %v: %q", colour, b.String())
				}
			}
		}
	}
}

// TestBarResized: a terminal that is made narrower gets a narrower bar.
// TestBarOfRewards: of a run by rewards a line says as much as there is room for, what matters most first.
func TestBarOfRewards(t *testing.T) {
	for columns, want := range map[int]string{
		40:  "reward 0.510, 12 min left",
		80:  "reward 0.510, 12 min left, signal 0.75 ",
		120: "reward 0.510, 12 min left, signal 0.75, answer len 45.2, entropy 1.98, ended 0.9 "} {
		var b bytes.Buffer
		term := NewTerminal(&b, wide(columns))
		term.began = time.Now().Add(-8 * time.Second) // of 90 steps to come
		term.Report(Step{Line: rewardedLine(1), Steps: 91})
		if n, line := longest(b.String()); n >= columns || !strings.Contains(b.String(), want) {
			t.Errorf("%d columns: %d: %q, want %q", columns, n, line, want)
		}
	}
}

func TestBarResized(t *testing.T) {
	var out bytes.Buffer
	columns := 120
	term := NewTerminal(&out, Screen{Columns: func() int { return columns }})
	term.Report(Step{Line: lineOf(1), Steps: 9})
	term.bar.clear()
	out.Reset()
	columns = 50
	term.Report(Step{Line: lineOf(2), Steps: 9})
	if n, line := longest(out.String()); n >= 50 || n == 0 {
		t.Errorf("%d columns: %q", n, line)
	}
}

// TestBarCounts: the number on the bar is that of the step whose loss stands beside it, from the first drawing on, also
// where a step is less than a percent.
func TestBarCounts(t *testing.T) {
	for _, steps := range []int{20, 1000} {
		for _, colour := range []bool{false, true} {
			var out bytes.Buffer
			s := wide(80)
			s.Colour = colour
			term := NewTerminal(&out, s)
			for step := 5; step <= 7; step++ {
				term.bar.shown = time.Time{} // as if the step had taken its time
				l := lineOf(step)
				l.Loss = float64(step)
				term.Report(Step{Line: l, Steps: steps})
				drawn := strings.Split(strings.TrimRight(sgr.ReplaceAllString(out.String(), ""), "\r "), "\r")
				want := fmt.Sprintf("(%d/%d) loss %d.0000", step, steps, step)
				if got := drawn[len(drawn)-1]; !strings.Contains(got, want) {
					t.Errorf("colour %v: got %q, want %q in it", colour, got, want)
				}
			}
		}
	}
}

// TestBarLeft: of a bar that was broken off nothing stays on the line.
func TestBarLeft(t *testing.T) {
	var out bytes.Buffer
	term := NewTerminal(&out, wide(80))
	term.Report(Progress{What: "evaluate", Done: 0, Total: 2})
	term.Close()
	drawn := strings.Split(out.String(), "\r")
	if last := drawn[len(drawn)-1]; len(drawn) < 3 || last != "" || strings.TrimSpace(drawn[len(drawn)-2]) != "" {
		t.Errorf("got %q, want it wiped out", out.String())
	}
}

// TestColour: lines have colours where the terminal shows them, and nowhere else.
func TestColour(t *testing.T) {
	for _, colour := range []bool{false, true} {
		var b bytes.Buffer
		s := wide(100)
		s.Colour = colour
		NewTerminal(&b, s).Report(Notice{Text: "x"})
		want := map[bool]string{false: "note: x\n", true: "\x1b[33mnote:\x1b[0m x\n"}[colour]
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWait: a long wait shows, fits the line, and is gone when it ends; a short one does not show at all.
func TestWait(t *testing.T) {
	var out lockedBuffer
	x := &waiting{end: make(chan struct{})}
	x.done.Go(func() { x.show(&out, wide(20), "loading a large model", time.Millisecond, time.Millisecond) })
	for strings.Count(out.String(), "\r") < 3 {
		time.Sleep(time.Millisecond)
	}
	x.stop()
	x.stop()
	got := out.String()
	if n, line := longest(got); n >= 20 || !strings.Contains(got, "loading a large mod") {
		t.Errorf("%d columns: %q in %q", n, line, got)
	}
	if !strings.HasSuffix(got, "\r"+strings.Repeat(" ", 19)+"\r") {
		t.Errorf("the line is not cleared: %q", got)
	}
	var short lockedBuffer
	stop := Wait(&short, wide(80), "x")
	stop()
	Wait(&short, Screen{}, "x")()
	if short.String() != "" {
		t.Errorf("a short wait shows: %q", short.String())
	}
}

// TestSampledFits: answers stand on a line each, cut where it ends, and steer no terminal; those to other prompts than
// the first are left to the file.
func TestSampledFits(t *testing.T) {
	for _, columns := range []int{30, 40, 80, 120} {
		var b bytes.Buffer
		term := NewTerminal(&b, wide(columns))
		term.Report(
			Sampled{Sample{Step: 120,
				Prompt: "What is the capital of France, and of which country is Ottawa the capital?",
				Base:   "\x1b[31mParis.\r\n\tAnd " + strings.Repeat("首都は", 40), Tuned: "Paris."}})
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != 3 || strings.ContainsAny(b.String(), "\x1b\r\t") {
			t.Fatalf("%d columns: got %q", columns, b.String())
		}
		for _, l := range lines {
			if n := uniseg.StringWidth(l); n >= columns {
				t.Errorf("%d columns: %d: %q", columns, n, l)
			}
		}
		if !strings.HasSuffix(lines[1], "…") || lines[2] != "  tuned: Paris." {
			t.Errorf("%d columns: got %q", columns, lines)
		}
		b.Reset()
		term.Report(Sampled{Sample{Step: 120, Index: 1, Prompt: "x"}})
		if b.Len() > 0 {
			t.Errorf("of another prompt: %q", b.String())
		}
	}
}
