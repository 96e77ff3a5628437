// Package chromium opens pages in headless Chromium for tests. It knows none of our pages.
package chromium

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// find finds the browser, or skips the test: $CHROMIUM, or one of the names it goes by.
func find(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
	if env := os.Getenv("CHROMIUM"); env != "" {
		names = []string{env}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("no browser among %q: install Chromium, or set CHROMIUM to one, to test pages in it", names)
	return ""
}

// A Browser is a tab of headless Chromium that fails the test on any error of the page's script or of its policy.
type Browser struct {
	T   *testing.T
	Ctx context.Context
}

// New starts one.
func New(t *testing.T) *Browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(find(t)), chromedp.NoSandbox)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page's script: %+v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			if strings.Contains(e.Entry.Text, "Content Security Policy") {
				t.Errorf("the page against its own policy: %s", e.Entry.Text)
			}
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, "http://127.0.0.1:") && !strings.HasPrefix(u, "data:") {
				t.Errorf("the page asks for %s", u)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{t, ctx}
}

// Do acts; what is used in messages.
func (b *Browser) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.Ctx, actions...); err != nil {
		b.T.Fatalf("%s: %v; the page is\n%s", what, err, b.HTML())
	}
}

// HTML is the page as it is now.
func (b *Browser) HTML() string {
	s, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML"))
	if err != nil {
		return err.Error()
	}
	return s
}

// Eval gives the value of an expression that is a string.
func (b *Browser) Eval(expression string) string {
	b.T.Helper()
	s, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.T.Fatalf("%s: %v; the page is\n%s", expression, err, b.HTML())
	}
	return s
}

// Until waits for a condition of the page, in JavaScript. It asks from here: what chromedp polls with inside the page,
// the page's policy forbids.
func (b *Browser) Until(what, condition string) {
	b.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		// While a page is being left, an error is no surprise.
		ok, err := chromedp.Run(b.Ctx, chromedp.Evaluate[bool]("Boolean("+condition+")"))
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) || b.Ctx.Err() != nil {
			b.T.Fatalf("%s: not within 30 s (%v); the page is\n%s", what, err, b.HTML())
		}
	}
}

// Look sets the size of the window, of a phone where it is narrow, and whether the reader prefers dark pages.
func (b *Browser) Look(width, height int64, dark bool) {
	b.T.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	const phone = 500 // pixels: no desktop's window is as narrow
	b.Do("set the window", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < phone})
		return err
	}))
}

// Picture writes the whole page as a PNG file.
func (b *Browser) Picture(path string) {
	b.T.Helper()
	png, err := chromedp.Run(b.Ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(path, png, 0o666)
	}
	if err != nil {
		b.T.Fatal(err)
	}
}
