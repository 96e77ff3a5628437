package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/internal/count"
)

// A Terminal writes for people: tables, lines, and on a terminal a progress bar.
type Terminal struct {
	w      io.Writer
	screen Screen
	bar    bar
	wait   *waiting // nil unless a part of unknown length is under way

	began    time.Time // of the steps counted for the time left
	from     int       // the step they began at
	shown    int       // the last step written as a line
	steps    int       // of the run
	done     int       // steps done
	answered int       // step whose answers were shown last
	parts    []string  // what the bar last said of a step
}

// NewTerminal writes to w, which s describes.
func NewTerminal(w io.Writer, s Screen) *Terminal {
	return &Terminal{w: w, screen: s, bar: bar{w: w, screen: s}}
}

// Report implements Reporter.
func (t *Terminal) Report(e Event) {
	t.wait.stop()
	t.wait = nil
	switch e := e.(type) {
	case Started:
		t.line("%s", Table(e))
		t.began, t.from, t.done, t.steps = time.Now(), e.Step, e.Step, e.Steps
	case Progress:
		if e.What != "train" && t.done == t.from {
			t.began = time.Now() // what comes before the first step says nothing of the steps
		}
		t.progress(e)
	case Step:
		t.step(e)
	case Evaluated:
		t.evaluated(e)
	case Sampled:
		t.sampled(e.Sample)
	case Saved:
		t.line("%s: %s", e.What, e.Path)
	case Notice:
		t.line("%s %s", t.screen.paint(yellow, "note:"), e.Text)
	case Done:
		t.line("%s", closing(e.Summary, t.screen))
	}
}

// Close takes away a bar that is left where something was broken off, so that what is said of it has a line of its own.
// More may be reported.
func (t *Terminal) Close() {
	t.wait.stop()
	t.wait = nil
	t.bar.clear()
}

// line writes text below whatever the bar shows.
func (t *Terminal) line(format string, args ...any) {
	t.bar.clear() // what is on its line would show through
	fmt.Fprintf(t.w, format+"\n", args...)
}

// evaluated shows a measurement.
func (t *Terminal) evaluated(e Evaluated) {
	best, perplexity, mixed := "", "", ""
	if e.Best {
		best = ", " + t.screen.paint(green, "the lowest yet")
	}
	if !math.IsNaN(e.Perplexity) {
		perplexity = fmt.Sprintf(", perplexity %.3f", e.Perplexity)
	}
	figures := ""
	figure := func(name string) (float64, bool) {
		for _, m := range e.Metrics {
			if m.Name == name {
				return m.Sum / m.Weight, true
			}
		}
		return 0, false
	}
	for _, f := range telling(figure) {
		figures += ", " + f
	}
	what := fmt.Sprintf("loss %.4f", e.Loss)
	if reward, ok := figure("reward"); ok {
		what = fmt.Sprintf("reward %.4f", reward)
		if e.Best {
			best = ", " + t.screen.paint(green, "the highest yet")
		}
	}
	for _, m := range e.Metrics {
		if strings.HasPrefix(m.Name, "mix_") && strings.HasSuffix(m.Name, "_loss") {
			mixed += fmt.Sprintf(", %s %.4f", strings.ReplaceAll(m.Name, "_", " "), m.Sum/m.Weight)
		}
	}
	t.line("step %d: held-out %s%s%s%s%s", e.Step, what, perplexity, figures, best, mixed)
}

// sampled shows the first answers of a step, each on a line: samples.jsonl has them whole, and the others.
func (t *Terminal) sampled(s Sample) {
	if s.Step == t.answered {
		return
	}
	t.answered = s.Step
	columns := plainColumns
	if t.screen.isTerminal() {
		columns = t.screen.columns() - 1 // the last column breaks the line on some terminals
	}
	type line struct{ name, text string }
	lines := []line{{fmt.Sprintf("step %d, asked: ", s.Step), s.Prompt}, {"  base:  ", s.Base}, {"  tuned: ", s.Tuned}}
	if s.Why != "" {
		worth := ""
		if s.Reward != nil {
			worth = fmt.Sprintf(", worth %.4g", *s.Reward)
		}
		lines = append(lines[:1], line{fmt.Sprintf("  %s%s: ", s.Why, worth), s.answer()})
	}
	for _, l := range lines {
		t.line("%s%s", l.name, Shortened(l.text, columns-len(l.name)))
	}
}

// progress shows how far a part is; a step's micro-batches stand behind what the last step was like, because on a large
// model one alone takes a minute.
func (t *Terminal) progress(e Progress) {
	switch {
	case !t.screen.isTerminal():
	case e.Total == 0:
		t.bar.clear()
		t.wait = wait(t.w, t.screen, e.What)
	case e.What != "train":
		t.bar.draw(e.What, e.Done, e.Total, e.What)
	case e.Total > 1:
		t.bar.draw("train", t.done, t.steps,
			slices.Concat(t.parts, []string{fmt.Sprintf("micro-batch %d/%d", e.Done, e.Total)})...)
	}
}

