package rate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeAuthor answers with what answer gives, and waits for gate where there is one.
type fakeAuthor struct {
	answer func(p Prompt, side, try int) (string, error)
	varies bool
	gate   chan struct{}
}

func (f *fakeAuthor) Varies() bool { return f.varies }

func (f *fakeAuthor) Answer(ctx context.Context, p Prompt, id string, side, try int, yield func(string)) (Answer,
	error) {
	text, err := f.answer(p, side, try)
	if err != nil {
		return Answer{}, err
	}
	yield(text[:1])
	if f.gate != nil {
		select {
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		case <-f.gate:
		}
	}
	yield(text[1:])
	return Answer{Text: text, Name: fmt.Sprint("side ", side), ModelSHA256: fmt.Sprint("m", side),
		Seed: Seed(1, id, side, try), Stop: "end"}, nil
}

func bySide(p Prompt, side, _ int) (string, error) {
	return fmt.Sprintf("%d to %s", side, p.Messages[0].Content), nil
}

func questions(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{Prompt: Prompt{Messages: []Message{{"user", fmt.Sprintf("q%d", i)}}},
			Source: fmt.Sprintf("f:%d", i+1)}
	}
	return items
}

// run starts a session that a writes for, until the test ends.
func run(t *testing.T, path string, items []Item, a Author, cfg Config) *Session {
	t.Helper()
	store, _ := openStore(t, nil, path)
	cfg.CanWrite = a != nil
	s := NewSession(store, items, cfg)
	if a == nil {
		return s
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Write(ctx, a) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("writing ended with %v", err)
		}
		store.Close()
	})
	return s
}

func choices(t *testing.T) string { return filepath.Join(t.TempDir(), "c.jsonl") }

// until waits for a view that is as wanted.
func until(t *testing.T, s *Session, what string, want func(View) bool) View {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		v, changed := s.View()
		if want(v) {
			return v
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %s; the view is %+v", what, v)
		}
	}
}

func isReady(v View) bool { return v.Ready }

func decide(t *testing.T, s *Session, c Choice) View {
	t.Helper()
	v := until(t, s, "ready pair", isReady)
	if err := s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: c}); err != nil {
		t.Fatal(err)
	}
	return v
}

func question(v View) string { return v.Prompt.Messages[len(v.Prompt.Messages)-1].Content }

func TestSessionThroughAll(t *testing.T) {
	path := choices(t)
	s := run(t, path, questions(4), &fakeAuthor{answer: bySide}, Config{})
	for i, c := range []Choice{A, Tie, Skip} {
		v := decide(t, s, c)
		if question(v) != fmt.Sprintf("q%d", i) || v.Rated != i || v.Total() != 4 {
			t.Errorf("pair %d: %+v", i, v)
		}
	}
	v := until(t, s, "ready pair", isReady)
	if err := s.Undo(v.Revision); err != nil {
		t.Fatal(err)
	}
	undone := until(t, s, "ready pair", isReady)
	if question(undone) != "q2" || undone.Rated != 2 || undone.Left != 2 || undone.Undo != Tie {
		t.Errorf("after an undo: %+v", undone)
	}
	decide(t, s, B)
	decide(t, s, Bad)
	v, _ = s.View()
	if !v.Complete() || v.Rated != 4 {
		t.Errorf("at the end: %+v", v)
	}
	sum := s.Summary()
	if sum.A != 1 || sum.B != 1 || sum.Tie != 1 || sum.Bad != 1 || sum.Pairs != 2 || sum.Skip != 0 {
		t.Errorf("summary: %+v", sum)
	}
}

// Another start with the same file goes on with what is left, and can take back what the first one wrote.
func TestSessionResumes(t *testing.T) {
	path := choices(t)
	s := run(t, path, questions(3), &fakeAuthor{answer: bySide}, Config{})
	first := decide(t, s, A)
	s.store.Close() // as a killed process loses its lock
	s = run(t, path, questions(3), &fakeAuthor{answer: bySide}, Config{})
	v := until(t, s, "ready pair", isReady)
	if question(v) != "q1" || v.Rated != 1 || v.Left != 2 {
		t.Errorf("after a new start: %+v", v)
	}
	if err := s.Undo(v.Revision); err != nil {
		t.Fatal(err)
	}
	v = until(t, s, "ready pair", isReady)
	if question(v) != "q0" || !slices.Equal(v.Texts, first.Texts) {
		t.Errorf("undo of an earlier run's choice shows %+v, want %q", v, first.Texts)
	}
}

