package rate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// A fakeScorer gives the first answer shown a lead by its prompt.
type fakeScorer struct{ leads map[string]float64 }

func (f fakeScorer) Score(_ context.Context, p Prompt, answers []Answer) ([]float64, error) {
	out := make([]float64, len(answers))
	lead, ok := f.leads[p.Messages[0].Content]
	if !ok {
		return nil, &PromptError{errors.New("it cannot be read")}
	}
	out[0] = lead
	return out, nil
}

// leads are of questions, and in no order.
func leads(n int) fakeScorer {
	f := fakeScorer{map[string]float64{}}
	for i := range n {
		f.leads[fmt.Sprintf("q%d", i)] = 3 * math.Sin(float64(7*i+3))
	}
	return f
}

// leastSure is the order in which n questions are to come, of which reach(decisions) are in view each time.
func leastSure(f fakeScorer, n int, reach func(decided int) int) (out []string) {
	var pending []string
	for i := range n {
		pending = append(pending, fmt.Sprintf("q%d", i))
	}
	for k := range n {
		best := 0
		for i, q := range pending[:min(reach(k), len(pending))] {
			if math.Abs(f.leads[q]) < math.Abs(f.leads[pending[best]]) {
				best = i
			}
		}
		out = append(out, pending[best])
		pending = slices.Delete(pending, best, best+1)
	}
	return out
}

// TestLeastSure: the pair comes next whose better answer the scorer knows least, among those in view: of prepared pairs
// all of a pool, of others one more with each decision. It is the same however long anything takes.
func TestLeastSure(t *testing.T) {
	const n = 20
	f := leads(n)
	prepared := questions(n)
	for i := range prepared {
		prepared[i].Answers = []Answer{{Text: fmt.Sprint("x", i)}, {Text: fmt.Sprint("y", i)}}
	}
	for _, c := range []struct {
		name  string
		items []Item
		slow  func(p Prompt) time.Duration
		reach func(int) int
	}{
		{"prepared", prepared, nil, func(int) int { return pool }},
		{"written", questions(n), nil, func(k int) int { return min(1+k, pool) }},
		{"written slowly", questions(n), func(p Prompt) time.Duration {
			return time.Duration(len(p.Messages[0].Content)%3) * 3 * time.Millisecond
		}, func(k int) int { return min(1+k, pool) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			author := &fakeAuthor{answer: func(p Prompt, side, try int) (string, error) {
				if c.slow != nil {
					time.Sleep(c.slow(p))
				}
				return bySide(p, side, try)
			}}
			s := run(t, choices(t), c.items, author, Config{Scorer: f})
			var got []string
			for i := range n {
				v := decide(t, s, A)
				got = append(got, question(v))
				if i == n/2 { // what is taken back comes again, and what follows is as it would have been
					now, _ := s.View()
					if err := s.Undo(now.Revision); err != nil {
						t.Fatal(err)
					}
					if again := decide(t, s, A); question(again) != question(v) {
						t.Errorf("taken back was %s, and on show is %s", question(v), question(again))
					}
				}
			}
			// Taken back and given again, a decision counts twice: one more is in view.
			reach := func(k int) int {
				if k > n/2 {
					k++
				}
				return c.reach(k)
			}
			if want := leastSure(f, n, reach); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if v, _ := s.View(); !v.Complete() || v.Choosing {
				t.Errorf("at the end: %+v", v)
			}
		})
	}
}

// TestLeastSureTyped: what is typed comes before what the scorer is unsure of, and what it cannot read is left out.
func TestLeastSureTyped(t *testing.T) {
	f := leads(4)
	delete(f.leads, "q2")
	f.leads["typed"] = 100
	s := run(t, choices(t), questions(4), &fakeAuthor{answer: bySide}, Config{Scorer: f})
	v := until(t, s, "ready pair", isReady)
	if err := s.Type(v.Revision, "typed"); err != nil {
		t.Fatal(err)
	}
	got := []string{question(decide(t, s, A)), question(decide(t, s, A)), question(decide(t, s, A)),
		question(decide(t, s, A))}
	if got[0] != "q0" || got[1] != "typed" || !slices.Contains(got[2:], "q1") || !slices.Contains(got[2:], "q3") {
		t.Errorf("got %v", got)
	}
	v, _ = s.View()
	if !v.Complete() || len(v.Failed) != 1 || !strings.Contains(v.Failed[0], "f:3: it cannot be read") {
		t.Errorf("at the end: %+v", v)
	}
}

// TestChoosing: while it is not known which pair comes, none is on show, and nothing can be decided.
func TestChoosing(t *testing.T) {
	gate := make(chan struct{}, 100)
	s := run(t, choices(t), questions(6), &fakeAuthor{answer: bySide, gate: gate}, Config{Scorer: leads(6)})
	gate <- struct{}{} // of the first pair's two answers
	gate <- struct{}{}
	first := decide(t, s, A)
	v, _ := s.View()
	if !v.Choosing || v.ID != "" || v.Complete() || v.Ready || len(v.Texts) > 0 {
		t.Errorf("before the next ones are written: %+v", v)
	}
	for _, id := range []string{"", first.ID} {
		if err := s.Decide(Decision{Revision: v.Revision, ID: id, Choice: Skip}); !errors.Is(err, ErrStale) {
			t.Errorf("a decision about none: got %v", err)
		}
	}
	for range 10 {
		gate <- struct{}{}
	}
	if v := until(t, s, "ready pair", isReady); v.Choosing {
		t.Errorf("%+v", v)
	}
}

func TestDoubtOf(t *testing.T) {
	for _, c := range []struct {
		scores []float64
		want   float64
	}{{[]float64{2, 2}, 0.5}, {[]float64{0, math.Log(3)}, 0.25}, {[]float64{math.Log(3), 0}, 0.25},
		{[]float64{0, 0, 1e4}, 0.5 / 3}} {
		if got := doubtOf(c.scores); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: got %g, want %g", c.scores, got, c.want)
		}
	}
}
