package loopback

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What may not be asked reaches no handler; what may, reaches it without the key.
func TestWhoMayAsk(t *testing.T) {
	var reached string
	s := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached = r.Method + " " + r.URL.Path }),
		Config{Command: "ggtune x", Kept: "All is kept.", Orders: "Orders"})
	header := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	none := func(*http.Request) {}
	for _, tt := range []struct {
		name, method, path string
		with               func(*http.Request)
		code               int
		want               string // of the answer, or "METHOD PATH" that reached the handler
	}{
		{"the page", "GET", s.Path(), none, 200, "GET /"},
		{"a file", "GET", s.Path() + "page.js", none, 200, "GET /page.js"},
		{"an order", "POST", s.Path() + "stop", header("Origin", "http://127.0.0.1:8080"), 200, "POST /stop"},
		{"an order from no page", "POST", s.Path() + "stop", none, 200, "POST /stop"},
		{"through a tunnel", "GET", s.Path(), host("localhost:9999"), 200, "GET /"},
		{"without the slash", "GET", strings.TrimSuffix(s.Path(), "/"), none, 308, ""},
		{"no key", "GET", "/", none, 403,
			"each time ggtune x starts. Open the address that ggtune printed last in its terminal. All is kept."},
		{"another key", "POST", "/ABC/stop", none, 403, "This page is from another run"},
		{"a part of the key", "GET", s.Path()[:10] + "/", none, 403, "This page is from another run"},
		{"another host", "GET", s.Path(), host("evil.example"), 403, "served to this machine only"},
		{"a host that begins as ours", "GET", s.Path(), host("127.0.0.1.evil.example"), 403,
			"served to this machine only"},
		{"another origin", "POST", s.Path() + "stop", header("Origin", "http://evil.example"), 403,
			"Orders are taken only"},
		{"another port's origin", "POST", s.Path() + "stop", header("Origin", "http://127.0.0.1:1"), 403,
			"Orders are taken only"},
		{"no origin to trust", "POST", s.Path() + "stop", header("Origin", "null"), 403, "Orders are taken only"},
		{"another site", "DELETE", s.Path() + "stop", header("Sec-Fetch-Site", "cross-site"), 403,
			"Orders are taken only"},
	} {
		reached = ""
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.Host = "127.0.0.1:8080"
		tt.with(r)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tt.code || reached == "" && !strings.Contains(w.Body.String(), tt.want) || reached != "" &&
			reached != tt.want {
			t.Errorf("%s: got %d, reached %q, want %d with %q:\n%s", tt.name, w.Code, reached, tt.code, tt.want, w.Body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") ||
			!strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy is %q", tt.name, csp)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: it may be stored", tt.name)
		}
	}
}

func TestForm(t *testing.T) {
	var s *Server
	s = New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Form(w, r) {
			io.WriteString(w, r.PostForm.Get("a"))
		}
	}), Config{})
	for body, want := range map[string]int{"a=b": 200, "a=" + strings.Repeat("x", MaxBody): 413, "a=%zz": 400} {
		r := httptest.NewRequest("POST", s.Path(), strings.NewReader(body))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%.10s: got %d, want %d", body, w.Code, want)
		}
	}
}

// A stream that is open does not keep the command from ending, and gets its last words.
func TestServeEnds(t *testing.T) {
	stopped := errors.New("stopped")
	for _, byContext := range []bool{true, false} {
		l, err := Listen(0)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		s := New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			<-over
			io.WriteString(w, "over")
		}), Config{})
		ctx, cancel := context.WithCancelCause(t.Context())
		finished, served := make(chan struct{}), make(chan error, 1)
		go func() { served <- s.Serve(ctx, l, finished, func() { close(over) }) }()
		resp, err := http.Get(s.URL(l))
		if err != nil {
			t.Fatal(err)
		}
		var want error
		if byContext {
			want = stopped
			cancel(stopped)
		} else {
			close(finished)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != "over" {
			t.Errorf("by context %v: the stream got %q, %v", byContext, b, err)
		}
		select {
		case err := <-served:
			if !errors.Is(err, want) {
				t.Errorf("by context %v: got %v, want %v", byContext, err, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("by context %v: still serving", byContext)
		}
		cancel(nil)
	}
	if _, err := Listen(99999); err == nil {
		t.Error("port 99999 is listened on")
	}
}