func TestSessionStale(t *testing.T) {
	s := run(t, choices(t), questions(3), &fakeAuthor{answer: bySide}, Config{})
	old := decide(t, s, A)
	now := until(t, s, "ready pair", isReady)
	for name, d := range map[string]Decision{
		"the same again":         {Revision: old.Revision, ID: old.ID, Choice: A},
		"the new pair, old view": {Revision: old.Revision, ID: now.ID, Choice: A},
		"the old pair, new view": {Revision: now.Revision, ID: old.ID, Choice: A},
	} {
		if err := s.Decide(d); !errors.Is(err, ErrStale) {
			t.Errorf("%s: got %v, want ErrStale", name, err)
		}
	}
	if err := s.Undo(old.Revision); !errors.Is(err, ErrStale) {
		t.Errorf("undo: got %v, want ErrStale", err)
	}
	if err := s.Type(old.Revision, "x"); !errors.Is(err, ErrStale) {
		t.Errorf("type: got %v, want ErrStale", err)
	}
	// After an undo the pair is the same as before, and yet a choice made before it is stale.
	if err := s.Undo(now.Revision); err != nil {
		t.Fatal(err)
	}
	if err := s.Decide(Decision{Revision: old.Revision, ID: old.ID, Choice: A}); !errors.Is(err, ErrStale) {
		t.Errorf("a choice from before the undo: got %v, want ErrStale", err)
	}
}

// Which side is shown first depends on seed and prompt alone, is neither always the same nor told by the order of
// writing.
func TestSessionBlind(t *testing.T) {
	const n = 40
	var mu sync.Mutex
	var asked []int
	s := run(t, choices(t), questions(n), &fakeAuthor{answer: func(p Prompt, side, try int) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, side)
		return bySide(p, side, try)
	}}, Config{Seed: 7})
	swaps := 0
	for i := range n {
		v := until(t, s, "ready pair", isReady)
		swap := strings.HasPrefix(v.Texts[0], "1")
		if swap {
			swaps++
		}
		if want := draw(7, v.ID, "order", 0)&1 == 1; swap != want {
			t.Errorf("pair %d: swapped %v, want %v in every run", i, swap, want)
		}
		mu.Lock()
		if got := asked[2*i] == 1; got != swap {
			t.Errorf("pair %d: the side shown second is written first", i)
		}
		mu.Unlock()
		decide(t, s, A)
	}
	if swaps < n/4 || swaps > n*3/4 {
		t.Errorf("%d of %d are swapped", swaps, n)
	}
	for _, r := range s.store.Records() {
		if want := fmt.Sprint("side ", order(7, r.About.ID, 2)[0]); r.Answers[0].Name != want {
			t.Errorf("the record's first answer is from %s, want %s", r.Answers[0].Name, want)
		}
	}
}

func TestSessionEqualAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		varies bool
		differ int // the try from which the second answer differs
		left   int
	}{{"greedy", false, 1, 0}, {"once more", true, 1, 1}, {"at last", true, 3, 1}, {"never", true, 99, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			s := run(t, choices(t), questions(1),
				&fakeAuthor{varies: tt.varies, answer: func(_ Prompt, _, try int) (string, error) {
					if try >= tt.differ {
						return "other", nil
					}
					return "same", nil
				}}, Config{})
			v := until(t, s, "end of writing", func(v View) bool { return v.Ready || v.Complete() })
			if v.Left != tt.left || len(v.Equal) != 1-tt.left || tt.left == 0 && v.Equal[0] != "f:1" {
				t.Errorf("%+v, want %d left", v, tt.left)
			}
		})
	}
}

func TestSessionFailures(t *testing.T) {
	broken := errors.New("broken")
	s := run(t, choices(t), questions(3), &fakeAuthor{answer: func(p Prompt, side, try int) (string, error) {
		if p.Messages[0].Content == "q0" {
			return "", &PromptError{broken}
		}
		return bySide(p, side, try)
	}}, Config{})
	v := until(t, s, "ready pair", isReady)
	if question(v) != "q1" || len(v.Failed) != 1 || v.Failed[0] != "f:1: broken" || s.Summary().Failed != 1 {
		t.Errorf("one prompt fails: %+v", v)
	}
	store, _ := openStore(t, nil, choices(t))
	all := NewSession(store, questions(2), Config{CanWrite: true})
	if err := all.Write(context.Background(),
		&fakeAuthor{answer: func(Prompt, int, int) (string, error) { return "", broken }}); !errors.Is(err, broken) {
		t.Errorf("the author fails: got %v", err)
	}
}

