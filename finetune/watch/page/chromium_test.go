package page

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/finetune/watch"
	"github.com/ggtune/ggtune/internal/chromium"
	"github.com/ggtune/ggtune/internal/loopback"
)

// evil tries to be more than text.
const evil = `<img src=x onerror=alert(1)><script>alert(1)</script>`

// lineOf is a step of a run of dpo.
func lineOf(step int) report.Line {
	x := float64(step)
	l := report.Line{Step: step, Epoch: x / 700, Loss: 0.7*math.Exp(-x/600) + 0.05*math.Sin(x*x),
		LR:       1e-4 * min(x/100, 1),
		GradNorm: 1 + math.Abs(math.Sin(x)), Tokens: 900, Counted: 400, TokPerS: 300 + 20*math.Sin(x*1.7),
		Peak: 6e8 + int64(step)*1000,
		Figures: map[string]float64{"accuracy": 0.5 + x/5000, "margin": x / 500, "rewards_chosen": x / 2000,
			"rewards_rejected": -x / 700}}
	if step%100 == 0 {
		loss := 0.69 * math.Exp(-x/700)
		l.EvalLoss = &loss
		l.Figures["eval_accuracy"], l.Figures["eval_margin"] = 0.5+x/5200, x/550
	}
	return l
}

// running makes a run of so many steps that is under way, half of them done.
func running(t *testing.T, steps int) (dir string, log *report.Log) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run "+evil[:14])
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	lock, ok, err := rundir.Lock(dir)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() { lock.Close() })
	log, err = report.OpenLog(filepath.Join(dir, rundir.Metrics), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	for step := 1; step <= steps/2; step++ {
		if err := log.Append(lineOf(step)); err != nil {
			t.Fatal(err)
		}
	}
	held := encode.Counts{Examples: 200, Rows: 90, Tokens: 45678, Counted: 23456}
	start := report.Start{Started: report.Started{Model: "m" + evil + ".gguf", Arch: "llama", Types: "q4_1 210",
		Method: "dpo", Unit: "pair",
		Train: encode.Counts{Examples: 5000, DroppedRead: 2, Rows: 2100, Tokens: 1234567, Counted: 654321}, Held: &held,
		Trained: 4884480, Memory: 812e6, Steps: steps, Threads: 2}, Notes: []string{"a note " + evil},
		Before: map[string]float64{"eval_loss": 0.6931, "eval_accuracy": 0.5}}
	if err := start.Write(filepath.Join(dir, rundir.Start)); err != nil {
		t.Fatal(err)
	}
	write(t, dir, rundir.Settings, "# "+evil+"\nmodel = \"m.gguf\"\n")
	write(t, dir, rundir.Samples, sample(t, 0, "Why is the sky blue?")+sample(t, steps/2, "A haiku, please. "+evil))
	return dir, log
}

func sample(t *testing.T, step int, prompt string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"step": step, "prompt": prompt, "base": "of the base " + evil,
		"tuned": fmt.Sprintf("of step %d\n%s", step,
			strings.Repeat("Air scatters blue light more than red light. ", 6))})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// serve serves the page of a run and gives its address.
func serve(t *testing.T, dir string, cfg Config) string {
	t.Helper()
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	v := New(watch.Open(dir, nil), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- v.Serve(ctx, l, nil) }()
	t.Cleanup(func() { cancel(); <-served })
	return v.URL(l)
}

// points are those of a panel's series, as drawn.
func points(b *chromium.Browser, panel, series string) (out [][2]float64) {
	b.T.Helper()
	text := b.Eval(fmt.Sprintf(`JSON.stringify(document.querySelector(%q).chart.series.get(%q))`,
		`.panel[data-name="`+panel+`"]`, series))
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		b.T.Fatalf("%s, %s: %v: %.200s", panel, series, err, text)
	}
	return out
}

// vertices counts those of a panel's line.
func vertices(panel, series string) string {
	return fmt.Sprintf(`(document.querySelector('.panel[data-name=%q] `+
		`path[data-series=%q]')?.getAttribute("d").match(/[ML]/g) ?? []).length`, panel, series)
}