// step shows one update: on the bar, or as one of about twenty lines. What matters most comes first: a narrow bar
// leaves out what is behind.
func (t *Terminal) step(e Step) {
	parts := []string{fmt.Sprintf("loss %.4f", e.Loss)}
	if x, ok := e.Figures["reward"]; ok { // what a loss over answers that are judged by it says to nobody
		parts[0] = fmt.Sprintf("reward %.3f", x) // with the time left, what 40 columns have room for
	}
	if n := e.Step - t.from; n > 0 && e.Steps > e.Step && !t.began.IsZero() {
		parts = append(parts, left(time.Since(t.began)/time.Duration(n)*time.Duration(e.Steps-e.Step)))
	}
	parts = append(parts, telling(func(name string) (float64, bool) { x, ok := e.Figures[name]; return x, ok })...)
	parts = append(parts, fmt.Sprintf("%.0f tok/s", e.TokPerS))
	if e.Peak > 0 {
		parts = append(parts, Bytes(e.Peak))
	}
	t.done, t.parts = e.Step, parts
	if t.screen.isTerminal() {
		t.bar.draw("train", e.Step, e.Steps, parts...)
		return
	}
	if every := max(e.Steps/20, 1); e.Step-t.shown >= every || e.Step == t.from+1 || e.Step == e.Steps {
		t.shown = e.Step
		t.line("step %d/%d: %s", e.Step, e.Steps, strings.Join(parts, ", "))
	}
}

// telling shows those of a method's figures that say at a glance how it goes, where there are some.
func telling(figure func(name string) (float64, bool)) (out []string) {
	for _, name := range []string{"accuracy", "margin", "scale", "kl", "bits_per_byte", "signal", "turns", "answer_len",
		"entropy", "ended", "clip_frac", "explained_variance", "mismatch", "expert_busiest"} {
		if x, ok := figure(name); ok && !math.IsNaN(x) {
			out = append(out, fmt.Sprintf("%s %.3g", strings.ReplaceAll(name, "_", " "), x))
		}
	}
	if x, ok := figure("rollout_tok_per_s"); ok {
		out = append(out, fmt.Sprintf("written %.0f tok/s", x))
	}
	return out
}

// left says how long it will take, as exactly as it is known.
func left(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.0f d left", d.Hours()/24)
	case d >= time.Hour:
		return fmt.Sprintf("%.1f h left", d.Hours())
	case d >= time.Minute:
		return fmt.Sprintf("%.0f min left", d.Minutes())
	}
	return fmt.Sprintf("%.0f s left", d.Seconds())
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
	fmt.Fprintf(&b, "method    %s (loss %s), %s, %s, %s beside the model file\n", s.Method, LossUnit(s.Unit),
		count.Of(s.Trained, "parameter"), count.Of(s.Threads, "thread"), Bytes(s.Memory))
	if s.Template != "" {
		fmt.Fprintf(&b, "template  %s\n", s.Template)
	}
	fmt.Fprintf(&b, "steps     %d", s.Steps)
	if s.Step > 0 {
		fmt.Fprintf(&b, ", %d done", s.Step)
	}
	b.WriteByte('\n')
	for i, c := range s.Chosen {
		name := ""
		if i == 0 {
			name = "chosen"
		}
		fmt.Fprintf(&b, "%-9s %s\n", name, c)
	}
	b.WriteByte('\n')
	b.WriteString(CountsTable(s.Train, s.Held))
	return b.String()
}

// A CountRow is a line of the table of what became of the examples.
type CountRow struct {
	Name  string `json:"name"`
	Train int    `json:"train"`
	Held  *int   `json:"held"` // null without held-out examples
}

// CountRows gives the table's lines.
func CountRows(train encode.Counts, held *encode.Counts) (rows []CountRow) {
	for _, r := range []struct {
		name string
		of   func(c encode.Counts) int
	}{
		{"examples read", func(c encode.Counts) int { return c.Examples }},
		{"dropped: nothing to learn from", func(c encode.Counts) int { return c.DroppedRead }},
		{"dropped: longer than a row", func(c encode.Counts) int { return c.DroppedLong }},
		{"dropped: no answer left after truncation", func(c encode.Counts) int { return c.DroppedCut }},
		{"dropped: no token before the answers", func(c encode.Counts) int { return c.DroppedBare }},
		{"dropped: duplicates (--dedup)", func(c encode.Counts) int { return c.DroppedAlike }},
		{"exact duplicates", func(c encode.Counts) int { return c.Exact }},
		{"near duplicates", func(c encode.Counts) int { return c.Near }},
		{"truncated", func(c encode.Counts) int { return c.Truncated }},
		{"rows", func(c encode.Counts) int { return c.Rows }},
		{"tokens", func(c encode.Counts) int { return c.Tokens }},
		{"counted tokens", func(c encode.Counts) int { return c.Counted }},
	} {
		row := CountRow{Name: r.name, Train: r.of(train)}
		if held != nil {
			n := r.of(*held)
			row.Held = &n
		}
		rows = append(rows, row)
	}
	return rows
}

