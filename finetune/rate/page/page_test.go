package page

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/internal/loopback"
)

// prepared gives n pairs whose answers are there. The text tries to be more than text.
func prepared(n int) []rate.Item {
	items := make([]rate.Item, n)
	for i := range items {
		items[i] = rate.Item{
			Prompt: rate.Prompt{
				Messages: []rate.Message{{Role: "user", Content: fmt.Sprintf("question %d <b>&", i+1)}}},
			Answers: []rate.Answer{{Text: fmt.Sprintf("first %d <script>alert(1)</script>", i+1), Stop: "end"},
				{Text: fmt.Sprintf("second %d\nline", i+1), Stop: "length", Tokens: 7}}}
	}
	return items
}

type site struct {
	t     *testing.T
	v     *Server
	s     *rate.Session
	store *rate.Store
	http  *httptest.Server
}

func newSite(t *testing.T, items []rate.Item, cfg rate.Config) *site {
	t.Helper()
	path := filepath.Join(t.TempDir(), "choices.jsonl")
	store, _, err := rate.OpenStore(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	x := &site{t: t, store: store, s: rate.NewSession(store, items, cfg)}
	x.v = New(x.s, Config{File: path})
	x.http = httptest.NewServer(x.v)
	t.Cleanup(x.http.Close)
	return x
}

// do sends a request as this server's page would, changed by with.
func (x *site) do(method, path string, form url.Values, with func(*http.Request)) (int, string) {
	x.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, x.http.URL+path, body)
	if err != nil {
		x.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", x.http.URL)
	}
	if with != nil {
		with(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		x.t.Errorf("%s %s: Content-Security-Policy is %q", method, path, csp)
	}
	return resp.StatusCode, string(b)
}

// form fills in what the page's hidden fields hold now.
func (x *site) form(values ...string) url.Values {
	view, _ := x.s.View()
	f := url.Values{"revision": {fmt.Sprint(view.Revision)}, "id": {view.ID}}
	for i := 0; i < len(values); i += 2 {
		f.Set(values[i], values[i+1])
	}
	return f
}

func (x *site) rated() int {
	view, _ := x.s.View()
	return view.Rated
}

// The page works without JavaScript: what a form needs is in it, and every choice is a form's button.
func TestPlainFormPage(t *testing.T) {
	x := newSite(t, prepared(2), rate.Config{CanWrite: true})
	code, html := x.do("GET", x.v.Path(), nil, nil)
	if code != http.StatusOK {
		t.Fatalf("got %d", code)
	}
	for _, want := range []string{`method="post" action="` + x.v.Path() + `choice"`, `name="revision" value="0"`,
		`name="id" value="`, `value="a"`, `value="b"`,
		`value="tie"`, `value="bad"`, `value="skip"`, `name="edited_a"`, `name="edit" value="b"`,
		`action="` + x.v.Path() + `undo"`, `action="` + x.v.Path() + `prompt"`,
		"question 1 &lt;b&gt;&amp;", "first 1 &lt;script&gt;alert(1)&lt;/script&gt;", "cut off after 7 tokens"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if regexp.MustCompile(`(?i)(src|href)="(https?:)?//`).MatchString(html) || strings.Contains(html, "<script>") ||
		strings.Contains(html, "style=") {
		t.Errorf("the page loads from elsewhere, or holds script or style of its own:\n%s", html)
	}
	code, html = x.do("POST", x.v.Path()+"choice", x.form("choice", "a"), nil) // follows the redirect
	if code != http.StatusOK || !strings.Contains(html, "question 2") || x.rated() != 1 {
		t.Errorf("after a choice: %d, %d rated, want the second question", code, x.rated())
	}
	code, html = x.do("POST", x.v.Path()+"undo", x.form(), nil)
	if code != http.StatusOK || !strings.Contains(html, "question 1") || x.rated() != 0 {
		t.Errorf("after an undo: %d, %d rated, want the first question", code, x.rated())
	}
	code, _ = x.do("POST", x.v.Path()+"choice", x.form("edit", "b", "edited_a", "not this", "edited_b", "this\r\none"),
		nil)
	if r := x.store.Records(); code != http.StatusOK || len(r) != 1 || r[0].Choice != rate.Edit ||
		*r[0].Edited != "this\none" || *r[0].EditedFrom != 1 {
		t.Errorf("after an edit: %d, %+v", code, r)
	}
	code, html = x.do("POST", x.v.Path()+"prompt", x.form("text", "my own"), nil)
	if code != http.StatusOK || !strings.Contains(html, "1 of 3") {
		t.Errorf("after a typed prompt: %d, want 1 of 3 rated", code)
	}
	for _, name := range []string{"page.css", "page.js"} {
		if code, body := x.do("GET", x.v.Path()+name, nil, nil); code != http.StatusOK ||
			strings.Contains(body, "http://") || strings.Contains(body, "https://") {
			t.Errorf("%s: got %d", name, code)
		}
	}
}

// Without JavaScript a page whose answers are still being written reloads itself, and cannot be rated yet.
func TestPageWhileWriting(t *testing.T) {
	items := prepared(1)
	items[0].Answers = nil
	x := newSite(t, items, rate.Config{CanWrite: true})
	_, html := x.do("GET", x.v.Path(), nil, nil)
	for _, want := range []string{`<noscript><meta http-equiv="refresh" content="2"></noscript>`,
		`value="a" class="main" data-key="1 a" aria-keyshortcuts="1 A" disabled`, "being written"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q:\n%s", want, html)
		}
	}
	code, html := x.do("POST", x.v.Path()+"choice", x.form("choice", "a"), nil)
	if code != http.StatusUnprocessableEntity || !strings.Contains(html, "still being written") || x.rated() != 0 {
		t.Errorf("a choice too early: %d, %d rated", code, x.rated())
	}
}

// unsure is a reward model that knows nothing.
type unsure struct{}

func (unsure) Score(_ context.Context, _ rate.Prompt, answers []rate.Answer) ([]float64, error) {
	return make([]float64, len(answers)), nil
}

// While it is not known which pair comes next, the page says so, offers nothing to choose, and reloads itself.
func TestPageWhileChoosing(t *testing.T) {
	x := newSite(t, prepared(3), rate.Config{CanWrite: true, Scorer: unsure{}}) // nobody lets it score
	_, html := x.do("GET", x.v.Path(), nil, nil)
	for _, want := range []string{`<noscript><meta http-equiv="refresh" content="2"></noscript>`, `data-id=""`,
		"the reward model can tell apart least", "Ask something of your own", "0 rated, 3 left"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q:\n%s", want, html)
		}
	}
	if strings.Contains(html, `name="choice"`) || strings.Contains(html, "All pairs are rated") {
		t.Errorf("the page asks for a choice, or says that all is done:\n%s", html)
	}
	if code, _ := x.do("POST", x.v.Path()+"choice", x.form("choice", "skip"), nil); code != http.StatusConflict {
		t.Errorf("a choice about no pair: got %d", code)
	}
}

