package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ggtune/ggtune/finetune/rate"
)

// A shown page is a view and what else stands on the page.
type shown struct {
	rate.View
	File     string
	Base     string // the path that relative addresses begin at
	Notice   string
	Typed    string   // a prompt that was not taken
	Edits    []string // what stands in the edit boxes
	Values   []int    // of lists: what was given
	EditOpen bool
	Over     bool // the serving ends
	Grace    int  // seconds until it ends by itself; 0: it does not
	Summary  rate.Summary
}

func (v *Server) shown() shown {
	view, _ := v.session.View()
	p := shown{View: view, File: v.cfg.File, Base: v.Path(), Edits: view.Texts, Values: make([]int, len(view.Texts))}
	if view.Complete() {
		p.Summary = v.session.Summary()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	p.Over = v.over
	if v.cfg.Finish && !v.stay {
		p.Grace = int(v.cfg.Grace / time.Second)
	}
	return p
}

func (v *Server) show(w http.ResponseWriter, code int, p shown) {
	var b bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&b, "page.html", p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

func (v *Server) page(w http.ResponseWriter, _ *http.Request) { v.show(w, http.StatusOK, v.shown()) }

// decided answers a decision: on to the page as it is now, or the page with why not.
func (v *Server) decided(w http.ResponseWriter, r *http.Request, err error, keep func(*shown)) {
	if err == nil {
		http.Redirect(w, r, v.Path(), http.StatusSeeOther)
		return
	}
	p := v.shown()
	code := http.StatusInternalServerError
	var refused *rate.RefusedError
	switch {
	case errors.Is(err, rate.ErrStale):
		code = http.StatusConflict
		p.Notice = "Nothing was changed: " + err.Error() + ". This is where it stands now."
	case errors.As(err, &refused):
		code = http.StatusUnprocessableEntity
		p.Notice = "Nothing was changed: " + err.Error() + "."
	default:
		p.Notice = "Not saved: " + err.Error()
	}
	if keep != nil {
		keep(&p)
	}
	v.show(w, code, p)
}

// revision reads which view a form was made for; one that is no number is of no view.
func revision(r *http.Request) (uint64, error) {
	n, err := strconv.ParseUint(r.PostForm.Get("revision"), 10, 64)
	if err != nil {
		return 0, rate.ErrStale
	}
	return n, nil
}

func (v *Server) choice(w http.ResponseWriter, r *http.Request) {
	if !v.door.Form(w, r) {
		return
	}
	d := rate.Decision{ID: r.PostForm.Get("id"), Choice: rate.Choice(r.PostForm.Get("choice"))}
	var edits []string
	for i := 0; i < rate.MaxAnswers && r.PostForm.Has(field("edited", i)); i++ {
		edits = append(edits, r.PostForm.Get(field("edited", i)))
	}
	if from := r.PostForm.Get("edit"); from != "" {
		d.Choice, d.EditedFrom = rate.Edit, strings.Index("abcd", from)
		d.Edited = r.PostForm.Get("edited_" + from)
	}
	// A number that is none is none that was given.
	for i := 0; i < rate.MaxAnswers && r.PostForm.Has(field("shown", i)); i++ {
		n, _ := strconv.Atoi(r.PostForm.Get(field("value", i)))
		d.Values = append(d.Values, n)
	}
	var err error
	if d.Revision, err = revision(r); err == nil {
		err = v.session.Decide(d)
	}
	v.decided(w, r, err, func(p *shown) {
		if p.ID != d.ID {
			return
		}
		if len(d.Values) == len(p.Values) {
			p.Values = d.Values
		}
		if d.Choice == rate.Edit && len(edits) == len(p.Edits) {
			p.Edits, p.EditOpen = edits, true
		}
	})
}

// field names what a form says of the answer shown at i: edited_a.
func field(name string, i int) string { return name + "_" + "abcd"[i:i+1] }

func (v *Server) undo(w http.ResponseWriter, r *http.Request) {
	if !v.door.Form(w, r) {
		return
	}
	n, err := revision(r)
	if err == nil {
		err = v.session.Undo(n)
	}
	v.decided(w, r, err, nil)
}

func (v *Server) prompt(w http.ResponseWriter, r *http.Request) {
	if !v.door.Form(w, r) {
		return
	}
	text := r.PostForm.Get("text")
	n, err := revision(r)
	if err == nil {
		err = v.session.Type(n, text)
	}
	v.decided(w, r, err, func(p *shown) { p.Typed = text })
}

func (v *Server) stayOpen(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.stay = true
	v.mu.Unlock()
	http.Redirect(w, r, v.Path(), http.StatusSeeOther)
}

func (v *Server) finish(w http.ResponseWriter, _ *http.Request) {
	v.end()
	v.show(w, http.StatusOK, v.shown())
}

// An event says what has changed since the page was made.
type event struct {
	Revision uint64   `json:"revision"`
	ID       string   `json:"id"`
	Ready    bool     `json:"ready"`
	Written  []bool   `json:"written"`
	Texts    []string `json:"texts"`
	Over     bool     `json:"over"`
}

// streamPause bounds how often a growing text is sent: faster than anybody reads.
const streamPause = 60 * time.Millisecond

// events streams the view as it changes, until the browser goes or the serving ends.
func (v *Server) events(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	// A browser that has lost the stream tries again after so many milliseconds.
	if _, err := fmt.Fprint(w, "retry: 2000\n\n"); err != nil {
		return
	}
	for {
		view, changed := v.session.View()
		v.mu.Lock()
		over := v.over
		v.mu.Unlock()
		b, err := json.Marshal(event{view.Revision, view.ID, view.Ready, view.Written, view.Texts, over})
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || rc.Flush() != nil || over {
			return
		}
		pause := time.NewTimer(streamPause)
		select {
		case <-r.Context().Done():
		case <-v.finished:
		case <-pause.C:
		}
		pause.Stop()
		select {
		case <-r.Context().Done():
			return
		case <-v.finished:
		case <-changed:
		}
	}
}
