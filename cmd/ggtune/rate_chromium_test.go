package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/internal/chromium"
)

// A browser has rate's page open.
type browser struct{ *chromium.Browser }

// slip is how long the page takes a key for one that was meant for the pair before, and a little more.
const slip = 350 * time.Millisecond

const pair = `document.getElementById("view").dataset.id`

// pairText is what a person sees of a pair: its prompt, and both answers in their order.
const pairText = `[...document.querySelectorAll(".prompt .text, article .text")].map((p) => ` +
	`p.textContent).join("\n---\n")`

// ready waits until a pair can be rated, and past the moment in which a key would still be meant for the one before.
func (b *browser) ready() (id string) {
	b.T.Helper()
	b.Until("a pair that is ready", `document.getElementById("view")?.dataset.ready === "true"`)
	time.Sleep(slip)
	return b.Eval(pair)
}

// key presses a key as a keyboard does: the page can keep its letter from being typed. chromedp's own KeyEvent sends
// the letter after the key in any case.
func (b *browser) key(letter string) {
	b.T.Helper()
	b.Do("press "+letter, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		down := input.DispatchKeyEventParams{Type: kb.KeyDown, Key: letter, Text: letter, UnmodifiedText: letter}
		if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, down); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kb.KeyUp, Key: letter})
		return err
	}))
}

// press rates the pair on show by a key, and waits for another.
func (b *browser) press(key string) {
	b.T.Helper()
	id := b.ready()
	b.key(key)
	b.Until("another pair after "+key, fmt.Sprintf("%s !== %q", pair, id))
}

