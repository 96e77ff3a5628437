package rate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrStale is the error of a decision about another pair than the one on show: somebody else has decided meanwhile, in
// another window or by pressing twice.
var ErrStale = errors.New("this pair has been decided already, or taken back, in another window")

// A RefusedError is a decision that cannot be taken as it is; the words are for the person.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refusef(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Config says how a session goes.
type Config struct {
	Seed   uint64 // of the order in which answers are shown
	Raw    bool   // typed prompts are literal text
	System string // put before typed prompts; not with Raw
	// Answers is how many are written to a prompt, 2 to MaxAnswers. Default 2.
	Answers int
	// Stars asks for one to five stars to each answer; otherwise two are compared, and more are ranked.
	Stars bool
	// CanWrite says that answers can be written, so that prompts may be typed.
	CanWrite bool
	// Scorer is a reward model's: the next pair is one that it is least sure of. nil: the order of the prompts.
	Scorer Scorer
}

// A Session is the pairs still to be rated, the one on show, and the choices made. It is safe for concurrent use.
//
// Its states are few: a pair waits, is being written, or is ready; the first pair is on show. A decision takes the pair
// on show away and writes a record; an undo puts the last record's pair on show again.
type Session struct {
	cfg   Config
	store *Store

	mu      sync.Mutex
	pending []*pair
	settled bool // the first of them is on show; else it is still to be chosen
	decided int  // decisions of this start
	// of all pairs, rated or not; true for those that were given, which come again at the next start
	ids      map[string]bool
	revision uint64        // counts decisions, undos and typed prompts
	equal    []string      // sources of pairs left out because both answers were the same
	failed   []string      // why pairs left out could not be written
	changed  chan struct{} // closed at the next change of anything
}

// NewSession makes a session of the items that store has no choice for. The session does not close the store.
func NewSession(store *Store, items []Item, cfg Config) *Session {
	if cfg.Answers == 0 {
		cfg.Answers = 2
	}
	s := &Session{cfg: cfg, store: store, ids: map[string]bool{}, changed: make(chan struct{})}
	for _, r := range store.Records() {
		s.ids[r.About.ID] = false
	}
	for _, it := range items {
		p := &pair{id: pairID(it.Prompt, it.Answers), prompt: it.Prompt, source: it.Source}
		_, seen := s.ids[p.id]
		s.ids[p.id] = true
		if seen {
			continue
		}
		if it.Answers != nil {
			for _, side := range order(cfg.Seed, p.id, len(it.Answers)) {
				p.answers = append(p.answers, it.Answers[side])
			}
			p.shown(p.answers)
			p.given = true
		}
		s.pending = append(s.pending, p)
	}
	s.settle()
	return s
}

// A View is what a person sees at one moment.
type View struct {
	Revision uint64
	ID       string // of the pair on show; "" when there is none
	Prompt   Prompt
	Texts    []string // as far as they are written
	Written  []bool
	Cut      []int // tokens after which the text was cut off; 0: it was not
	Ready    bool  // all are written, and a choice can be made
	Stars    bool  // each gets one to five stars
	Answers  int   // that are written to a prompt
	Choosing bool  // which pair comes on show is not known yet

	Rated    int    // choices in the file
	Left     int    // pairs without one
	Undo     Choice // what an undo takes back; "" for nothing
	CanWrite bool   // prompts may be typed
	Equal    []string
	Failed   []string
}

// Ranked says that the answers are brought into an order, and not compared as two.
func (v View) Ranked() bool {
	n := len(v.Texts)
	if v.ID == "" {
		n = v.Answers
	}
	return !v.Stars && n > 2
}

// Listed says that each answer gets a number: a rank, or stars.
func (v View) Listed() bool { return v.Stars || v.Ranked() }

// Most is the highest number that an answer can get where they are Listed.
func (v View) Most() int {
	if v.Stars {
		return MostStars
	}
	return len(v.Texts)
}

