package rl

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/reward"
)

// A fakeEnv answers as its reply says, and keeps what it was asked.
type fakeEnv struct {
	asked  []environment.Question
	reply  func(q *environment.Question) environment.Reply
	err    error
	during func()
}

func (e *fakeEnv) Ask(ctx context.Context, list []environment.Question) (out []environment.Reply, err error) {
	if e.during != nil {
		e.during()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i := range list {
		e.asked = append(e.asked, list[i])
		out = append(out, e.reply(&list[i]))
	}
	return out, e.err
}

// The marks of a fakeSpeaker: before each message that somebody else than the model says, and where its turn opens.
const (
	markSaid = 5
	markOpen = 6
)

// A fakeSpeaker writes a mark and a token for each word; a word is a number.
type fakeSpeaker struct{ err error }

func words1(text string) (out []int32) {
	for range strings.Fields(text) {
		out = append(out, 7)
	}
	return out
}

func (f *fakeSpeaker) Asks(messages []data.Message, _ json.RawMessage) (out []int32, err error) {
	for _, m := range messages {
		out = append(append(out, markSaid), words1(m.Content)...)
	}
	return append(out, markOpen), f.err
}

func (f *fakeSpeaker) Follows(messages []data.Message, turn int, tools json.RawMessage) ([]int32, error) {
	if messages[turn].Role != data.Assistant {
		return nil, errors.New("no turn of the model")
	}
	for _, m := range messages[turn+1:] {
		if m.Role == data.Assistant {
			return nil, errors.New("not the newest turn")
		}
	}
	return f.Asks(messages[turn+1:], tools)
}

func (f *fakeSpeaker) Shows(tokens []int32) (string, error) {
	return strings.Repeat("x", len(tokens)), nil
}

func number(x float64) *float64 { return &x }

// said is a reply of so many words.
func said(n int) environment.Reply {
	return environment.Reply{Messages: []environment.Message{{Role: data.User, Content: strings.Repeat("w ", n)}}}
}

// talking is a fixture with an environment: it says two words at first and one to each turn, ends an exchange after
// turns of the model as many as the sample's number, or after one that is three tokens long, and gives the turn's
// number.
func talking(t *testing.T) (*fixture, *fakeEnv) {
	f := newFixture(t)
	f.MaxTokens = 24
	for i := range f.Asked {
		f.Asked[i].Source = "prompts"
		f.Asked[i].Messages = []data.Message{{Role: data.System, Content: "a b"}}
	}
	e := &fakeEnv{reply: func(q *environment.Question) environment.Reply {
		switch {
		case q.Turn == 0:
			return said(2)
		case q.Turn > *q.Sample || q.Over != "":
			return environment.Reply{Done: q.Over == "", Reward: number(float64(q.Turn))}
		}
		return said(1)
	}}
	f.Exchanges = &Exchanges{Environment: e, Speaker: &fakeSpeaker{}, MaxTurns: 3, Ctx: 64}
	f.reward.fn = func(s *reward.Sample) float64 { return *s.Earned }
	return f, e
}

// TestExchanges: of an exchange the model's own tokens count, with all that is known of each, and those of the
// environment do not; what it says at first belongs to the prompt that all answers share.
func TestExchanges(t *testing.T) {
	f, e := talking(t)
	s := New(f.Config)
	m := take(t, s, 1)[0]
	r := s.last
	over, lengths := map[environment.Over]int{}, map[int]int{}
	for i := range r.Answers {
		a := &r.Answers[i]
		lengths[len(a.Turns)]++
		if last := a.Turns[len(a.Turns)-1]; a.Earned == nil || *a.Earned != float64(len(a.Turns)) ||
			a.Ended != (last.Ended && last.Over != environment.Room) || last.Said != 0 {
			t.Errorf("answer %d has %d turns, the last %+v, and earned %v", i, len(a.Turns), last, a.Earned)
		} else {
			over[last.Over]++
		}
		if !a.whole() || len(a.sampled) != a.written() || len(a.Tokens) > f.MaxTokens {
			t.Errorf("answer %d: turns %+v of %d tokens, %d numbers", i, a.Turns, len(a.Tokens), len(a.sampled))
		}
	}
	if over[""] == 0 || over[environment.Length] == 0 || len(lengths) < 3 {
		t.Errorf("exchanges ended by %v, after turns %v: the test proves too little", over, lengths)
	}
	// The prompt is a mark, two words of the system's and a mark, two words of the environment's, and the opening.
	row := m.Batch.Rows[0]
	if root := row.Segments[0]; root.Len != 7 || len(row.Segments) != 5 {
		t.Errorf("a prompt of %d tokens and %d segments, want 7 and 5", root.Len, len(row.Segments))
	}
	counted := map[int32]bool{}
	for _, c := range row.Counted {
		counted[c] = true
	}
	for i, tok := range row.Tokens {
		if counted[int32(i)] == (tok < 10) { // the model's tokens are 10 and more
			t.Errorf("token %d, which is %d, counts: %v", i, tok, counted[int32(i)])
		}
	}
	for _, list := range [][]float64{m.Rolled.Old, m.Rolled.Advantage, m.Rolled.Weight, m.Ref} {
		if len(list) != len(row.Counted) {
			t.Errorf("%d numbers for %d tokens of the model", len(list), len(row.Counted))
		}
	}
	in := mustInputs(t, f, m)
	if !reflect.DeepEqual(in.Old, in.LogP) {
		t.Errorf("old log-probabilities are not those of the pass:\n%v\n%v", in.Old, in.LogP)
	}
	checkAsked(t, f, e.asked)
	figures := map[string]float64{}
	for _, x := range s.Figures() {
		figures[x.Name] = x.Sum / x.Weight
	}
	if n := figures["turns"]; !(n > 1 && n < 3) || figures["mismatch"] > 1e-6 {
		t.Errorf("figures %v: want between 1 and 3 turns, and no mismatch", figures)
	}
}

func mustInputs(t *testing.T, f *fixture, m *encode.Micro) (in struct{ Old, LogP []float64 }) {
	t.Helper()
	out, err := f.engine.Forward(t.Context(), &m.Batch, opts())
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Inputs(f.Method, out, m.Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.Old, in.LogP = got.Old, got.LogP
	return in
}

// checkAsked: an environment sees what was said, in order, and that of one prompt under one seed.
func checkAsked(t *testing.T, f *fixture, asked []environment.Question) {
	t.Helper()
	seeds := map[string]int{}
	for i, q := range asked {
		if (q.Sample == nil) != (q.Turn == 0) || (i < 3) != (q.Turn == 0) || q.Row["n"] == nil ||
			len(q.Messages) != 1 || q.Messages[0].Content != "a b" {
			t.Errorf("question %d is %+v", i, q)
		}
		if seed, ok := seeds[q.Group]; ok && seed != q.Seed {
			t.Errorf("%s has seeds %d and %d", q.Group, seed, q.Seed)
		}
		seeds[q.Group] = q.Seed
		want := 0
		if q.Turn > 0 {
			want = 2 * q.Turn // what it said first, and a turn of the model, …
		}
		if len(q.Exchange) != want || want > 0 && q.Exchange[want-1].Content != q.Answer {
			t.Errorf("turn %d comes with %d of what was said, the last %q; it is %q", q.Turn, len(q.Exchange),
				q.Exchange[max(len(q.Exchange)-1, 0)].Content, q.Answer)
		}
		if q.Over == "" && q.Turn == f.Exchanges.MaxTurns || q.Over == environment.Turns && q.Turn < 3 {
			t.Errorf("turn %d of at most %d is over by %q", q.Turn, f.Exchanges.MaxTurns, q.Over)
		}
	}
	if len(seeds) != 3 {
		t.Errorf("%d groups, want one for each of 3 prompts", len(seeds))
	}
}

// TestExchangeRoom: what the environment says and the model cannot read any more is asked for again, and what it gives
// then counts.
func TestExchangeRoom(t *testing.T) {
	f, e := talking(t)
	again := 0
	e.reply = func(q *environment.Question) environment.Reply {
		switch {
		case q.Turn == 0:
			return environment.Reply{}
		case q.Over == environment.Room:
			again++
			if q.Exchange[len(q.Exchange)-1].Role != data.Assistant {
				t.Errorf("the model has not read the last of %v", q.Exchange)
			}
			return environment.Reply{Reward: number(-1)}
		case q.Over != "":
			return environment.Reply{Reward: number(0)}
		}
		r := said(f.MaxTokens)
		r.Reward = number(100) // does not count
		return r
	}
	s := New(f.Config)
	take(t, s, 1)
	for i, a := range s.last.Answers {
		want, ended := 0., false
		if a.Turns[0].Over == environment.Room {
			want = -1
		}
		if *a.Earned != want || a.Ended != ended || len(a.Turns) != 1 {
			t.Errorf("answer %d earned %g (%+v)", i, *a.Earned, a.Turns)
		}
	}
	if again == 0 {
		t.Error("no exchange ended for want of room: the test proves too little")
	}
}

// TestExchangesResume: from every place on, another process gives what a straight run gives, and asks nobody anything.
func TestExchangesResume(t *testing.T) {
	const n = 14
	straight, _ := talking(t)
	s := New(straight.Config)
	var want []*encode.Micro
	var places []string
	for range n {
		places = append(places, string(s.Place()))
		want = append(want, take(t, s, 1)...)
	}
	shown, err := s.Show()
	if err != nil {
		t.Fatal(err)
	}
	for k, p := range places {
		f, e := talking(t)
		f.Dir = straight.Dir
		s := New(f.Config)
		if err := s.Return([]byte(p)); err != nil {
			t.Fatal(err)
		}
		if got := take(t, s, n-k); !reflect.DeepEqual(got, want[k:]) {
			t.Fatalf("from %s on the micro-batches are others", p)
		}
		if again, err := s.Show(); err != nil || !reflect.DeepEqual(again, shown) {
			t.Errorf("shown is %+v, %v; want %+v", again, err, shown)
		}
		if f.reward.asked > 0 || f.writer.wrote > 0 || len(e.asked) > 0 {
			t.Errorf("from %s on, what was on disk was made again: %d rewards, %d rollouts, %d questions", p,
				f.reward.asked, f.writer.wrote, len(e.asked))
		}
	}
	// A run without the environment does not take them for its own, nor one with it those of a run without.
	f, _ := talking(t)
	f.Dir, f.Exchanges = straight.Dir, nil
	if _, err := New(f.Config).Next(t.Context()); err == nil || !strings.Contains(err.Error(), "is not of this run") {
		t.Errorf("without the environment: %v", err)
	}
	f = newFixture(t)
	take(t, New(f.Config), 1)
	with, _ := talking(t)
	with.Dir = f.Dir
	if _, err := New(with.Config).Next(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "is not of this run") {
		t.Errorf("with an environment: %v", err)
	}
}

// TestExchangesShown: what is shown are all turns, and rewards see the last one behind the others.
func TestExchangesShown(t *testing.T) {
	f, _ := talking(t)
	f.reward.fn = func(s *reward.Sample) float64 {
		if n := len(s.Messages); n%2 != 0 || s.Messages[n-1].Role != data.User || len(s.Prompt) != len(s.Given) ||
			len(s.Written) != s.Tokens || s.Tokens > 0 && s.Written[0] < 10 {
			t.Errorf("a reward sees %+v", s)
		}
		return *s.Earned
	}
	s := New(f.Config)
	take(t, s, 1)
	shown, err := s.Show()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range shown {
		var roles []string
		for _, y := range x.Exchange {
			roles = append(roles, y.Role)
		}
		want := append([]string{"user"}, slices.Repeat([]string{"assistant", "user"}, int(x.Reward))...)
		want = want[:len(want)-1] // nobody says anything behind the last
		last := x.Exchange[len(x.Exchange)-1]
		if !slices.Equal(roles, want) || last.Content != x.Answer || last.Reward == nil || *last.Reward != x.Reward {
			t.Errorf("shown is %+v; want %v", x, want)
		}
	}
	// The first of several exchanges is what would be the only one.
	one, err := f.Judge.Measure(t.Context(), f.Prompts, 1)
	if err != nil {
		t.Fatal(err)
	}
	several, err := f.Judge.Measure(t.Context(), f.Prompts, 3)
	if err != nil || len(several.Prompts) != 7 {
		t.Fatalf("measured %+v, %v", several, err)
	}
	for i := range one.Prompts {
		if got, want := several.Prompts[i].Rewards[0].Total, one.Prompts[i].Rewards[0].Total; got != want {
			t.Errorf("prompt %d: the first of three exchanges is worth %g, and alone %g", i, got, want)
		}
	}
}

// TestBadExchanges: whatever goes wrong ends the rollout, says what it was, and leaves nothing.
func TestBadExchanges(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *fixture, e *fakeEnv)
		want string
	}{
		{"no reward", func(_ *fixture, e *fakeEnv) {
			e.reply = func(q *environment.Question) environment.Reply { return environment.Reply{Done: q.Turn > 0} }
		}, "prompts: the environment has ended an exchange of 1 turn, and gave no reward in it"},
		{"a long beginning", func(f *fixture, e *fakeEnv) {
			e.reply = func(*environment.Question) environment.Reply { return said(f.MaxTokens + 7) }
		}, "at the beginning leaves no room for an answer; raise --max-completion-length"},
		{"a small context", func(f *fixture, _ *fakeEnv) { f.Exchanges.Ctx = 7 }, "leaves no room"},
		{"an error", func(_ *fixture, e *fakeEnv) { e.err = errors.New("out of cheese") }, "out of cheese"},
		{"no place in the template", func(f *fixture, _ *fakeEnv) {
			f.Exchanges.Speaker = &fakeSpeaker{err: errors.New("roles must take turns")}
		}, "prompts: what the environment says at the beginning: roles must take turns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, e := talking(t)
			c.do(f, e)
			s := New(f.Config)
			before := string(s.Place())
			if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if string(s.Place()) != before {
				t.Errorf("stands at %s, want %s", s.Place(), before)
			}
		})
	}
	f, e := talking(t)
	ctx, stop := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	e.during = func() { stop(told) }
	if _, err := New(f.Config).Next(ctx); !errors.Is(err, told) {
		t.Errorf("got %v, want %v", err, told)
	}
}

// TestOpens: two turns of a user become one, since templates want the roles to take turns; others stay apart.
func TestOpens(t *testing.T) {
	user, tool := environment.Message{Role: data.User, Content: "b"}, environment.Message{Role: data.Tool, Content: "c"}
	prompt := []data.Message{{Role: data.User, Content: "a"}}
	got := opens(prompt, []environment.Message{user, tool, user})
	want := []data.Message{{Role: data.User, Content: "a\n\nb"}, {Role: data.Tool, Content: "c"},
		{Role: data.User, Content: "b"}}
	if !reflect.DeepEqual(got, want) || prompt[0].Content != "a" {
		t.Errorf("got %+v of %+v, want %+v", got, prompt, want)
	}
}