// Ten pairs by keyboard in a real browser, with an undo, a reload, a second tab, a server that is killed and started
// again, and an edit: nothing is lost.
func TestRateInChromium(t *testing.T) {
	b := &browser{chromium.New(t)}
	dir := t.TempDir()
	model, prompts, choices := synth.Temp(t, synth.Tiny("llama", gguf.F32)), filepath.Join(dir, "prompts.txt"),
		filepath.Join(dir, "choices.jsonl")
	var text strings.Builder
	for i := range 10 {
		fmt.Fprintf(&text, "question %d <script>alert(1)</script>\n", i)
	}
	if err := os.WriteFile(prompts, []byte(text.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"-m", model, "-d", prompts, "-o", choices, "-n", "24", "--threads", "1"}
	r := startRating(t, args...)
	b.Do("open the page", chromedp.Navigate(r.url))
	for _, key := range []string{"1", "b", "t", "x", "s"} {
		b.press(key)
	}
	b.ready()
	sixth := b.Eval(pairText)
	b.press("2")
	if got := choicesIn(t, choices); got != "a b tie bad skip b" {
		t.Errorf("after six: %s", got)
	}
	// At once, as one does who has slipped.
	seventh := b.Eval(pair)
	b.key("u")
	b.Until("another pair after u", fmt.Sprintf("%s !== %q", pair, seventh))
	if got := choicesIn(t, choices); got != "a b tie bad skip" {
		t.Errorf("after the undo: %s", got)
	}
	undone := b.ready()
	if got := b.Eval(pairText); got != sixth {
		t.Errorf("the undo shows\n%s\nwant\n%s", got, sixth)
	}
	b.Do("reload", chromedp.Reload())
	if got := b.ready(); got != undone {
		t.Errorf("after a reload: pair %s, want %s", got, undone)
	}

	// What a second tab decides, the first one shows by itself.
	other, cancel := chromedp.NewContext(b.Ctx)
	defer cancel()
	second := &browser{&chromium.Browser{T: t, Ctx: other}}
	second.Do("open a second tab", chromedp.Navigate(r.url))
	second.press("a")
	b.Until("the second tab's choice in the first", fmt.Sprintf("%s !== %q", pair, undone))
	if got := choicesIn(t, choices); got != "a b tie bad skip a" {
		t.Errorf("after the second tab: %s", got)
	}
	cancel()

	before := b.ready()
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait() // killed
	b.Until("the page says that the server is gone",
		`document.getElementById("notice").textContent.includes("What you rated is saved")`)
	stale := r.url
	r = startRating(t, args...)
	b.Do("open the old address",
		chromedp.Navigate(r.url[:strings.LastIndex(strings.TrimSuffix(r.url, "/"), "/")]+
			stale[strings.LastIndex(strings.TrimSuffix(stale, "/"), "/"):]))
	if got := b.Eval(`document.body.innerText`); !strings.Contains(got, "Open the address that ggtune printed last") {
		t.Errorf("the old key shows %q", got)
	}
	b.Do("open the new address", chromedp.Navigate(r.url))
	if got := b.ready(); got != before {
		t.Errorf("after a new start: pair %s, want %s", got, before)
	}
	if got := choicesIn(t, choices); got != "a b tie bad skip a" {
		t.Errorf("after a kill: %s", got)
	}

	b.key("e")
	b.Until("the edit box", `document.activeElement.id === "edit-0"`)
	b.Do("type", chromedp.KeyEvent(" and better 1 2 u"),
		chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	b.Until("another pair after the edit", fmt.Sprintf("%s !== %q", pair, before))
	for _, key := range []string{"1", "2"} {
		b.press(key)
	}
	tenth := b.ready()
	b.press("t")
	b.Until("the end", `document.body.innerText.includes("All pairs are rated")`)
	// The last choice can be taken back too, and is of the same pair.
	b.key("u")
	if got := b.ready(); got != tenth {
		t.Errorf("the undo of the last choice shows %s, want %s", got, tenth)
	}
	b.key("t")
	b.Until("the end", `document.body.innerText.includes("All pairs are rated")`)
	// Who types a prompt of his own on the last page goes on.
	b.key("n")
	b.Until("the prompt box", `document.activeElement.id === "text"`)
	b.Do("type a prompt", chromedp.KeyEvent("my own"),
		chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	b.Until("the typed prompt", `document.querySelector(".prompt")?.innerText.includes("my own")`)
	b.press("t")
	b.Until("the end", `document.body.innerText.includes("All pairs are rated")`)
	time.Sleep(slip)
	b.key("f")
	b.Until("the last page", `document.body.innerText.includes("This page can be closed")`)
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("the command ended with %v, want exit code 0", err)
	}
	if got := choicesIn(t, choices); got != "a b tie bad skip a edit a b tie tie" {
		t.Errorf("at the end: %s", got)
	}
	checkChoices(t, choices)
}

// checkChoices demands eleven different prompts, and an edit as it was typed.
func checkChoices(t *testing.T, path string) {
	t.Helper()
	records, err := rate.ReadChoices(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.About.ID] = true
		if r.Choice == rate.Edit &&
			(!strings.HasSuffix(*r.Edited, " and better 1 2 u") || r.Chosen.Text != *r.Edited || *r.EditedFrom != 0) {
			t.Errorf("the edit is %q from %d, chosen %q", *r.Edited, *r.EditedFrom, r.Chosen.Text)
		}
	}
	if len(seen) != 11 {
		t.Errorf("%d different prompts are rated, want 11", len(seen))
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is left: %v", err)
	}
}

// Without JavaScript the page is forms that work, and that follow what is being written.
func TestRateInChromiumWithoutJavaScript(t *testing.T) {
	b := &browser{chromium.New(t)}
	dir := t.TempDir()
	model, prompts, choices := synth.Temp(t, synth.Tiny("llama", gguf.F32)), filepath.Join(dir, "p.txt"),
		filepath.Join(dir, "c.jsonl")
	if err := os.WriteFile(prompts, []byte("one\ntwo\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	r := startRating(t, "-m", model, "-d", prompts, "-o", choices, "-n", "24", "--threads", "1", "--template", "plain")
	b.Do("switch JavaScript off", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled,
			emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	b.Do("open the page", chromedp.Navigate(r.url))
	// Each press waits for the page that the one before led to: by its revision, and by its notice.
	for _, button := range []string{
		`[data-revision="0"] button[value="a"]:enabled`, `[data-revision="1"] button[form="undo"]:enabled`,
		`[data-revision="2"] button[value="tie"]:enabled`,
		`[data-revision="3"][data-ready="true"] summary[data-key="e"]`,
		`[data-revision="3"] details[open] button[name="edit"][value="b"]`,
		`[data-revision="3"] #notice:not([hidden]) ~ form button[value="b"]:enabled`,
	} {
		b.Do("press "+button, chromedp.Click(chromedp.CSS(button)))
	}
	b.Do("finish", chromedp.Click(chromedp.CSS(`form[action$="finish"] button`)))
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("the command ended with %v, want exit code 0", err)
	}
	if got := choicesIn(t, choices); got != "tie b" { // the edit changed nothing, and was refused
		t.Errorf("got %s", got)
	}
}

// TestRateListsInChromium: four answers are ranked by their numbers, and get stars, by keyboard alone.
func TestRateListsInChromium(t *testing.T) {
	dir := t.TempDir()
	model, prompts := synth.Temp(t, synth.Tiny("llama", gguf.F32)), filepath.Join(dir, "p.txt")
	if err := os.WriteFile(prompts, []byte("one\ntwo\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		flags []string
		keys  [][]string // for each prompt
		want  string
	}{
		{"ranks", nil, [][]string{{"3", "1", "Backspace", "3", "2", "Enter"}, {"d", "a", "b", "c", "Enter"}},
			"[3 2 1 3] [2 3 4 1]"},
		{"stars", []string{"--stars"}, [][]string{{"5", "4", "Backspace", "9", "3", "1", "2", "Enter"},
			{"1", "1", "1", "1", "Enter"}}, "[5 3 1 2] [1 1 1 1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &browser{chromium.New(t)}
			choices := filepath.Join(dir, tc.name+".jsonl")
			r := startRating(t, append(tc.flags, "-m", model, "-d", prompts, "-o", choices, "-n", "24",
				"--threads", "1", "--answers", "4")...)
			b.Do("open the page", chromedp.Navigate(r.url))
			for _, keys := range tc.keys {
				id := b.ready()
				if path := os.Getenv("GGTUNE_TEST_PICTURES"); path != "" { // to look at
					b.Picture(filepath.Join(path, tc.name+".png"))
				}
				for _, key := range keys {
					switch key {
					case "Backspace":
						b.Do("take one back", chromedp.KeyEvent(kb.Backspace))
					case "Enter":
						b.Do("save", chromedp.KeyEvent(kb.Enter))
					default:
						b.key(key)
					}
				}
				b.Until("what comes after the list", fmt.Sprintf("%s !== %q", pair, id))
			}
			b.Until("the end", `document.body.innerText.includes("All pairs are rated")`)
			records, err := rate.ReadChoices(choices)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range records {
				got = append(got, fmt.Sprint(append(r.Ranks, r.Ratings...)))
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// Answers are put in order by dragging, with a mouse and with a finger, and by arrow keys; before they were moved they
// have no order.
func TestRateByDraggingInChromium(t *testing.T) {
	dir := t.TempDir()
	model, prompts := synth.Temp(t, synth.Tiny("llama", gguf.F32)), filepath.Join(dir, "p.txt")
	if err := os.WriteFile(prompts, []byte("one\ntwo\nthree\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	b := &browser{chromium.New(t)}
	choices := filepath.Join(dir, "c.jsonl")
	r := startRating(t, "-m", model, "-d", prompts, "-o", choices, "-n", "24", "--threads", "1", "--answers", "4")
	b.Do("open the page", chromedp.Navigate(r.url))
	grip := func(answer string) (x, y float64) {
		at := b.Eval(fmt.Sprintf(`(() => { const r = [...document.querySelectorAll("article")].find((a) => `+
			`a.querySelector("h2").textContent === %q).querySelector(".grip").getBoundingClientRect(); `+
			`return (r.x + r.width / 2) + " " + (r.y + r.height / 2); })()`, answer))
		if _, err := fmt.Sscan(at, &x, &y); err != nil {
			t.Fatalf("%q: %v", at, err)
		}
		return x, y
	}
	ranks := func() string {
		return b.Eval(`[...document.querySelectorAll("article")].sort((a, b) => a.querySelector("h2").textContent < ` +
			`b.querySelector("h2").textContent ? -1 : 1).map((a) => a.querySelector("input:checked")?.value ?? "-")` +
			`.join(" ")`)
	}
	save := func(want string) {
		t.Helper()
		if got := ranks(); got != want {
			t.Errorf("ranks %s, want %s", got, want)
		}
		id := b.Eval(pair)
		b.Do("save", chromedp.KeyEvent(kb.Enter))
		b.Until("what comes after", fmt.Sprintf("%s !== %q", pair, id))
	}
	b.ready()
	if got := ranks(); got != "- - - -" {
		t.Errorf("before anything is moved: ranks %s", got)
	}
	// By mouse: D to the place of A.
	mouse := func(kind input.DispatchMouseEventType, x, y float64) {
		b.Do("the mouse", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: x, Y: y,
				Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1})
			return err
		}))
	}
	x0, y0 := grip("D")
	x1, y1 := grip("A")
	mouse(input.DispatchMouseEventTypeMousePressed, x0, y0)
	for i := 1; i <= 8; i++ {
		f := float64(i) / 8
		mouse(input.DispatchMouseEventTypeMouseMoved, x0+f*(x1-x0), y0+f*(y1-y0))
	}
	mouse(input.DispatchMouseEventTypeMouseReleased, x1, y1)
	if got := ranks(); !strings.HasSuffix(got, " 1") {
		t.Errorf("D was dragged to the first place: ranks %s", got)
	}
	save(ranks())
	// By arrow keys: B before A, and on one more.
	b.ready()
	b.Eval(`(document.querySelectorAll(".grip")[1].focus(), "")`)
	b.Do("up", chromedp.KeyEvent(kb.ArrowUp))
	b.Do("up again, where nothing is", chromedp.KeyEvent(kb.ArrowUp))
	save("2 1 3 4")
	// By finger, on a phone: A to the end.
	b.ready()
	b.Look(390, 800, false)
	b.Until("one below the other", `(() => { const [a, b] = document.querySelectorAll("article"); return `+
		`b.getBoundingClientRect().top > a.getBoundingClientRect().top; })()`)
	finger := func(kind input.DispatchTouchEventType, points ...*input.TouchPoint) {
		b.Do("the finger", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind,
				TouchPoints: points})
			return err
		}))
	}
	x0, y0 = grip("A")
	_, y1 = grip("B")
	finger(input.DispatchTouchEventTypeTouchStart, &input.TouchPoint{X: x0, Y: y0})
	for i := 1; i <= 8; i++ {
		finger(input.DispatchTouchEventTypeTouchMove, &input.TouchPoint{X: x0, Y: y0 + float64(i)/8*(y1-y0)})
	}
	finger(input.DispatchTouchEventTypeTouchEnd)
	save("2 1 3 4")
	b.Until("the end", `document.body.innerText.includes("All pairs are rated")`)
	if got := choicesIn(t, choices); got != "rank rank rank" {
		t.Errorf("got %s", got)
	}
}