// Total is the number of pairs, rated or not.
func (v View) Total() int { return v.Rated + v.Left }

// Complete says that there is nothing left to rate.
func (v View) Complete() bool { return v.ID == "" && !v.Choosing }

// View gives what is to be seen now, and a channel that is closed when that changes.
func (s *Session) View() (View, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := s.store.Records()
	v := View{Revision: s.revision, Rated: len(records), Left: len(s.pending), CanWrite: s.cfg.CanWrite, Equal: s.equal,
		Failed: s.failed, Stars: s.cfg.Stars, Answers: s.cfg.Answers}
	if len(records) > 0 {
		v.Undo = records[len(records)-1].Choice
	}
	v.Choosing = len(s.pending) > 0 && !s.settled
	if s.settled {
		p := s.pending[0]
		v.ID, v.Prompt, v.Ready = p.id, p.prompt, p.state == ready
		n := len(p.answers)
		if p.state == waiting {
			n = s.cfg.Answers
		}
		v.Texts, v.Written, v.Cut = make([]string, n), make([]bool, n), make([]int, n)
		copy(v.Written, p.written)
		for i := range p.answers {
			v.Texts[i] = p.answers[i].Text
			if p.written[i] && p.answers[i].Cut() {
				v.Cut[i] = p.answers[i].Tokens
			}
		}
	}
	return v, s.changed
}

// notify wakes those who wait for a change. The caller holds mu.
func (s *Session) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// A Decision is a person's choice about the pair that a View showed.
type Decision struct {
	Revision   uint64 // the view's
	ID         string
	Choice     Choice
	Edited     string // for Edit
	EditedFrom int    // for Edit: an answer, from 0
	// Values are for Rank and Stars: of each answer, in the order shown. Ranks need not follow on one another: those
	// without one, 0, come last.
	Values []int
}

// Decide writes a choice to the file and goes on to the next pair. The error matches ErrStale where the pair is not on
// show, is a *RefusedError where the choice cannot be taken, or says why the file could not be written; then nothing is
// decided.
func (s *Session) Decide(d Decision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Revision != s.revision || !s.settled || s.pending[0].id != d.ID {
		return ErrStale
	}
	p := s.pending[0]
	if p.state != ready && d.Choice != Skip {
		return refusef("the answers are still being written; a pair can be skipped now, and rated when they are done")
	}
	answers, written := slices.Clone(p.answers), p.written // its writer may be at work
	if p.state == waiting {
		answers, written = make([]Answer, s.cfg.Answers), make([]bool, s.cfg.Answers)
	}
	r := Record{Prompt: p.prompt, Answers: answers, Choice: d.Choice,
		About: About{Version: 1, ID: p.id, Time: time.Now().UTC().Truncate(time.Second)}}
	switch d.Choice {
	case A, B, Tie:
		if len(p.answers) != 2 {
			return refusef("there are %d answers; rank them", len(p.answers))
		}
	case Bad:
	case Rank, Stars:
		var err error
		if err = r.judge(d.Values); err != nil {
			return err
		}
	case Skip:
		for i := range r.Answers {
			if !written[i] {
				r.Answers[i].Stop = stopSkipped
			}
		}
	case Edit:
		text := strings.ReplaceAll(d.Edited, "\r\n", "\n") // as forms send it
		if d.EditedFrom < 0 || d.EditedFrom >= len(p.answers) {
			return refusef("answer %d is edited; there are 0 to %d", d.EditedFrom, len(p.answers)-1)
		}
		if strings.TrimSpace(text) == "" {
			return refusef("the edited answer is empty; write what it should say")
		}
		if text == p.answers[d.EditedFrom].Text {
			return refusef("the edited answer is the same as before; change it, or choose it as it is")
		}
		r.Edited, r.EditedFrom = &text, &d.EditedFrom
	default:
		return refusef("unknown choice %q; known: %q", d.Choice, Choices())
	}
	if err := s.store.Add(r); err != nil {
		return err
	}
	if p.stop != nil {
		p.stop()
	}
	s.pending, s.settled = s.pending[1:], false
	s.revision++
	s.decided++
	s.settle()
	s.notify()
	return nil
}

