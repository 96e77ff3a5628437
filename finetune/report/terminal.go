package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/internal/count"
)

// A Terminal writes for people: tables, lines, and on a terminal a progress bar.
type Terminal struct {
	w    io.Writer
	tty  bool
	bar  *progressbar.ProgressBar
	what string // what the bar shows

	began time.Time // of the steps counted for the time left
	from  int       // the step they began at
	shown int       // the last step written as a line
	steps int       // of the run
	done  int       // steps done
	text  string    // what the bar last said of a step
}

// NewTerminal writes to w; tty says that it is a terminal, on which lines can be drawn over.
func NewTerminal(w io.Writer, tty bool) *Terminal { return &Terminal{w: w, tty: tty} }

// Report implements Reporter.
func (t *Terminal) Report(e Event) {
	switch e := e.(type) {
	case Started:
		t.line("%s", Table(e))
		t.began, t.from, t.done, t.steps = time.Now(), e.Step, e.Step, e.Steps
	case Progress:
		t.progress(e)
	case Step:
		t.step(e)
	case Evaluated:
		best := ""
		if e.Best {
			best = ", the lowest yet"
		}
		perplexity := ""
		if !math.IsNaN(e.Perplexity) {
			perplexity = fmt.Sprintf(", perplexity %.3f", e.Perplexity)
		}
		t.line("step %d: held-out loss %.4f%s%s%s", e.Step, e.Loss, perplexity, telling(func(name string) (float64, bool) {
			for _, m := range e.Metrics {
				if m.Name == name {
					return m.Sum / m.Weight, true
				}
			}
			return 0, false
		}), best)
	case Saved:
		t.line("%s: %s", e.What, e.Path)
	case Notice:
		t.line("note: %s", e.Text)
	case Done:
		t.line("%s", closing(e.Summary))
	}
}

// line writes text below whatever the bar shows.
func (t *Terminal) line(format string, args ...any) {
	if t.bar != nil {
		// What is on the bar's line would show through.
		_ = t.bar.Clear()
		t.bar, t.what = nil, ""
	}
	fmt.Fprintf(t.w, format+"\n", args...)
}

// draw shows a bar of what; a finished one takes no more numbers, and another pass of the same kind has another total.
func (t *Terminal) draw(what string, done, total int, text string) {
	if t.bar == nil || t.what != what || t.bar.IsFinished() {
		if t.bar != nil {
			_ = t.bar.Clear()
		}
		t.what = what
		t.bar = progressbar.NewOptions(max(total, 1), progressbar.OptionSetWriter(t.w), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionSetWidth(20),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionClearOnFinish())
	}
	t.bar.Describe(text)
	_ = t.bar.Set(min(done, total)) // fails only beyond the total
}

// progress shows how far a part is; a step's micro-batches stand behind what the last step was like, because on a large
// model one alone takes a minute.
func (t *Terminal) progress(e Progress) {
	switch {
	case !t.tty:
	case e.What != "train":
		t.draw(e.What, e.Done, e.Total, e.What)
	case e.Total > 1:
		text := fmt.Sprintf("micro-batch %d/%d", e.Done, e.Total)
		if t.text != "" {
			text = t.text + ", " + text
		}
		t.draw("train", t.done, t.steps, text)
	}
}

// step shows one update: on the bar, or as one of about twenty lines.
func (t *Terminal) step(e Step) {
	left := ""
	if n := e.Step - t.from; n > 0 && e.Steps > e.Step && !t.began.IsZero() {
		left = ", " + duration(time.Since(t.began)/time.Duration(n)*time.Duration(e.Steps-e.Step)) + " left"
	}
	memory := ""
	if e.Memory > 0 {
		memory = ", " + Bytes(e.Memory)
	}
	text := fmt.Sprintf("loss %.4f%s, %.0f tok/s%s%s", e.Loss, telling(func(name string) (float64, bool) { x, ok := e.Figures[name]; return x, ok }), e.TokPerS, memory, left)
	t.done, t.text = e.Step, text
	if t.tty {
		t.draw("train", e.Step, e.Steps, text)
		return
	}
	if every := max(e.Steps/20, 1); e.Step-t.shown >= every || e.Step == t.from+1 || e.Step == e.Steps {
		t.shown = e.Step
		t.line("step %d/%d: %s", e.Step, e.Steps, text)
	}
}

