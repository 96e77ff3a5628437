// Package page is the browser page on which a person rates answers. It knows the session's view and decisions, no model
// and no file; who may open it, internal/loopback decides.
package page

import (
	"context"
	"embed"
	"html/template"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/loopback"
)

//go:embed page.html static
var files embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"count":  count.Of[int],
	"letter": func(i int) string { return string(rune('A' + i)) },
	"small":  func(i int) string { return string(rune('a' + i)) },
	"upto": func(n int) (out []int) {
		for i := range n {
			out = append(out, i+1)
		}
		return out
	},
	"digit": func(i int) int { return i + 1 },
	"other": func(role string) bool { return role != "user" && role != "system" && role != "assistant" },
}).ParseFS(files, "page.html"))

// Config says how the page is served.
type Config struct {
	// File is the name of the file of choices, for the person.
	File string
	// Finish ends the serving when all is rated; without it the person ends it.
	Finish bool
	// Grace is how long the last choice can be taken back before Finish ends the serving. Default 15 s.
	Grace time.Duration
}

// A Server serves one session. It is safe for concurrent use.
type Server struct {
	cfg     Config
	session *rate.Session
	door    *loopback.Server

	mu       sync.Mutex
	stay     bool          // the person wants to go on after all is rated
	over     bool          // finished is closed
	finished chan struct{} // closed when the person, or Finish, ends it
}

// New makes a server with a key of its own.
func New(s *rate.Session, cfg Config) *Server {
	if cfg.Grace == 0 {
		cfg.Grace = 15 * time.Second
	}
	v := &Server{cfg: cfg, session: s, finished: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", v.page)
	mux.HandleFunc("GET /events", v.events)
	mux.HandleFunc("POST /choice", v.choice)
	mux.HandleFunc("POST /undo", v.undo)
	mux.HandleFunc("POST /prompt", v.prompt)
	mux.HandleFunc("POST /stay", v.stayOpen)
	mux.HandleFunc("POST /finish", v.finish)
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8",
		"page.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			http.ServeFileFS(w, r, files, "static/"+name)
		})
	}
	v.door = loopback.New(mux,
		loopback.Config{Command: "ggtune rate", Kept: "What you rated before is saved.", Orders: "Choices"})
	return v
}

// Path is the part of the address that holds the key.
func (v *Server) Path() string { return v.door.Path() }

// URL is the address on a listener.
func (v *Server) URL(l net.Listener) string { return v.door.URL(l) }

// ServeHTTP implements http.Handler.
func (v *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { v.door.ServeHTTP(w, r) }

// Serve answers requests on l until all is rated or the person ends it, and then returns nil, or until ctx ends, and
// then returns context.Cause(ctx). It closes l.
func (v *Server) Serve(ctx context.Context, l net.Listener) error {
	done := make(chan struct{})
	var timing sync.WaitGroup
	if v.cfg.Finish {
		timing.Go(func() { v.finishWhenComplete(done) })
	}
	err := v.door.Serve(ctx, l, v.finished, v.end)
	close(done)
	timing.Wait()
	return err
}

// end closes finished, once.
func (v *Server) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.over {
		v.over = true
		close(v.finished)
	}
}

// finishWhenComplete ends the serving when all has been rated for a while and nobody wants to stay.
func (v *Server) finishWhenComplete(done <-chan struct{}) {
	for {
		view, changed := v.session.View()
		var grace <-chan time.Time
		if view.Complete() {
			grace = time.After(v.cfg.Grace)
		}
		select {
		case <-done:
			return
		case <-changed:
		case <-grace:
			v.mu.Lock()
			stay := v.stay
			v.mu.Unlock()
			if !stay {
				v.end()
				return
			}
			grace = nil
			select {
			case <-done:
				return
			case <-changed:
			}
		}
	}
}
