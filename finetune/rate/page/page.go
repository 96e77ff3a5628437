// Package page is the browser page on which a person rates answers: a server on the loopback interface whose address holds a
// secret. It knows the session's view and decisions, no model and no file.
//
// Other programs and web pages on the machine can reach a loopback port. So every request must carry the token, which is in
// the address that the person opens and nowhere else; a page elsewhere whose name is pointed at 127.0.0.1 (DNS rebinding) is
// refused by its Host, a form sent from elsewhere by its Origin.
package page

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/internal/count"
)

//go:embed page.html static
var files embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"count":  count.Of[int],
	"letter": func(i int) string { return string(rune('A' + i)) },
	"digit":  func(i int) int { return i + 1 },
	"other":  func(role string) bool { return role != "user" && role != "system" && role != "assistant" },
}).ParseFS(files, "page.html"))

// maxBody bounds what a form may send: an edited answer, or a prompt.
const maxBody = 1 << 20

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
	token   string
	mux     *http.ServeMux

	mu       sync.Mutex
	stay     bool          // the person wants to go on after all is rated
	over     bool          // finished is closed
	finished chan struct{} // closed when the person, or Finish, ends it
}

// New makes a server with a token of its own.
func New(s *rate.Session, cfg Config) *Server {
	if cfg.Grace == 0 {
		cfg.Grace = 15 * time.Second
	}
	v := &Server{cfg: cfg, session: s, token: rand.Text(), mux: http.NewServeMux(), finished: make(chan struct{})}
	v.mux.HandleFunc("GET /{$}", v.page)
	v.mux.HandleFunc("GET /events", v.events)
	v.mux.HandleFunc("POST /choice", v.choice)
	v.mux.HandleFunc("POST /undo", v.undo)
	v.mux.HandleFunc("POST /prompt", v.prompt)
	v.mux.HandleFunc("POST /stay", v.stayOpen)
	v.mux.HandleFunc("POST /finish", v.finish)
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		v.mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			http.ServeFileFS(w, r, files, "static/"+name)
		})
	}
	return v
}

// Path is the part of the address that holds the token.
func (v *Server) Path() string { return "/" + v.token + "/" }

// Listen opens a port on the loopback interface; 0 takes a free one.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("serve the page on 127.0.0.1:%d: %w; choose another port with --port, or leave it out for a free one", port, err)
	}
	return l, nil
}

// Serve answers requests on l until all is rated or the person ends it, and then returns nil, or until ctx ends, and then
// returns context.Cause(ctx). It closes l.
func (v *Server) Serve(ctx context.Context, l net.Listener) error {
	// What goes wrong on a connection is the browser's to know: the terminal is the person's.
	h := &http.Server{Handler: v, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: log.New(discard{}, "", 0)}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	done := make(chan struct{})
	var timing sync.WaitGroup
	if v.cfg.Finish {
		timing.Go(func() { v.finishWhenComplete(done) })
	}
	var err error
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
		v.end()
	case <-v.finished:
	case err = <-served:
		v.end()
	}
	close(done)
	timing.Wait()
	// The streams of events end by themselves, and the last page must reach the browser.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if h.Shutdown(closing) != nil {
		h.Close()
	}
	return err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

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

// ServeHTTP implements http.Handler: what every request must be, before anything looks at what it asks.
func (v *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// With no-referrer, browsers send the Origin "null" with forms of this very page.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !loopback(r.Host) {
		refuse(w, http.StatusForbidden, "This address is not served here",
			"The page is served to this machine only, under 127.0.0.1 or localhost. Open the address that ggtune printed.")
		return
	}
	token, rest, slash := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(token), []byte(v.token)) != 1 {
		refuse(w, http.StatusForbidden, "This page is from another run",
			"Its address holds a key that is made anew each time ggtune rate starts. Open the address that ggtune printed last in its terminal. What you rated before is saved.")
		return
	}
	if !slash {
		http.Redirect(w, r, v.Path(), http.StatusPermanentRedirect)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !sameOrigin(r) {
		refuse(w, http.StatusForbidden, "Sent from another page", "Choices are taken only from ggtune's own page. Open the address that ggtune printed.")
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+rest, ""
	v.mux.ServeHTTP(w, inner)
}

// loopback says that a request's Host names this machine. The port may be another one: of a tunnel.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return name == "localhost" || name == "127.0.0.1"
}

// sameOrigin says that a request comes from a page of this server, or from no page at all.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// refuse answers with a page that says what to do.
func refuse(w http.ResponseWriter, code int, title, text string) {
	var b bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&b, "refused", map[string]string{"Title": title, "Text": text}); err != nil {
		http.Error(w, text, code)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src '"+refusedStyle+"'; img-src data:; frame-ancestors 'none'")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

// refusedStyle is the hash by which the policy of a refusal admits its one style: the style sheet is not served without the
// token.
var refusedStyle = func() string {
	var b bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&b, "refused-style", nil); err != nil {
		panic(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()

// form reads a form that is not too large, or answers why not.
func (v *Server) form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	err := r.ParseForm()
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "Too long",
			fmt.Sprintf("The text is longer than %d KiB, and nothing was saved. Go back and shorten it.", maxBody>>10))
	default:
		refuse(w, http.StatusBadRequest, "Not understood", "The form could not be read: "+err.Error())
	}
	return false
}