// A pair that takes too long can be skipped, its writing ends, and an undo writes it anew.
func TestSessionSkipsWhileWriting(t *testing.T) {
	gate := make(chan struct{})
	s := run(t, choices(t), questions(2), &fakeAuthor{answer: bySide, gate: gate}, Config{})
	v := until(t, s, "growing text", func(v View) bool { return v.Texts[0] != "" })
	if v.Ready || slices.Contains(v.Written, true) {
		t.Fatalf("%+v, want a text that grows", v)
	}
	var refused *RefusedError
	if err := s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: A}); !errors.As(err, &refused) {
		t.Errorf("a choice while it is written: got %v", err)
	}
	if err := s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: Skip}); err != nil {
		t.Fatal(err)
	}
	v = until(t, s, "next question", func(v View) bool { return question(v) == "q1" && v.Texts[0] != "" })
	if r := s.store.Records(); len(r) != 1 || r[0].Answers[0].Stop != stopSkipped ||
		r[0].Answers[1].Stop != stopSkipped {
		t.Errorf("the record: %+v", r)
	}
	close(gate)
	if err := s.Undo(v.Revision); err != nil {
		t.Fatal(err)
	}
	v = until(t, s, "ready pair", isReady)
	if question(v) != "q0" || v.Texts[0] == "" || v.Texts[1] == "" {
		t.Errorf("after the undo: %+v", v)
	}
}

func TestSessionEdits(t *testing.T) {
	s := run(t, choices(t), questions(1), &fakeAuthor{answer: bySide}, Config{})
	v := until(t, s, "ready pair", isReady)
	for name, d := range map[string]Decision{
		"empty": {Choice: Edit, Edited: " \r\n"}, "unchanged": {Choice: Edit, Edited: v.Texts[1], EditedFrom: 1},
		"a third": {Choice: Edit, Edited: "x", EditedFrom: 2}, "unknown": {Choice: "c"}, "none": {},
	} {
		d.Revision, d.ID = v.Revision, v.ID
		var refused *RefusedError
		if err := s.Decide(d); !errors.As(err, &refused) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	if err := s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: Edit, Edited: "mine\r\nall",
		EditedFrom: 1}); err != nil {
		t.Fatal(err)
	}
	r := s.store.Records()[0]
	if r.Chosen.Text != "mine\nall" || r.Rejected.Text != v.Texts[1] || !r.Chosen.Conversational {
		t.Errorf("got chosen %+v, rejected %+v", r.Chosen, r.Rejected)
	}
}

func TestSessionTypes(t *testing.T) {
	s := run(t, choices(t), nil, &fakeAuthor{answer: func(p Prompt, side, _ int) (string, error) {
		return fmt.Sprintf("%d to %v", side, p.Messages), nil
	}}, Config{System: "be terse"})
	v, _ := s.View()
	if !v.Complete() || !v.CanWrite {
		t.Fatalf("%+v", v)
	}
	var refused *RefusedError
	if err := s.Type(v.Revision, " \n"); !errors.As(err, &refused) {
		t.Errorf("an empty prompt: got %v", err)
	}
	for i, text := range []string{"one", "two", "one"} {
		if err := s.Type(uint64(i), text); err != nil {
			t.Fatal(err)
		}
	}
	// A typed prompt comes next, behind the one on show; one that is typed again is another pair.
	var order []string
	seen := map[string]bool{}
	for range 3 {
		v := decide(t, s, Tie)
		order = append(order, question(v))
		seen[v.ID] = true
		if v.Prompt.Messages[0] != (Message{"system", "be terse"}) {
			t.Errorf("the system message is missing: %+v", v.Prompt)
		}
	}
	if fmt.Sprint(order) != "[one one two]" || len(seen) != 3 {
		t.Errorf("the order is %v, of %d ids", order, len(seen))
	}
	plain := NewSession(s.store, nil, Config{})
	if err := plain.Type(0, "x"); !errors.As(err, &refused) {
		t.Errorf("without a model: got %v", err)
	}
}

// Prepared pairs need nobody to write, and are shuffled too.
func TestSessionPrepared(t *testing.T) {
	var items []Item
	for i, it := range questions(20) {
		it.Answers = []Answer{{Text: fmt.Sprint("x", i)}, {Text: fmt.Sprint("y", i)}}
		items = append(items, it)
	}
	s := run(t, choices(t), items, nil, Config{Seed: 1})
	swaps := 0
	for range items {
		if v := decide(t, s, A); v.Texts[0][0] == 'y' {
			swaps++
		}
	}
	if swaps == 0 || swaps == len(items) {
		t.Errorf("%d of %d are swapped", swaps, len(items))
	}
}

func TestSeeds(t *testing.T) {
	seen := map[uint32]string{}
	for _, id := range []string{"a", "b"} {
		for side := range 2 {
			for try := range 3 {
				what := fmt.Sprint(id, side, try)
				x := Seed(1, id, side, try)
				if other, ok := seen[x]; ok {
					t.Errorf("%s and %s have the seed %d", what, other, x)
				}
				seen[x] = what
				if x != Seed(1, id, side, try) || x == Seed(2, id, side, try) {
					t.Errorf("%s: the seed must depend on all that is said, and on that alone", what)
				}
			}
		}
	}
}