// A run of 2,000 steps that is opened half way shows all its points within a second, each panel the numbers of
// metrics.jsonl, and then what follows.
func TestRunInChromium(t *testing.T) {
	const steps = 2000
	b := chromium.New(t)
	dir, log := running(t, steps)
	url := serve(t, dir, Config{Command: "ggtune watch"})
	b.Do("open nothing", chromedp.Navigate("about:blank")) // the browser itself takes its time to start
	// Measured in the page, from the beginning of its being opened, again where the machine was busy with something
	// else.
	best := math.Inf(1)
	for range 10 {
		b.Do("open the page", chromedp.Navigate(url))
		b.Until("all points", vertices("loss", "each step")+" === 1000")
		best = min(best,
			number(t, b.Eval(`String(document.querySelector('.panel[data-name="peak_bytes"]').chart.drawn)`)))
		if best <= 1000 {
			break
		}
	}
	if best > 1000 {
		t.Errorf("all points were there after %v ms, want 1,000 at most", best)
	}
	t.Logf("all points are there after %.0f ms", best)
	lines := read(t, dir)
	check := func() {
		t.Helper()
		for _, p := range []struct{ panel, series, key string }{
			{"loss", "each step", "loss"}, {"loss", "held out", "eval_loss"}, {"lr", "value", "lr"},
			{"grad_norm", "each step", "grad_norm"},
			{"tok_per_s", "each step", "tok_per_s"}, {"peak_bytes", "value", "peak_bytes"},
			{"own accuracy", "each step", "accuracy"},
			{"own accuracy", "held out", "eval_accuracy"}, {"own margin", "each step", "margin"},
			{"own margin", "held out", "eval_margin"},
			{"own rewards_chosen", "each step", "rewards_chosen"},
			{"own rewards_rejected", "each step", "rewards_rejected"},
		} {
			var want [][2]float64
			if x, ok := map[string]float64{"eval_loss": 0.6931, "eval_accuracy": 0.5}[p.key]; ok {
				want = append(want, [2]float64{0, x})
			}
			for _, l := range lines {
				if x, ok := l[p.key].(float64); ok {
					want = append(want, [2]float64{l["step"].(float64), x})
				}
			}
			if got := points(b, p.panel, p.series); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got %d points, want the %d of %s in metrics.jsonl; the last are %v and %v", p.panel,
					p.series, len(got), len(want),
					p.key, got[max(len(got)-3, 0):], want[max(len(want)-3, 0):])
			}
		}
	}
	check()
	last := lines[len(lines)-1]
	for name, want := range map[string]string{"step": "1000/2000", "loss": fmt.Sprintf("%.4f", last["loss"]),
		"held-out loss": fmt.Sprintf("%.4f", last["eval_loss"]), "learning rate": "1e-4", "memory": "601.0 MB",
		"tok/s": fmt.Sprintf("%.0f", last["tok_per_s"])} {
		if got := b.Eval(fmt.Sprintf(`document.querySelector('#figures [data-name=%q] dd')?.textContent ?? "none"`,
			name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	// 1,000 steps of 900 tokens at about 300 tok/s.
	if got := b.Eval(
		`document.querySelector('#figures [data-name="time left"] dd')?.textContent ?? "none"`); got != "about 50 min" {
		t.Errorf("time left: got %q, want about 50 min", got)
	}
	text := b.Eval(`document.body.innerText`)
	for _, want := range []string{"1234567", "654321", "45678", "A haiku, please. " + evil, "of the base " + evil,
		"of step 1000", "a note " + evil,
		"m" + evil + ".gguf", "running", "near duplicates"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	b.Do("open the settings", chromedp.Click(chromedp.CSS("#settings summary")))
	b.Until("the settings", fmt.Sprintf(`document.querySelector("#settings pre").innerText.includes(%q)`, evil))
	if n := b.Eval(`String(document.querySelectorAll("img, main script").length)`); n != "0" {
		t.Errorf("text of files became %s elements", n)
	}
	pictures(b, "run")

	// What follows comes by itself: steps, an evaluation that changes the last line, a sample; and a resume that takes
	// steps back.
	for step := steps/2 + 1; step <= steps/2+100; step++ {
		l := lineOf(step)
		eval := l.EvalLoss
		l.EvalLoss = nil
		if err := log.Append(l); err != nil {
			t.Fatal(err)
		}
		if eval != nil {
			b.Until("the steps before the evaluation", vertices("loss", "each step")+fmt.Sprintf(" === %d", step))
			if err := log.Amend(func(l *report.Line) { l.EvalLoss = eval }); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Until("the evaluation", vertices("loss", "held out")+" === 12")
	lines = read(t, dir)
	check()
	again, err := report.OpenLog(filepath.Join(dir, rundir.Metrics), 1050)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	b.Until("the steps that were taken back are gone", vertices("loss", "each step")+" === 1050")
	lines = read(t, dir)
	check()
	peak := int64(702e6)
	if err := report.WriteSummary(filepath.Join(dir, rundir.Report), report.Summary{PeakBytes: &peak}); err != nil {
		t.Fatal(err)
	}
	b.Until("the memory of the report, which the terminal names too",
		`document.querySelector('#figures [data-name="memory"] dd').textContent === "702.0 MB"`)
}

// TestRewardsInChromium: of a run by rewards the page shows these in the place of the loss, each apart, and the answers
// with what they are worth.
func TestRewardsInChromium(t *testing.T) {
	b := chromium.New(t)
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	log, err := report.OpenLog(filepath.Join(dir, rundir.Metrics), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for step := 1; step <= 30; step++ {
		x := float64(step)
		l := report.Line{Step: step, Epoch: x / 30, Loss: 0.01 * math.Sin(x), LR: 5e-5, GradNorm: 1, Tokens: 900,
			Counted: 400, TokPerS: 300, Figures: map[string]float64{"reward": 0.3 + x/100 + 0.05*math.Sin(x*x),
				"reward_exact": x / 100, "reward_std": 0.2, "entropy": 2 - x/50, "signal": 0.75,
				"answer_len": 40 + x/10, "mismatch": 0.06, "clip_frac": 0.01, "ess": 0.98, "ended": 0.9,
				"kl": x / 1000}}
		if step%10 == 0 {
			loss := -0.3 - x/100
			l.EvalLoss, l.Figures["eval_reward"] = &loss, -loss
		}
		if err := log.Append(l); err != nil {
			t.Fatal(err)
		}
	}
	worth, least := 1.5, 0.0
	samples, err := report.OpenSamples(filepath.Join(dir, rundir.Samples), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer samples.Close()
	for i, s := range []report.Sample{
		{Why: "best", Prompt: "How many? " + evil, Tuned: "Seven. " + evil, TunedEnd: "end", Reward: &worth,
			Rewards: map[string]float64{"exact": 1, "length=" + evil: 0.5}},
		{Why: "worst", Prompt: "How few?", Tuned: "", TunedEnd: "end", Reward: &least},
		{Why: "random", Prompt: "Guess.", Tuned: "Eight.", TunedEnd: "end", Reward: &least, Exchange: []report.Spoken{
			{Role: "assistant", Content: "Five.", Reward: &worth}, {Role: "user", Content: "More. " + evil},
			{Role: "assistant", Content: "Eight.", Over: "turns"}}},
	} {
		if s.Step, s.Index = 30, i; samples.Append(s) != nil {
			t.Fatal("no samples")
		}
	}
	before, after := 0.3, 0.6
	if err := report.WriteSummary(filepath.Join(dir, rundir.Report), report.Summary{EvalRewardBefore: &before,
		EvalRewardAfter: &after, EvalLossBefore: &before, EvalLossAfter: &after, FirstReward: &before,
		LastReward: &after, FirstTenth: &before, LastTenth: &after}); err != nil {
		t.Fatal(err)
	}
	b.Do("open the page", chromedp.Navigate(serve(t, dir, Config{Command: "ggtune watch"})))
	b.Until("all points", vertices("own reward", "each step")+" === 30")
	panels := b.Eval(`[...document.querySelectorAll("#panels h2")].map((h) => h.textContent).join("; ")`)
	const want = "Reward; Reward: exact; KL to the reference (nats per token); Entropy (nats per token); " +
		"Length of an answer (tokens); Answers that ended (share); Groups with signal (share); " +
		"Clipped (share of tokens); Mismatch of the writer (nats); Effective sample size (share); " +
		"reward std; Loss; Learning rate; Gradient norm; Speed (tok/s)"
	if panels != want {
		t.Errorf("got panels %s\nwant %s", panels, want)
	}
	if got := points(b, "own reward", "held out"); len(got) != 3 || got[2] != [2]float64{30, 0.6} {
		t.Errorf("held-out rewards: %v", got)
	}
	wide := b.Eval(`[...document.querySelectorAll(".panel.wide")].map((p) => p.dataset.name).join()`)
	if wide != "own reward" {
		t.Errorf("large is %s, want the reward", wide)
	}
	text := b.Eval(`document.body.innerText`)
	for _, want := range []string{"best, worth 1.5 (exact 1, length=" + evil + " 0.5)", "Seven. " + evil,
		"worst, worth 0", "(an empty answer)", "random, worth 0", "assistant: 1.5", "Five.", "More. " + evil,
		"assistant, and the exchange ended: turns", "0.3000 before, 0.6000 after", "training reward"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	for _, not := range []string{"base", "held-out loss", "training loss"} {
		if strings.Contains(text, not) {
			t.Errorf("the page shows %q", not)
		}
	}
	pictures(b, "rewards")
}

// pictures writes what the page looks like where a person asks for it: the tests see no ugliness.
func pictures(b *chromium.Browser, name string) {
	dir := os.Getenv("PAGE_PICTURES")
	if dir == "" {
		return
	}
	for _, width := range []int64{1280, 390} {
		for _, dark := range []bool{false, true} {
			b.Look(width, 900, dark)
			time.Sleep(500 * time.Millisecond) // it is drawn anew
			b.Picture(filepath.Join(dir, fmt.Sprintf("%s-%d-dark-%v.png", name, width, dark)))
		}
	}
}

func read(t *testing.T, dir string) (lines []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, rundir.Metrics))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	return lines
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	var x float64
	if _, err := fmt.Sscan(text, &x); err != nil {
		t.Fatalf("%q is no number: %v", text, err)
	}
	return x
}

// The buttons pass wishes on, each where it can be heard, and show why one was not.
func TestButtonsInChromium(t *testing.T) {
	b := chromium.New(t)
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, dir, rundir.Settings, "model = \"m.gguf\"\n")
	lock, ok, err := rundir.Lock(dir)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer lock.Close()
	asked := make(chan bool, 1)
	url := serve(t, dir, Config{Command: "ggtune watch", Stop: func() error { return rundir.AskToStop(dir) },
		Continue: func() error { asked <- true; return fmt.Errorf("no, for %s", evil) }})
	b.Do("open the page", chromedp.Navigate(url))
	shown := func(id string) string { return fmt.Sprintf(`!document.getElementById(%q).hidden`, id) }
	b.Until("a run that can be stopped, and not begun", shown("stop")+" && !("+shown("continue")+")")
	b.Do("stop", chromedp.Click(chromedp.CSS("#stop")))
	b.Until("stopping",
		`document.getElementById("state").dataset.state === "stopping" && document.getElementById("stop").hidden`)
	if !rundir.Asked(dir) {
		t.Error("the run was not asked to stop")
	}
	rundir.Forget(dir)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	b.Until("a run that can go on", shown("continue")+" && !("+shown("stop")+")")
	b.Do("continue", chromedp.Click(chromedp.CSS("#continue")))
	<-asked
	b.Until("why not", fmt.Sprintf(`document.getElementById("notice").innerText.includes(%q)`, "no, for "+evil))
}

// Several runs lie over each other, with the numbers of their files, and follow them.
func TestRunsInChromium(t *testing.T) {
	b := chromium.New(t)
	one, log := running(t, 40)
	two, _ := running(t, 60)
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	v := NewRuns("ggtune runs", []string{one, two})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- v.Serve(ctx, l, nil) }()
	t.Cleanup(func() { cancel(); <-served })
	b.Do("open the page", chromedp.Navigate(v.URL(l)))
	b.Until("two curves", `document.querySelectorAll('.panel[data-name="loss"] path').length === 2`)
	for dir, steps := range map[string]int{one: 20, two: 30} {
		got := points(b, "loss", dir)
		if len(got) != steps || math.Abs(got[0][1]-lineOf(1).Loss) > 1e-9 || got[steps-1][0] != float64(steps) {
			t.Errorf("%s: %d points, want %d: %v", dir, len(got), steps, got)
		}
		if got := points(b, "held", dir); len(got) != 1 || got[0] != [2]float64{0, 0.6931} {
			t.Errorf("%s: held out %v", dir, got)
		}
	}
	text := b.Eval(`document.body.innerText`)
	for _, want := range []string{one, two, "20/40", "30/60", "running"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q:\n%s", want, text)
		}
	}
	pictures(b, "runs")
	if err := log.Append(lineOf(21)); err != nil {
		t.Fatal(err)
	}
	b.Until("a step more", `document.body.innerText.includes("21/40")`)
}