// CountsTable shows what became of the examples, of the held-out ones too where there are any.
func CountsTable(train encode.Counts, held *encode.Counts) string {
	var b strings.Builder
	if held != nil {
		fmt.Fprintf(&b, "%-42s %12s %12s\n", "", "training", "held out")
	}
	for _, r := range CountRows(train, held) {
		fmt.Fprintf(&b, "%-42s %12d", r.Name, r.Train)
		if r.Held != nil {
			fmt.Fprintf(&b, " %12d", *r.Held)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// closing sums a run up; it compares like with like.
func closing(s Summary, screen Screen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s (%d counted) in %s", count.Of(s.Steps, "step"), count.Of(s.Tokens, "token"), s.Counted,
		duration(time.Duration(s.Seconds*float64(time.Second))))
	if s.TokPerS != nil {
		fmt.Fprintf(&b, ", %.0f tok/s", *s.TokPerS)
	}
	if s.PeakBytes != nil {
		fmt.Fprintf(&b, ", peak memory %s", Bytes(*s.PeakBytes))
	}
	switch {
	case s.EvalRewardBefore != nil && s.EvalRewardAfter != nil:
		fmt.Fprintf(&b, "\nheld-out reward %.4f before, %.4f after", *s.EvalRewardBefore, *s.EvalRewardAfter)
	case s.EvalLossBefore != nil && s.EvalLossAfter != nil:
		fmt.Fprintf(&b, "\nheld-out loss %.4f before, %.4f after", *s.EvalLossBefore, *s.EvalLossAfter)
	}
	for _, m := range s.Mixed {
		if m.LossBefore != nil && m.LossAfter != nil {
			fmt.Fprintf(&b, "\nheld out of %s: loss %.4f before, %.4f after", m.File, *m.LossBefore, *m.LossAfter)
		}
	}
	if g := s.General; g != nil {
		fmt.Fprintf(&b,
			"\ngeneral text: loss %.4f before, %.4f after; its predictions moved by %.3g nats (KL from the base)",
			g.Before, g.After, g.KL)
	}
	if s.FirstReward != nil && s.LastReward != nil && s.Steps > 1 {
		fmt.Fprintf(&b, "\nreward %.4f -> %.4f (%s)", *s.FirstReward, *s.LastReward, tenths(s.TenthSteps))
	} else if s.FirstTenth != nil && s.LastTenth != nil && s.Steps > 1 {
		fmt.Fprintf(&b, "\ntraining loss %.4f -> %.4f (%s)", *s.FirstTenth, *s.LastTenth, tenths(s.TenthSteps))
	}
	if s.LlamaMaxDiff != nil && s.LlamaRMSDiff != nil {
		b.WriteString("\n" + agreement(s))
	}
	if s.VectorRMSDiff != nil && s.VectorMaxDiff != nil {
		fmt.Fprintf(&b, "\nllama.cpp loads it and makes the same vectors: at length 1 they differ by %.2g (root mean "+
			"square; %.2g at most)", *s.VectorRMSDiff, *s.VectorMaxDiff)
	}
	if s.MergedKL != nil && s.BaseKL != nil {
		fmt.Fprintf(&b, "\nmerged, its predictions are KL %.3g from those with the adapter apart, the base's %.3g;\n"+
			"  llama.cpp loads the model and computes the same", *s.MergedKL, *s.BaseKL)
	}
	if s.MergedTurn != nil && s.BaseTurn != nil {
		fmt.Fprintf(&b, "\nmerged, its vectors are %.3g (1 − cosine) from those with the adapter apart, the base's "+
			"%.3g;\n  llama.cpp loads the model and makes the same", *s.MergedTurn, *s.BaseTurn)
	}
	fmt.Fprintf(&b, "\n%s %s (step %d)", screen.paint(green, "written:"), s.Result, s.ResultStep)
	return b.String()
}

func tenths(steps int) string {
	if steps == 1 {
		return "the first and the last step"
	}
	return fmt.Sprintf("means of the first and the last %d steps", steps)
}

// rounded is a root mean square difference of logits from which on llama.cpp must have rounded activations: where it
// does not, both agree to 1e-5 (measured, with f32 weights).
const rounded = 1e-3

// agreement says how far llama.cpp's logits are from ours, and what that means.
func agreement(s Summary) string {
	text := fmt.Sprintf(
		"llama.cpp loads it and computes the same: logits differ by %.2g (root mean square; %.2g at most)",
		*s.LlamaRMSDiff, *s.LlamaMaxDiff)
	if s.ScoreRMSDiff != nil {
		text += fmt.Sprintf(", and its states times the head are the scores to %.2g", *s.ScoreRMSDiff)
	}
	if s.LlamaBaseDiff == nil || s.LlamaBaseRMSDiff == nil || *s.LlamaBaseRMSDiff < rounded {
		return text
	}
	return text +
		fmt.Sprintf(",\n  those of the base before training by %.2g (%.2g): llama.cpp rounds activations, to 8 bits "+
			"where weights are quantized, and that makes this difference", *s.LlamaBaseRMSDiff, *s.LlamaBaseDiff)
}
