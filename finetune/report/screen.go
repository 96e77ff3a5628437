package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
	"github.com/schollz/progressbar/v3"
)

// A Screen describes what is written to. The zero value is no terminal.
type Screen struct {
	Columns func() int // of a line now, 0 where the terminal does not say; nil: it is no terminal
	Colour  bool       // it shows colours, and the user wants them
}

// isTerminal says that lines can be drawn over.
func (s Screen) isTerminal() bool { return s.Columns != nil }

// columns is how wide a line is.
func (s Screen) columns() int {
	if n := s.Columns(); n > 0 {
		return n
	}
	return 80 // what terminals have had since they were made of cardboard
}

// plainColumns is how wide a line is that is written to no terminal.
const plainColumns = 120

// Shortened is text on one line of so many columns; what steers a terminal is a space in it.
func Shortened(text string, columns int) string {
	text = strings.Join(strings.FieldsFunc(text,
		func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if uniseg.StringWidth(text) <= columns {
		return text
	}
	var b strings.Builder
	room := columns - 1 // for the ellipsis
	for g := uniseg.NewGraphemes(text); g.Next() && g.Width() <= room; room -= g.Width() {
		b.WriteString(g.Str())
	}
	return strings.TrimRight(b.String(), " ") + "…"
}

// Colours are SGR parameters of ECMA-48, of which every terminal has its own shades.
const (
	green  = 32
	yellow = 33
)

// paint colours text.
func (s Screen) paint(colour int, text string) string {
	if !s.Colour {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, text)
}

// A bar shows on one line of a terminal how far something is, and is never wider than that line: a longer one would be
// broken, and the next be drawn below it.
type bar struct {
	w       io.Writer
	screen  Screen
	what    string // what it shows
	columns int    // of the line it was made for
	shown   time.Time
	lib     *progressbar.ProgressBar
}

// between is the least time between two drawings of a bar: ten a second are seen as movement, and cost nothing.
const between = 100 * time.Millisecond

// draw shows a bar of what, with as many of the parts behind it as there is room for. A finished one takes no more
// numbers, and another pass of the same kind has another total. The library takes text and number apart and draws at
// either; were it to leave out what comes too soon, the number would be that of the time before, until the next.
func (b *bar) draw(what string, done, total int, parts ...string) {
	total = max(total, 1)
	columns := b.screen.columns()
	l := layoutOf(columns, total)
	if done >= total && (b.lib == nil || b.what != what) {
		b.clear() // it is over before it was shown
		return
	}
	if b.lib == nil || b.what != what || b.columns != columns || b.lib.IsFinished() || b.lib.GetMax() != total {
		b.clear()
		b.what, b.columns = what, columns
		b.lib = progressbar.NewOptions(total, append(b.options(l), progressbar.OptionSetDescription(l.text(parts)))...)
	} else if done < total && time.Since(b.shown) < between {
		return
	}
	b.shown = time.Now()
	_ = b.lib.Set(min(done, total)) // fails only beyond the total
	if done < total {
		b.lib.Describe(l.text(parts))
	}
}

func (b *bar) options(l layout) []progressbar.Option {
	theme := progressbar.Theme{Saucer: "█", SaucerPadding: " ", BarStart: "|", BarEnd: "|"}
	if b.screen.Colour {
		theme.BarStart, theme.BarEnd = "|[cyan]", "[reset]|"
	}
	o := []progressbar.Option{progressbar.OptionSetWriter(b.w), progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionSetWidth(l.bar), progressbar.OptionSetTheme(theme),
		progressbar.OptionEnableColorCodes(b.screen.Colour), progressbar.OptionUseANSICodes(b.screen.Colour),
		progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionClearOnFinish()}
	if l.count {
		o = append(o, progressbar.OptionShowCount())
	}
	return o
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.lib != nil {
		_ = b.lib.Clear()
	}
	b.lib = nil
}

// A layout says what a bar's line holds.
type layout struct {
	bar   int  // columns between its ends
	count bool // done and total
	room  int  // columns for text
}

// layoutOf divides a line.
func layoutOf(columns, total int) layout {
	// What the library puts around its parts: "\r 100% |…| (1/2) text ".
	const around = len(" 100% ") + len("||") + len("  ") + len(" ")
	l := layout{bar: min(max((columns-24)/5, 3), 20), count: columns >= 60}
	l.room = columns - 1 - around - l.bar // the last column breaks the line on some terminals
	if l.count {
		l.room -= 2*len(fmt.Sprint(total)) + len("(/)")
	}
	return l
}

// text joins the first parts that there is room for.
func (l layout) text(parts []string) string {
	out := ""
	for i, p := range parts {
		if i > 0 {
			p = ", " + p
		}
		if len(out)+len(p) > l.room {
			break
		}
		out += p
	}
	return out
}

// A waiting shows that something is under way of which nobody knows how far it is.
type waiting struct {
	end  chan struct{}
	done sync.WaitGroup
}

// Waits that are shorter than patience are not shown.
const (
	patience = time.Second
	tick     = 200 * time.Millisecond
)

// Wait shows on a terminal that what is under way, and for how long, until stop is called, which clears the line.
// stop may be called again. Nothing else may be written to w meanwhile.
func Wait(w io.Writer, s Screen, what string) (stop func()) { return wait(w, s, what).stop }

func wait(w io.Writer, s Screen, what string) *waiting {
	if !s.isTerminal() {
		return nil
	}
	x := &waiting{end: make(chan struct{})}
	x.done.Go(func() { x.show(w, s, what, patience, tick) })
	return x
}

func (x *waiting) show(w io.Writer, s Screen, what string, patience, tick time.Duration) {
	began := time.Now()
	next := time.NewTimer(patience)
	defer next.Stop()
	drawn := 0
	for {
		select {
		case <-x.end:
			if drawn > 0 {
				fmt.Fprintf(w, "\r%*s\r", drawn, "")
			}
			return
		case <-next.C:
			next.Reset(tick)
		}
		line := fmt.Sprintf("%s, %s", what, duration(time.Since(began)))
		if most := s.columns() - 1; len(line) > most {
			line = line[:max(most, 0)]
		}
		fmt.Fprintf(w, "\r%-*s", drawn, line)
		drawn = max(drawn, len(line))
	}
}

// stop ends it; nil will do.
func (x *waiting) stop() {
	if x == nil {
		return
	}
	select {
	case <-x.end:
	default:
		close(x.end)
	}
	x.done.Wait()
}