func TestRefusals(t *testing.T) {
	x := newSite(t, prepared(2), rate.Config{})
	path := x.v.Path()
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(k, val string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, val) } }
	for _, tt := range []struct {
		name, method, path string
		form               url.Values
		with               func(*http.Request)
		code               int
		want               string
	}{
		{"no token", "GET", "/", nil, nil, 403, "Open the address that ggtune printed last"},
		{"stale token", "GET", "/ABCDEFGHIJKLMNOPQRSTUVWXYZ/", nil, nil, 403, "What you rated before is saved"},
		{"a part of the token", "GET", path[:10] + "/", nil, nil, 403, "Open the address"},
		{"stale token, post", "POST", "/ABC/choice", x.form("choice", "a"), nil, 403, "Open the address"},
		{"stale token, script", "GET", "/ABC/page.js", nil, nil, 403, "Open the address"},
		{"another host", "GET", path, nil, host("evil.example:80"), 403, "served to this machine only"},
		{"a host that begins as ours", "GET", path, nil, host("127.0.0.1.evil.example"), 403,
			"served to this machine only"},
		{"no host", "GET", path, nil, host("..."), 403, "served to this machine only"},
		{"another port", "GET", path, nil, host("localhost:9999"), 200, "question 1"},
		{"another origin", "POST", path + "choice", x.form("choice", "a"), header("Origin", "http://evil.example"), 403,
			"Sent from another page"},
		{"no origin to trust", "POST", path + "choice", x.form("choice", "a"), header("Origin", "null"), 403,
			"Sent from another page"},
		{"another site", "POST", path + "undo", x.form(), header("Sec-Fetch-Site", "cross-site"), 403,
			"Sent from another page"},
		{"unknown page", "GET", path + "etc/passwd", nil, nil, 404, ""},
		{"choice by GET", "GET", path + "choice?choice=a", nil, nil, 405, ""},
		{"stale revision", "POST", path + "choice",
			url.Values{"revision": {"7"}, "id": x.form()["id"], "choice": {"a"}}, nil, 409,
			"This is where it stands now"},
		{"no revision", "POST", path + "choice", url.Values{"id": x.form()["id"], "choice": {"a"}}, nil, 409,
			"question 1"},
		{"another pair", "POST", path + "choice", url.Values{"revision": {"0"}, "id": {"x"}, "choice": {"a"}}, nil, 409,
			"question 1"},
		{"unknown choice", "POST", path + "choice", x.form("choice", "best"), nil, 422, "unknown choice"},
		{"no choice", "POST", path + "choice", x.form(), nil, 422, "unknown choice"},
		{"empty edit", "POST", path + "choice", x.form("edit", "a", "edited_a", " "), nil, 422,
			"the edited answer is empty"},
		{"nothing to undo", "POST", path + "undo", x.form(), nil, 422, "no choice to take back"},
		{"typed without a model", "POST", path + "prompt", x.form("text", "hello"), nil, 422, "no model here"},
		{"10 MB", "POST", path + "choice", x.form("choice", "a", "edited_a", strings.Repeat("x", 10<<20)), nil, 413,
			"nothing was saved"},
		{"10 MB, stale token", "POST", "/ABC/choice", x.form("edited_a", strings.Repeat("x", 10<<20)), nil, 403,
			"Open the address"},
		{"broken form", "POST", path + "choice", url.Values{}, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("a=%zz")), 5
		}, 400, "could not be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body := x.do(tt.method, tt.path, tt.form, tt.with)
			if code != tt.code || !strings.Contains(body, tt.want) {
				t.Errorf("got %d, want %d with %q:\n%.2000s", code, tt.code, tt.want, body)
			}
			if x.rated() != 0 {
				t.Fatalf("%d choices were made", x.rated())
			}
		})
	}
}