// judge takes the numbers that answers were given.
func (r *Record) judge(values []int) error {
	n := len(r.Answers)
	if len(values) != n {
		return refusef("there are %d answers and %d numbers", n, len(values))
	}
	r.About.Version = Version
	if r.Choice == Stars {
		if slices.ContainsFunc(values, func(x int) bool { return x < 1 || x > MostStars }) {
			return refusef("each answer gets 1 to %d stars", MostStars)
		}
		r.Ratings = slices.Clone(values)
		return nil
	}
	named := slices.DeleteFunc(slices.Sorted(slices.Values(values)), func(x int) bool { return x <= 0 })
	named = slices.Compact(named)
	if len(named) == 0 {
		return refusef("say which answer is best, and then the next")
	}
	r.Ranks = make([]int, n)
	for i, x := range values {
		if r.Ranks[i] = slices.Index(named, x) + 1; x <= 0 {
			r.Ranks[i] = len(named) + 1
		}
	}
	return nil
}

// Undo takes the last choice back, out of the file, and puts its pair on show. Errors are Decide's.
func (s *Session) Undo(revision uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision != s.revision {
		return ErrStale
	}
	r, ok, err := s.store.Undo()
	if err != nil {
		return err
	}
	if !ok {
		return refusef("there is no choice to take back")
	}
	p := &pair{id: r.About.ID, prompt: r.Prompt, source: s.store.Path()}
	if len(r.Answers) > 1 && !slices.ContainsFunc(r.Answers, func(a Answer) bool { return a.Stop == stopSkipped }) {
		p.shown(r.Answers)
	} else if !s.cfg.CanWrite {
		s.leave(p, s.store.Path()+": its answers were not written to their end, and there is no model here to write "+
			"them; start with -m model.gguf")
		s.notify()
		return nil
	}
	p.first = true
	s.pending, s.settled = append([]*pair{p}, s.pending...), true
	s.revision++
	s.notify()
	return nil
}

// Type adds a prompt that the person types; it comes next. Errors are Decide's.
func (s *Session) Type(revision uint64, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision != s.revision {
		return ErrStale
	}
	if !s.cfg.CanWrite {
		return refusef("these answers were prepared elsewhere, and there is no model here to answer with; start with " +
			"-m model.gguf")
	}
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	if text == "" {
		return refusef("the prompt is empty; type what the model is to answer")
	}
	p := Prompt{Text: text}
	if !s.cfg.Raw {
		p = Prompt{Messages: []Message{{Role: "user", Content: text}}}
		if s.cfg.System != "" {
			p.Messages = append([]Message{{Role: "system", Content: s.cfg.System}}, p.Messages...)
		}
	}
	// A prompt may be typed again to see other answers.
	id := pairID(p, nil)
	for n := 2; s.has(id); n++ {
		id = fmt.Sprintf("%s-%d", pairID(p, nil), n)
	}
	s.ids[id] = false
	at := 0
	if s.settled {
		at = 1
	}
	s.pending = slices.Insert(slices.Clone(s.pending), at, &pair{id: id, prompt: p, source: "typed", first: true})
	s.settle()
	s.revision++
	s.notify()
	return nil
}

// Summary counts the choices in the file.
func (s *Session) Summary() Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := Summarize(s.store.Records())
	for _, p := range s.pending {
		if s.ids[p.id] {
			sum.Left++
		} else {
			sum.Dropped++
		}
	}
	sum.Equal, sum.Failed = len(s.equal), len(s.failed)
	return sum
}

func (s *Session) has(id string) bool { _, ok := s.ids[id]; return ok }
