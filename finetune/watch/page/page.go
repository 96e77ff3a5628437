// Package page is the browser page on which a person watches a run. It knows what finetune/watch sees of it, and passes
// on two wishes: to stop, and to go on; who may open it, internal/loopback decides.
package page

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ggtune/ggtune/finetune/watch"
	"github.com/ggtune/ggtune/internal/loopback"
)

//go:embed static
var files embed.FS

// pages are the HTML files: the pages, and the head that they share.
var pages = template.Must(template.ParseFS(files, "static/*.html"))

// A sheet is what a page is made of.
type sheet struct {
	html    string // its file
	Title   string
	Styles  []string // loaded in this order
	Scripts []string
}

// Config says what the page can do.
type Config struct {
	Command string // "ggtune watch"
	// Stop asks the run to save and stop, Continue lets it go on in this process. Their errors are shown on the page.
	Stop, Continue func() error
}

// A Server serves a page: of one run, or of several. It is safe for concurrent use.
type Server struct {
	door *loopback.Server
	over chan struct{} // closed when the serving ends
	end  func()
}

// newServer makes one that serves a page with its styles and scripts, and what handle adds.
func newServer(command string, s sheet, handle func(*Server, *http.ServeMux)) *Server {
	v := &Server{over: make(chan struct{})}
	v.end = sync.OnceFunc(func() { close(v.over) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kinds[".html"])
		_ = pages.ExecuteTemplate(w, s.html, s) // fails only where the browser is gone
	})
	for _, name := range slices.Concat(s.Styles, s.Scripts) {
		if name == coloursFile {
			continue
		}
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kinds[filepath.Ext(name)])
			http.ServeFileFS(w, r, files, "static/"+name)
		})
	}
	handle(v, mux)
	v.door = loopback.New(mux, loopback.Config{Command: command, Kept: "What a run has written is in its directory: " +
		"`ggtune watch` shows it.", Orders: "Wishes"})
	return v
}

// kinds are media types by a file's end: what the system thinks of them may be anything.
var kinds = map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8"}

// New makes a server of one run's page, with a key of its own.
func New(run *watch.Run, cfg Config) *Server {
	s := sheet{html: "page.html", Title: "ggtune", Styles: []string{"page.css"},
		Scripts: []string{"chart.js", "page.js"}}
	return newServer(cfg.Command, s, func(v *Server, mux *http.ServeMux) {
		mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { v.events(w, r, run) })
		mux.HandleFunc("POST /stop", wish(cfg.Stop))
		mux.HandleFunc("POST /continue", wish(cfg.Continue))
	})
}

// Path is the part of the address that holds the key.
func (v *Server) Path() string { return v.door.Path() }

// URL is the address on a listener.
func (v *Server) URL(l net.Listener) string { return v.door.URL(l) }

// ServeHTTP implements http.Handler.
func (v *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { v.door.ServeHTTP(w, r) }

// Serve answers requests on l until finished is closed, and then returns nil, or until ctx ends, and then returns
// context.Cause(ctx). It closes l.
func (v *Server) Serve(ctx context.Context, l net.Listener, finished <-chan struct{}) error {
	return v.door.Serve(ctx, l, finished, v.end)
}

// wish passes a wish on and answers whether it was heard.
func wish(do func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// An event says what has changed.
type event struct {
	Status  json.RawMessage `json:"status,omitempty"`
	Metrics *watch.Lines    `json:"metrics,omitempty"`
	Samples *watch.Lines    `json:"samples,omitempty"`
	Over    bool            `json:"over"` // the serving ends, and this is the last
}

// lookEvery is how often the run's files are looked at while somebody watches.
const lookEvery = 250 * time.Millisecond

// events streams what changes, beginning with all there is, until the browser goes or the serving ends.
func (v *Server) events(w http.ResponseWriter, r *http.Request, run *watch.Run) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	// A browser that has lost the stream tries again after so many milliseconds.
	if _, err := fmt.Fprint(w, "retry: 2000\n\n"); err != nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var seen viewer
	for over := false; ; {
		e, changed, err := seen.look(run)
		if err != nil {
			return
		}
		e.Over = over
		if changed || over {
			b, err := json.Marshal(e)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || rc.Flush() != nil || over {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-v.over:
			over = true
		case <-tick.C:
		}
	}
}

// A viewer is what one browser has been told.
type viewer struct {
	status []byte
	place  watch.Place
}

// look gives what it has not been told yet.
func (s *viewer) look(run *watch.Run) (e event, changed bool, err error) {
	var bad error
	e.Metrics, e.Samples, s.place, bad = run.Since(s.place)
	st := run.Status()
	if bad != nil {
		st.Faults = append(st.Faults, bad.Error())
	}
	status, err := json.Marshal(st)
	if err != nil {
		return e, false, err
	}
	if !bytes.Equal(status, s.status) {
		s.status, e.Status = status, status
	}
	return e, e.Status != nil || e.Metrics != nil || e.Samples != nil, nil
}