// telling shows those of a method's figures that say at a glance how it goes, where there are some.
func telling(figure func(name string) (float64, bool)) string {
	out := ""
	for _, name := range []string{"accuracy", "margin", "kl"} {
		if x, ok := figure(name); ok && !math.IsNaN(x) {
			out += fmt.Sprintf(", %s %.3g", name, x)
		}
	}
	return out
}

func duration(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
}

// Bytes writes a size as people read it, in powers of ten.
func Bytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return count.Of(n, "byte")
}

// Table is the table of counts at a run's start: nothing is left out unseen.
func Table(s Started) string {
	var b strings.Builder
	fmt.Fprintf(&b, "model     %s (%s; %s)\n", s.Model, s.Arch, s.Types)
	fmt.Fprintf(&b, "method    %s (loss %s), %s, %s, %s beside the model file\n", s.Method, LossUnit(s.Unit), count.Of(s.Trained, "parameter"), count.Of(s.Threads, "thread"), Bytes(s.Memory))
	if s.Template != "" {
		fmt.Fprintf(&b, "template  %s\n", s.Template)
	}
	fmt.Fprintf(&b, "steps     %d", s.Steps)
	if s.Step > 0 {
		fmt.Fprintf(&b, ", %d done", s.Step)
	}
	b.WriteString("\n\n")
	b.WriteString(CountsTable(s.Train, s.Held))
	return b.String()
}

// CountsTable shows what became of the examples, of the held-out ones too where there are any.
func CountsTable(train encode.Counts, held *encode.Counts) string {
	var b strings.Builder
	row := func(name string, of func(c encode.Counts) int) {
		fmt.Fprintf(&b, "%-42s %12d", name, of(train))
		if held != nil {
			fmt.Fprintf(&b, " %12d", of(*held))
		}
		b.WriteByte('\n')
	}
	if held != nil {
		fmt.Fprintf(&b, "%-42s %12s %12s\n", "", "training", "held out")
	}
	row("examples read", func(c encode.Counts) int { return c.Examples })
	row("dropped: nothing to learn from", func(c encode.Counts) int { return c.DroppedRead })
	row("dropped: longer than a row", func(c encode.Counts) int { return c.DroppedLong })
	row("dropped: no answer left after truncation", func(c encode.Counts) int { return c.DroppedCut })
	row("dropped: no token before the answers", func(c encode.Counts) int { return c.DroppedBare })
	row("truncated", func(c encode.Counts) int { return c.Truncated })
	row("rows", func(c encode.Counts) int { return c.Rows })
	row("tokens", func(c encode.Counts) int { return c.Tokens })
	row("counted tokens", func(c encode.Counts) int { return c.Counted })
	return b.String()
}

func closing(s Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s (%d counted) in %s", count.Of(s.Steps, "step"), count.Of(s.Tokens, "token"), s.Counted, duration(time.Duration(s.Seconds*float64(time.Second))))
	if s.TokPerS != nil {
		fmt.Fprintf(&b, ", %.0f tok/s", *s.TokPerS)
	}
	if s.PeakBytes != nil {
		fmt.Fprintf(&b, ", peak memory %s", Bytes(*s.PeakBytes))
	}
	if s.FirstLoss != nil && s.LastLoss != nil {
		fmt.Fprintf(&b, "\nloss %.4f -> %.4f", *s.FirstLoss, *s.LastLoss)
	}
	if s.EvalLossBefore != nil && s.EvalLossAfter != nil {
		fmt.Fprintf(&b, ", held out %.4f -> %.4f", *s.EvalLossBefore, *s.EvalLossAfter)
	}
	if s.LlamaMaxDiff != nil && s.LlamaBaseDiff != nil {
		fmt.Fprintf(&b, "\nllama.cpp loads it; its logits differ from ours by at most %.2g (base alone: %.2g)", *s.LlamaMaxDiff, *s.LlamaBaseDiff)
	}
	fmt.Fprintf(&b, "\nwritten: %s (step %d)", s.Result, s.ResultStep)
	return b.String()
}