// TestSessionRanks: of four answers each has a rank, those that come out equal are one, and the pairs follow.
func TestSessionRanks(t *testing.T) {
	path := choices(t)
	// The last two sides say the same, whatever the try, to the first prompt; all four to the last.
	a := &fakeAuthor{varies: true, answer: func(p Prompt, side, _ int) (string, error) {
		switch p.Messages[0].Content {
		case "q0":
			side = min(side, 2)
		case "q2":
			side = 0
		}
		return fmt.Sprint("answer ", side), nil
	}}
	s := run(t, path, questions(3), a, Config{Answers: 4, Seed: 3})
	v := until(t, s, "ready list", isReady)
	if len(v.Texts) != 3 || !v.Ranked() || v.Stars || v.Most() != 3 {
		t.Fatalf("got %+v, want three answers to rank", v)
	}
	try := func(v View, c Choice, values ...int) error {
		return s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: c, Values: values})
	}
	var refused *RefusedError
	for _, err := range []error{try(v, A), try(v, Tie), try(v, Rank), try(v, Rank, 1, 2), try(v, Rank, 0, 0, 0),
		try(v, Stars, 1, 2, 6), try(v, Stars, 0, 1, 2)} {
		if !errors.As(err, &refused) {
			t.Errorf("got %v, want a refusal", err)
		}
	}
	if err := try(v, Rank, 9, 0, 4); err != nil { // the third is best, then the first, then what has no rank
		t.Fatal(err)
	}
	v = until(t, s, "ready list", isReady)
	if len(v.Texts) != 4 {
		t.Fatalf("got %q, want four answers", v.Texts)
	}
	if err := try(v, Rank, 1, 2, 2, 1); err != nil {
		t.Fatal(err)
	}
	v = until(t, s, "end", View.Complete)
	if len(v.Equal) != 1 {
		t.Errorf("%q are left out, want the prompt with one answer", v.Equal)
	}
	records := s.store.Records()
	if got := fmt.Sprint(records[0].Ranks, records[1].Ranks); got != "[2 3 1] [1 2 2 1]" {
		t.Errorf("got the ranks %s", got)
	}
	first := records[0]
	if first.Chosen.Text != first.Answers[2].Text || first.Rejected.Text != first.Answers[1].Text ||
		first.About.Version != 2 {
		t.Errorf("got %+v", first)
	}
	if sum := s.Summary(); sum.Rank != 2 || sum.Pairs != 3+4 || len(sum.WinRates) != 0 {
		t.Errorf("got %+v", sum)
	}
	// Undo shows the list as it was.
	if err := s.Undo(v.Revision); err != nil {
		t.Fatal(err)
	}
	if again := until(t, s, "the list again", isReady); len(again.Texts) != 4 ||
		again.Texts[0] != records[1].Answers[0].Text {
		t.Errorf("got %+v", again)
	}
}

// TestSessionStars: each answer has its stars; equal ones are no pair.
func TestSessionStars(t *testing.T) {
	s := run(t, choices(t), questions(1), &fakeAuthor{answer: bySide}, Config{Stars: true})
	v := until(t, s, "ready pair", isReady)
	if v.Ranked() || !v.Listed() || v.Most() != 5 {
		t.Fatalf("got %+v, want two answers that get stars", v)
	}
	if err := s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: Stars, Values: []int{4, 4}}); err != nil {
		t.Fatal(err)
	}
	if r := s.store.Records()[0]; fmt.Sprint(r.Ratings) != "[4 4]" || r.Chosen != nil {
		t.Errorf("got %+v", r)
	}
	if sum := s.Summary(); sum.Stars != 1 || sum.Pairs != 0 {
		t.Errorf("got %+v", sum)
	}
}

// TestSessionSkipsWhatWaits: a list whose writing has not begun can be skipped, and comes back with an undo.
func TestSessionSkipsWhatWaits(t *testing.T) {
	path := choices(t)
	s := run(t, path, questions(1), nil, Config{Answers: 3})
	s.cfg.CanWrite = true
	v, _ := s.View()
	if len(v.Texts) != 3 || v.Ready {
		t.Fatalf("got %+v", v)
	}
	if err := s.Decide(Decision{Revision: v.Revision, ID: v.ID, Choice: Skip}); err != nil {
		t.Fatal(err)
	}
	s.store.Close()
	if got := ids(t, path); len(got) != 1 {
		t.Errorf("the file holds %q", got)
	}
}

// TestOrder: every order of the sides comes up about as often as another.
func TestOrder(t *testing.T) {
	seen := map[string]int{}
	const n = 2400
	for i := range n {
		seen[fmt.Sprint(order(1, fmt.Sprint(i), 4))]++
	}
	for o, times := range seen {
		if len(seen) != 24 || times < n/24/2 || times > n/24*2 {
			t.Errorf("of %d orders %s comes up %d times in %d", len(seen), o, times, n)
		}
	}
}