// A choice that cannot be saved is not made, the page says why, and it can be made again.
func TestNotSaved(t *testing.T) {
	x := newSite(t, prepared(2), rate.Config{})
	other := []byte("\n\n")
	if err := os.WriteFile(x.store.Path(), other, 0o666); err != nil {
		t.Fatal(err)
	}
	code, html := x.do("POST", x.v.Path()+"choice", x.form("choice", "a"), nil)
	if code != http.StatusInternalServerError || !strings.Contains(html, "Not saved: ") ||
		!strings.Contains(html, "changed by another program") || !strings.Contains(html, "question 1") {
		t.Errorf("got %d:\n%s", code, html)
	}
	if err := os.Remove(x.store.Path()); err != nil {
		t.Fatal(err)
	}
	if code, _ := x.do("POST", x.v.Path()+"choice", x.form("choice", "a"), nil); code != http.StatusOK ||
		x.rated() != 1 {
		t.Errorf("again: got %d, %d rated", code, x.rated())
	}
}

// Two windows send the same choice: one counts, the other is told.
func TestDoubleSubmit(t *testing.T) {
	x := newSite(t, prepared(3), rate.Config{})
	form := x.form("choice", "a")
	codes := make(chan int, 8)
	for range cap(codes) {
		go func() {
			code, _ := x.do("POST", x.v.Path()+"choice", form, nil)
			codes <- code
		}()
	}
	counts := map[int]int{}
	for range cap(codes) {
		counts[<-codes]++
	}
	if counts[http.StatusOK] != 1 || counts[http.StatusConflict] != cap(codes)-1 || x.rated() != 1 {
		t.Errorf("got %v and %d rated, want one 200, the rest 409, 1 rated", counts, x.rated())
	}
}

// A stream tells of what happens in another window, and ends with the serving.
func TestEventsAndFinish(t *testing.T) {
	x := newSite(t, prepared(1), rate.Config{})
	v := New(x.s, Config{File: "f", Finish: true, Grace: 300 * time.Millisecond})
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- v.Serve(context.Background(), l) }()
	resp, err := http.Get("http://" + l.Addr().String() + v.Path() + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		for lines.Scan() {
			if s, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return s
			}
		}
		return ""
	}
	if got := next(); !strings.Contains(got, `"revision":0`) || !strings.Contains(got, `"ready":true`) {
		t.Errorf("first event: %s", got)
	}
	view, _ := x.s.View()
	if err := x.s.Decide(rate.Decision{Revision: 0, ID: view.ID, Choice: rate.Tie}); err != nil {
		t.Fatal(err)
	}
	if got := next(); !strings.Contains(got, `"revision":1`) {
		t.Errorf("after a choice: %s", got)
	}
	if got := next(); !strings.Contains(got, `"over":true`) {
		t.Errorf("at the end: %s", got)
	}
	if err := <-served; err != nil {
		t.Errorf("serving ended with %v, want nil once all is rated", err)
	}
}

