// Package loopback serves a command's browser page to this machine only, under an address that holds a key. It knows
// who may ask, and nothing of what is asked.
//
// Other programs and web pages on the machine can reach a loopback port. So every request must carry the key, which is
// in the address that the person opens and nowhere else; a page elsewhere whose name is pointed at 127.0.0.1 (DNS
// rebinding) is refused by its Host, a form sent from elsewhere by its Origin.
package loopback

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // the page of refusals
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

//go:embed refused.html
var refusedHTML string

var refused = template.Must(template.New("refused").Parse(refusedHTML))

// MaxBody bounds what a form may send, bytes: texts that people type.
const MaxBody = 1 << 20

// Config says whose page it is.
type Config struct {
	Command string // "ggtune rate": for titles and refusals
	// Kept is what a person who opens the address of an earlier start need not fear for: "What you rated before is
	// saved."
	Kept string
	// Orders are what forms of the page give: "Choices".
	Orders string
}

// A Server answers the requests that may be answered with a handler, which sees paths without the key. It is safe for
// concurrent use.
type Server struct {
	cfg   Config
	key   string
	inner http.Handler
}

// New makes a server with a key of its own.
func New(inner http.Handler, cfg Config) *Server {
	return &Server{cfg: cfg, key: rand.Text(), inner: inner}
}

// Path is the part of the address that holds the key.
func (s *Server) Path() string { return "/" + s.key + "/" }

// URL is the address on a listener.
func (s *Server) URL(l net.Listener) string { return "http://" + l.Addr().String() + s.Path() }

// Listen opens a port on the loopback interface; 0 takes a free one.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf(
			"serve the page on 127.0.0.1:%d: %w; choose another port with --port, or leave it out for "+
				"a free one", port, err)
	}
	return l, nil
}

// Serve answers requests on l until finished is closed, and then returns nil, or until ctx ends, and then returns
// context.Cause(ctx). It closes l. Before it waits for the answers under way it calls end, after which streams must end
// by themselves.
func (s *Server) Serve(ctx context.Context, l net.Listener, finished <-chan struct{}, end func()) error {
	// What goes wrong on a connection is the browser's to know: the terminal is the person's.
	h := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 1 << 16, ErrorLog: log.New(discard{}, "", 0)}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	var err error
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-finished:
	case err = <-served:
	}
	end()
	// The last page must reach the browser.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if h.Shutdown(closing) != nil {
		h.Close()
	}
	return err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// ServeHTTP implements http.Handler: what every request must be, before anything looks at what it asks.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
		"img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// With no-referrer, browsers send the Origin "null" with forms of this very page.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !local(r.Host) {
		s.Refuse(w, http.StatusForbidden, "This address is not served here",
			"The page is served to this machine only, "+
				"under 127.0.0.1 or localhost. Open the address that ggtune printed.")
		return
	}
	key, rest, slash := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(key), []byte(s.key)) != 1 {
		s.Refuse(w, http.StatusForbidden, "This page is from another run",
			fmt.Sprintf("Its address holds a key that is "+
				"made anew each time %s starts. Open the address that ggtune printed last in its terminal. %s",
				s.cfg.Command, s.cfg.Kept))
		return
	}
	if !slash {
		http.Redirect(w, r, s.Path(), http.StatusPermanentRedirect)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !sameOrigin(r) {
		s.Refuse(w, http.StatusForbidden, "Sent from another page", s.cfg.Orders+" are taken only from ggtune's own "+
			"page. Open the address that ggtune printed.")
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+rest, ""
	s.inner.ServeHTTP(w, inner)
}

// local says that a request's Host names this machine. The port may be another one: of a tunnel.
func local(host string) bool {
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

// A refusal fills in refused.html.
type refusal struct{ Title, Text, Command string }

// Refuse answers with a page that says what to do.
func (s *Server) Refuse(w http.ResponseWriter, code int, title, text string) {
	var b bytes.Buffer
	if err := refused.Execute(&b, refusal{title, text, s.cfg.Command}); err != nil {
		http.Error(w, text, code)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src '"+refusedStyle+"'; img-src data:; frame-ancestors 'none'")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

// refusedStyle is the hash by which the policy of a refusal admits its one style: the style sheet is not served without
// the key.
var refusedStyle = func() string {
	var b bytes.Buffer
	if err := refused.ExecuteTemplate(&b, "refused-style", nil); err != nil {
		panic(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()

// Form reads a form that is not too large, or answers why not.
func (s *Server) Form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	err := r.ParseForm()
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &large):
		s.Refuse(w, http.StatusRequestEntityTooLarge, "Too long",
			fmt.Sprintf("The text is longer than %d KiB, and nothing was saved. Go back and shorten it.", MaxBody>>10))
	default:
		s.Refuse(w, http.StatusBadRequest, "Not understood", "The form could not be read: "+err.Error())
	}
	return false
}
