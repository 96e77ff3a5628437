package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/finetune/watch"
	"github.com/ggtune/ggtune/internal/loopback"
)

// Every address asks for the key, this machine and this page; of the run's directory nothing can be fetched by its
// name.
func TestRequests(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, rundir.Settings, "secret = 1\n")
	stops, goes := 0, 0
	v := New(watch.Open(dir, nil), Config{Command: "ggtune watch", Stop: func() error { stops++; return nil },
		Continue: func() error { goes++; return errors.New("it runs already") }})
	header := func(k, val string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, val) } }
	none := func(*http.Request) {}
	for _, tt := range []struct {
		name, method, path string
		with               func(*http.Request)
		code               int
		want               string
	}{
		{"page", "GET", v.Path(), none, 200, "Stop and save"},
		{"style", "GET", v.Path() + "page.css", none, 200, "prefers-color-scheme"},
		{"script", "GET", v.Path() + "page.js", none, 200, "EventSource"},
		{"charts", "GET", v.Path() + "chart.js", none, 200, "class Chart"},
		{"no key", "GET", "/", none, 403, "ggtune watch"},
		{"no key, script", "GET", "/page.js", none, 403, ""},
		{"no key, events", "GET", "/events", none, 403, ""},
		{"no key, stop", "POST", "/stop", none, 403, ""},
		{"another host", "GET", v.Path() + "events", func(r *http.Request) { r.Host = "evil.example" }, 403, ""},
		{"another origin", "POST", v.Path() + "stop", header("Origin", "http://evil.example"), 403,
			"Wishes are taken only"},
		{"another site", "POST", v.Path() + "continue", header("Sec-Fetch-Site", "cross-site"), 403, ""},
		{"stop by a link", "GET", v.Path() + "stop", none, 405, ""},
		{"continue by a link", "GET", v.Path() + "continue", none, 405, ""},
		{"post to the page", "POST", v.Path(), none, 405, ""},
		{"a file of the run", "GET", v.Path() + rundir.Settings, none, 404, ""},
		{"up", "GET", v.Path() + "../" + rundir.Settings, none, 0, ""},
		{"up, escaped", "GET", v.Path() + "%2e%2e/%2e%2e/etc/passwd", none, 0, ""},
		{"a directory", "GET", v.Path() + "static/", none, 404, ""},
		{"stop", "POST", v.Path() + "stop", header("Origin", "http://127.0.0.1:1234"), 204, ""},
		{"continue", "POST", v.Path() + "continue", header("Origin", "http://127.0.0.1:1234"), 409, "it runs already"},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.Host = "127.0.0.1:1234"
		tt.with(r)
		w := httptest.NewRecorder()
		v.ServeHTTP(w, r)
		body := w.Body.String()
		if tt.code != 0 && w.Code != tt.code || tt.code == 0 && w.Code == 200 || !strings.Contains(body, tt.want) ||
			strings.Contains(body, "secret") || strings.Contains(body, "root:") {
			t.Errorf("%s: got %d, want %d with %q:\n%.500s", tt.name, w.Code, tt.code, tt.want, body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") ||
			strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy is %q", tt.name, csp)
		}
	}
	if stops != 1 || goes != 1 {
		t.Errorf("%d stops and %d continues were heard, want 1 of each", stops, goes)
	}
}

// TestHead: both pages have one head, which names what each is made of, all of it served.
func TestHead(t *testing.T) {
	for title, v := range map[string]*Server{"ggtune": New(watch.Open(t.TempDir(), nil), Config{}),
		"ggtune runs": NewRuns("ggtune runs", nil)} {
		get := func(name string) string {
			r := httptest.NewRequest("GET", v.Path()+name, nil)
			r.Host = "127.0.0.1:1234"
			w := httptest.NewRecorder()
			v.ServeHTTP(w, r)
			if w.Code != 200 {
				t.Errorf("%s: %q: got %d", title, name, w.Code)
			}
			return w.Body.String()
		}
		head, body, _ := strings.Cut(get(""), "</head>")
		parts := regexp.MustCompile(`(?:rel="stylesheet" href|script src)="([^"]+)"`).FindAllStringSubmatch(head, -1)
		for _, part := range parts {
			get(part[1])
		}
		if !strings.HasPrefix(head, "<!doctype html>") || !strings.Contains(head, "<title>"+title+"</title>") ||
			len(parts) < 3 || !strings.HasPrefix(body, "\n<body>") {
			t.Errorf("%s: got\n%s", title, head)
		}
	}
}

// Nothing of the page comes from elsewhere.
func TestNoForeignResources(t *testing.T) {
	err := filepath.WalkDir("static", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if s := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", ""); strings.Contains(s, "//www") ||
			strings.Contains(s, "http:") ||
			strings.Contains(s, "https:") || strings.Contains(s, "innerHTML") || strings.Contains(s, "style=") {
			t.Errorf("%s names another place, or sets HTML", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The stream begins with all there is, byte for byte of the file, tells what is new, and ends with the serving.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	first, second := `{"step":1,"loss":2.5000000000000004}`, `{"step":2,"loss":1e-7}`
	write(t, dir, rundir.Metrics, first+"\n")
	v := New(watch.Open(dir, nil), Config{})
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	finished, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- v.Serve(context.Background(), l, finished) }()
	resp, err := http.Get(v.URL(l) + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	next := func() (e event) {
		t.Helper()
		for {
			s, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := strings.CutPrefix(s, "data: "); ok {
				if err := json.Unmarshal([]byte(s), &e); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
				return e
			}
		}
	}
	if e := next(); e.Metrics == nil || len(e.Metrics.Lines) != 1 || string(e.Metrics.Lines[0]) != first ||
		!strings.Contains(string(e.Status), `"stopped"`) {
		t.Errorf("at first: %+v", e)
	}
	write(t, dir, rundir.Metrics, first+"\n"+second+"\n")
	if e := next(); e.Metrics == nil || e.Metrics.From != 1 || e.Metrics.After != 1 ||
		string(e.Metrics.Lines[0]) != second || e.Status != nil || e.Over {
		t.Errorf("a step later: %+v", e)
	}
	write(t, dir, rundir.Metrics, first+"\nno JSON\n")
	if e := next(); e.Metrics == nil || e.Metrics.From != 1 || len(e.Metrics.Lines) != 0 ||
		!strings.Contains(string(e.Status), "metrics.jsonl:2") {
		t.Errorf("damaged: %+v", e)
	}
	close(finished)
	if e := next(); !e.Over {
		t.Errorf("at the end: %+v", e)
	}
	if _, err := lines.ReadString('{'); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