func TestStayThenFinish(t *testing.T) {
	x := newSite(t, nil, rate.Config{CanWrite: true})
	v := New(x.s, Config{File: "f", Finish: true, Grace: 100 * time.Millisecond})
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- v.Serve(context.Background(), l) }()
	post := func(name string) string {
		resp, err := http.Post("http://"+l.Addr().String()+v.Path()+name, "application/x-www-form-urlencoded", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	post("stay")
	select {
	case err := <-served:
		t.Fatalf("it ended (%v), though the person wanted to stay", err)
	case <-time.After(300 * time.Millisecond):
	}
	if got := post("finish"); !strings.Contains(got, "This page can be closed") {
		t.Errorf("after finish: %s", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeEndsWithContext(t *testing.T) {
	x := newSite(t, prepared(1), rate.Config{})
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	served := make(chan error, 1)
	go func() { served <- x.v.Serve(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + x.v.Path() + "events") // an open stream does not hold it up
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel(stopped)
	select {
	case err := <-served:
		if !errors.Is(err, stopped) {
			t.Errorf("got %v, want the cause", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still serving")
	}
}

// four gives a list of answers that are there.
func four() []rate.Item {
	it := rate.Item{Prompt: rate.Prompt{Text: "rank these"}}
	for _, text := range []string{"one", "two", "three", "four"} {
		it.Answers = append(it.Answers, rate.Answer{Text: text, Stop: "end"})
	}
	return []rate.Item{it}
}

// TestLists: four answers are ranked, or given stars, with a form alone; what was given stands there after a refusal.
func TestLists(t *testing.T) {
	x := newSite(t, four(), rate.Config{})
	_, html := x.do("GET", x.v.Path(), nil, nil)
	for _, want := range []string{`name="shown_d"`, `name="value_d" value="4"`, `value="rank"`, "Save the order",
		"All bad", `name="edited_d"`, `name="edit" value="d"`} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, none := range []string{`value="tie"`, `value="a" class`, `value="5"`, "checked"} {
		if strings.Contains(html, none) {
			t.Errorf("the page has %q", none)
		}
	}
	shown := []string{"shown_a", "", "shown_b", "", "shown_c", "", "shown_d", ""}
	code, html := x.do("POST", x.v.Path()+"choice", x.form(append(shown, "choice", "rank")...), nil)
	if code != http.StatusUnprocessableEntity || !strings.Contains(html, "say which answer is best") {
		t.Errorf("no rank: got %d", code)
	}
	values := append(shown, "value_a", "3", "value_b", "1", "value_d", "2")
	code, html = x.do("POST", x.v.Path()+"choice", x.form(append(values, "choice", "stars")...), nil)
	if code != http.StatusUnprocessableEntity || strings.Count(html, "checked") != 3 {
		t.Errorf("a star is missing: got %d, %d checked", code, strings.Count(html, "checked"))
	}
	x.do("POST", x.v.Path()+"choice", x.form(append(values, "choice", "rank")...), nil)
	if r := x.store.Records(); len(r) != 1 || fmt.Sprint(r[0].Ranks) != "[3 1 4 2]" {
		t.Errorf("got %+v", r)
	}

	x = newSite(t, four(), rate.Config{Stars: true})
	_, html = x.do("GET", x.v.Path(), nil, nil)
	if !strings.Contains(html, `name="value_a" value="5"`) || !strings.Contains(html, "Save the stars") {
		t.Error("the page asks for no stars")
	}
	x.do("POST", x.v.Path()+"choice", x.form(append(values, "value_c", "5", "choice", "stars")...), nil)
	if r := x.store.Records(); len(r) != 1 || fmt.Sprint(r[0].Ratings) != "[3 1 5 2]" {
		t.Errorf("got %+v", r)
	}

	x = newSite(t, four(), rate.Config{})
	edit := x.form(append(shown, "edit", "d", "edited_a", "one", "edited_b", "two", "edited_c", "three", "edited_d",
		"5")...)
	x.do("POST", x.v.Path()+"choice", edit, nil)
	if r := x.store.Records(); len(r) != 1 || *r[0].EditedFrom != 3 || *r[0].Edited != "5" {
		t.Errorf("got %+v", r)
	}
}
