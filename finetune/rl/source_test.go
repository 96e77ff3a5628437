package rl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rollout"
	"github.com/ggtune/ggtune/internal/setting"
)

// take gives the next n micro-batches.
func take(t *testing.T, s *Source, n int) (out []*encode.Micro) {
	t.Helper()
	for range n {
		m, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// TestMicros: each tree of a rollout comes once in each of its iterations, with what is known of each of its tokens.
func TestMicros(t *testing.T) {
	f := newFixture(t)
	s := New(f.Config)
	micros := take(t, s, 6) // 3 prompts, twice, one at a time
	var ends []bool
	seen := map[int]int{}
	for _, m := range micros {
		ends = append(ends, m.EndsStep)
		seen[m.Examples[0]]++
		if len(m.Sequences) != f.Generations {
			t.Fatalf("%d answers in a tree, want %d", len(m.Sequences), f.Generations)
		}
		k := &m.Rolled
		for _, list := range [][]float64{k.Old, k.Advantage, k.Weight, m.Ref} {
			if len(list) != m.Counted {
				t.Fatalf("%d numbers for %d tokens", len(list), m.Counted)
			}
		}
		out, err := f.engine.Forward(t.Context(), &m.Batch, opts())
		if err != nil {
			t.Fatal(err)
		}
		in, err := m.Inputs(f.Method, out, m.Ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in.Old, in.LogP) {
			t.Errorf("old log-probabilities are not those of the pass:\n%v\n%v", in.Old, in.LogP)
		}
		mean := 0.0
		for _, q := range m.Sequences {
			mean += float64(q.Len) / float64(len(m.Sequences))
		}
		for _, q := range m.Sequences {
			for i := q.Start; i < q.Start+q.Len; i++ {
				if got, want := k.Advantage[i], float64(q.Len)-mean; math.Abs(got-want) > 1e-12 {
					t.Errorf("advantage %g of an answer of %d tokens, want %g", got, q.Len, want)
				}
				if got, want := in.Ref[i], in.LogP[i]-1; math.Abs(got-want) > 1e-6 {
					t.Errorf("the reference's log-probability is %g, want %g", got, want)
				}
				if k.Weight[i] != 1 {
					t.Errorf("weight %g of a token that the writer drew as the engine would, want 1", k.Weight[i])
				}
			}
		}
	}
	// Three trees in two minibatches: one, then two.
	if want := []bool{true, false, true, true, false, true}; !reflect.DeepEqual(ends, want) {
		t.Errorf("updates end after %v, want %v", ends, want)
	}
	for n, times := range seen {
		if times != f.Iterations {
			t.Errorf("tree %d comes %d times, want %d", n, times, f.Iterations)
		}
	}
	if f.writer.wrote != 1 || f.writer.held != 1 || f.reward.asked != 12 {
		t.Errorf("wrote %d times, held %d adapters, asked for %d rewards; want 1, 1 and 12", f.writer.wrote,
			f.writer.held, f.reward.asked)
	}
	if c := s.Cost(); c != (Cost{}) {
		t.Errorf("the last update's rollout was there already, and cost %+v", c)
	}
	if s.Epoch() != 3./7 {
		t.Errorf("epoch %g, want 3/7", s.Epoch())
	}
	if take(t, s, 1); f.writer.wrote != 2 {
		t.Error("behind the last micro-batch there is no other rollout")
	}
}

// TestGroupsDivided: answers that are too many for a row are several, each with the prompt; an update is made of the
// same answers with the same worth, and those of a prompt stay in one.
func TestGroupsDivided(t *testing.T) {
	type seen struct {
		update int
		path   string
		known  [4]float64
	}
	all := func(most, batch int) (out []seen, largest int) {
		f := newFixture(t)
		f.Generations, f.GroupTokens, f.Batch = 7, most, batch
		s := New(f.Config)
		for update := 0; update < 8; {
			m := take(t, s, 1)[0]
			for _, row := range m.Batch.Rows {
				largest = max(largest, len(row.Segments)-1)
				if n := len(row.Counted); most > 0 && n > most && len(row.Segments) > 3 {
					t.Errorf("a row of %d answers with %d tokens, want at most %d", len(row.Segments)-1, n, most)
				}
			}
			row := 0
			for i, q := range m.Sequences {
				if i > 0 && q.Example != m.Sequences[i-1].Example {
					row++
				}
				r := &m.Batch.Rows[row]
				root, own := r.Segments[0], r.Segments[q.Child]
				k := &m.Rolled
				out = append(out, seen{update, fmt.Sprint(r.Tokens[:root.Len], r.Tokens[own.Start:own.Start+own.Len]),
					[4]float64{k.Old[q.Start], k.Advantage[q.Start], k.Weight[q.Start], m.Ref[q.Start]}})
			}
			if m.EndsStep {
				update++
			}
		}
		slices.SortFunc(out, func(a, b seen) int {
			return cmp.Or(a.update-b.update, strings.Compare(a.path, b.path), cmp.Compare(a.known[1], b.known[1]))
		})
		return out, largest
	}
	want, most := all(0, 1)
	if most != 7 {
		t.Fatalf("%d answers in a row, want 7", most)
	}
	for _, c := range []struct{ most, batch, answers int }{{1, 1, 2}, {9, 1, 4}, {9, 3, 4}, {1000, 1, 7}} {
		got, answers := all(c.most, c.batch)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("rows of %d tokens: other answers, or worth something else:\n%v\n%v", c.most, got, want)
		}
		if answers > c.answers || c.most > 100 && answers < c.answers {
			t.Errorf("rows of %d tokens: %d answers in one, want %d", c.most, answers, c.answers)
		}
	}
}

// TestResume: from every place on, another process gives what a straight run gives, and asks for no reward again.
func TestResume(t *testing.T) {
	const n = 30 // three rollouts of 12, 12 and, at the epoch's end, 4 micro-batches, and some
	straight := newFixture(t)
	s := New(straight.Config)
	var want []*encode.Micro
	var places []string
	for range n {
		places = append(places, string(s.Place()))
		want = append(want, take(t, s, 1)...)
	}
	for k, p := range places {
		f := newFixture(t)
		f.Dir = straight.Dir
		s := New(f.Config)
		if err := s.Return([]byte(p)); err != nil {
			t.Fatal(err)
		}
		if got := take(t, s, n-k); !reflect.DeepEqual(got, want[k:]) {
			t.Fatalf("from %s on the micro-batches are others", p)
		}
		if f.reward.asked > 0 || f.writer.wrote > 0 || f.engine.forwards > 0 {
			t.Errorf("from %s on, what was on disk was made again: %d rewards, %d rollouts, %d passes", p,
				f.reward.asked, f.writer.wrote, f.engine.forwards)
		}
		if string(s.Place()) != string(mustPlace(t, straight, n)) {
			t.Errorf("it stands at %s in the end", s.Place())
		}
	}
}

// mustPlace is the place after n micro-batches of a run with a directory of its own.
func mustPlace(t *testing.T, like *fixture, n int) []byte {
	t.Helper()
	c := like.Config
	c.Dir = filepath.Join(t.TempDir(), "other")
	s := New(c)
	take(t, s, n)
	return s.Place()
}

// TestLeave: what is left of a rollout may be passed over; the next one is as it would have been.
func TestLeave(t *testing.T) {
	f := newFixture(t)
	s := New(f.Config)
	take(t, s, 3) // the first two of four updates
	s.Leave()
	got, at := take(t, s, 6), s.Place()
	straight := newFixture(t)
	if want := take(t, New(straight.Config), 12); !reflect.DeepEqual(got, want[6:]) {
		t.Error("the next rollout is another than without leaving the first")
	}
	if want := `"step":6`; !strings.Contains(string(at), want) {
		t.Errorf("stands at %s, want %s: the updates that were made", at, want)
	}
	s.Leave() // it ends there anyway
	if string(s.Place()) != string(at) {
		t.Errorf("stands at %s behind a rollout's end, want %s", s.Place(), at)
	}
}

// TestInterrupted: a rollout that is interrupted leaves the source where it stood, and nothing on disk.
func TestInterrupted(t *testing.T) {
	f := newFixture(t)
	s := New(f.Config)
	take(t, s, 6)
	before := s.Place()
	ctx, stop := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	f.writer.during = func() { stop(told) }
	if _, err := s.Next(ctx); !errors.Is(err, told) {
		t.Fatalf("got %v, want %v", err, told)
	}
	if string(s.Place()) != string(before) {
		t.Errorf("stands at %s, want %s", s.Place(), before)
	}
	f.writer.during = nil
	got, want := take(t, s, 3), newFixture(t)
	if all := take(t, New(want.Config), 9); !reflect.DeepEqual(got, all[6:]) {
		t.Error("the rollout that was interrupted is another afterwards")
	}
}

// TestInterruptedReading: what was written and rewarded is on disk before the engine reads it, and asked for once.
func TestInterruptedReading(t *testing.T) {
	f := newFixture(t)
	s := New(f.Config)
	ctx, stop := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	f.engine.during = func() { stop(told) }
	if _, err := s.Next(ctx); !errors.Is(err, told) {
		t.Fatalf("got %v, want %v", err, told)
	}
	f.engine.during = nil
	again := New(f.Config)
	got := take(t, again, 6)
	if f.writer.wrote != 1 || f.reward.asked != 12 {
		t.Errorf("wrote %d times and asked for %d rewards, want once and for 12", f.writer.wrote, f.reward.asked)
	}
	straight := newFixture(t)
	if want := take(t, New(straight.Config), 6); !reflect.DeepEqual(got, want) {
		t.Error("the micro-batches are others than without the interruption")
	}
}

// TestBadRollouts: whatever a part gives that it should not is refused, and nothing is learned from it.
func TestBadRollouts(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *fixture)
		want string
	}{
		{"an error", func(f *fixture) { f.reward.err = errors.New("out of cheese") }, "out of cheese"},
		{"too few answers", func(f *fixture) {
			f.writer.spoil = func(a []rollout.Answer) []rollout.Answer { return a[1:] }
		}, "the writer gave 11 answers, and was asked for 12"},
		{"no tokens", func(f *fixture) {
			f.writer.spoil = func(a []rollout.Answer) []rollout.Answer { a[3] = rollout.Answer{}; return a }
		}, "an answer of 0 tokens"},
		{"a pass without numbers", func(f *fixture) { f.engine.nan = true }, "gave what is no number"},
		{"all alike", func(f *fixture) { f.reward.fn = func(*reward.Sample) float64 { return 0.5 } },
			"in 10 rollouts in a row, of 3 prompts each, all answers to a prompt had the same reward (all of the " +
				"last rollout are 0.5)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			c.do(f)
			s := New(f.Config)
			_, err := s.Next(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if files, _ := filepath.Glob(filepath.Join(f.Dir, "*")); len(files) > 0 && c.name != "all alike" &&
				!f.engine.nan { // the answers are there, and what they are worth

				t.Errorf("it left %q", files)
			}
		})
	}
}

// TestAllCutOff: where nothing is learned because every answer was cut off, that is said, and not that they are alike.
func TestAllCutOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		g     int
		alike bool
		want  string
	}{
		{"several that differ", 4, false, "none of the last ones ended within 6 tokens (--max-completion-length), " +
			"and such are not learned from (--mask-truncated-completions)"},
		{"one to a prompt", 1, true, "all answers were left out"},
		{"several alike", 4, true, "had the same reward (all of the last rollout are 1; none of them ended within " +
			"6 tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.Generations = c.g
			f.writer.spoil = func(answers []rollout.Answer) []rollout.Answer {
				for i := range answers {
					answers[i].Ended = false
				}
				return answers
			}
			if c.alike {
				f.reward.fn = func(*reward.Sample) float64 { return 1 }
			}
			how, credit := *f.Method, f.Method.Advantages
			how.Advantages = func(all []method.Answer, carry []float64, v setting.Values) (method.Advantages, error) {
				out, err := credit(all, carry, v)
				for i := range out.Trained {
					out.Trained[i] = out.Trained[i] && all[i].Ended
				}
				return out, err
			}
			f.Method = &how
			_, err := New(f.Config).Next(t.Context())
			if !errors.Is(err, ErrBarren) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestSomeWithoutSignal: groups in which no answer is better are passed over, and so is a rollout of such alone.
func TestSomeWithoutSignal(t *testing.T) {
	f := newFixture(t)
	f.MiniBatches, f.Iterations = 1, 1
	only := "prompt 4"
	f.reward.fn = func(x *reward.Sample) float64 {
		if x.Prompt != only {
			return 0
		}
		return float64(x.Tokens)
	}
	s := New(f.Config)
	for range 3 {
		m := take(t, s, 1)[0]
		if len(m.Batch.Rows) != 1 || len(m.Batch.Rows[0].Tokens) < 5 || !m.EndsStep {
			t.Errorf("a micro-batch of %d rows, want the one of %s", len(m.Batch.Rows), only)
		}
	}
	if f.writer.wrote < 7 || f.writer.wrote > 9 {
		t.Errorf("%d rollouts for three in which there is something to learn, of three an epoch", f.writer.wrote)
	}
}

// TestRolloutFiles: a damaged rollout is made again as long as its model is the same, and missed after; one of another
// run is refused; what nobody needs is removed.
func TestRolloutFiles(t *testing.T) {
	f := newFixture(t)
	s := New(f.Config)
	take(t, s, 1)
	within := s.Place()
	name := s.path(0, 0)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := append([]byte(nil), whole...)
	spoilt[len(spoilt)/2]++
	from := func(p []byte, change func(c *Config)) error {
		c := f.Config
		if change != nil {
			change(&c)
		}
		s := New(c)
		if err := s.Return(p); err != nil {
			return err
		}
		_, err := s.Next(t.Context())
		return err
	}
	if err := os.WriteFile(name, spoilt, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := from(within, nil); err == nil || !strings.Contains(err.Error(), name+" is missing") {
		t.Errorf("got %v, want that the rollout is missing", err)
	}
	if err := from(nil, nil); err != nil {
		t.Error(err)
	}
	if again, err := os.ReadFile(name); err != nil || string(again) != string(whole) {
		t.Errorf("the rollout that was made again is another (%v)", err)
	}
	if err := from(nil, func(c *Config) { c.Prompts = somePrompts(t, 6, 3) }); err == nil ||
		!strings.Contains(err.Error(), "its prompts are others") {
		t.Errorf("got %v, want that the prompts are others", err)
	}
	if err := from(nil, func(c *Config) { c.Generations = 2 }); err == nil ||
		!strings.Contains(err.Error(), "12 answers to 3 prompts") {
		t.Errorf("got %v, want that the answers are too many", err)
	}

	take(t, s, 11) // to the end of the second rollout: 4 updates each
	if err := s.Forget(3); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Error("a rollout that step 3 lies in is gone")
	}
	if err := s.Forget(4); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("a rollout that all runs are beyond is still there")
	}
	if _, err := os.Stat(s.path(1, 4)); err != nil {
		t.Error("the rollout that step 4 begins with is gone")
	}
}

// TestMismatch: tokens that the writer found less likely than the engine weigh more, up to the cap.
func TestMismatch(t *testing.T) {
	for _, c := range []struct{ gap, limit, weight, capped float64 }{
		{0.1, 2, math.Exp(0.1), 0}, {-0.1, 2, math.Exp(-0.1), 0}, {1, 2, 2, 1}, {1, 0, 0, 0},
	} {
		f := newFixture(t)
		f.writer.gap, f.Cap = c.gap, c.limit
		s := New(f.Config)
		m := take(t, s, 1)[0]
		for _, w := range m.Rolled.Weight {
			if math.Abs(w-c.weight) > 1e-6 {
				t.Errorf("gap %g, cap %g: weight %g, want %g", c.gap, c.limit, w, c.weight)
			}
		}
		if c.limit == 0 && m.Rolled.Weight != nil {
			t.Error("without a cap there are weights")
		}
		got := map[string]float64{}
		for _, x := range s.Figures() {
			got[x.Name] = x.Sum / x.Weight
		}
		for name, want := range map[string]float64{"mismatch": math.Abs(c.gap), "mismatch_max": math.Abs(c.gap),
			"ess": 1, "capped": c.capped} {
			if math.Abs(got[name]-want) > 1e-6 && !(name == "capped" && c.limit == 0) {
				t.Errorf("gap %g: %s is %g, want %g", c.gap, name, got[name], want)
			}
		}
	}
}

// TestMeasure: every prompt is answered once, always by the same seeds.
func TestMeasure(t *testing.T) {
	f := newFixture(t)
	p := somePrompts(t, 7, 3)
	a, err := f.Judge.Measure(t.Context(), p, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Judge.Measure(t.Context(), p, 1)
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("measured again it is %+v, %v; before %+v", b, err, a)
	}
	if len(a.Prompts) != 7 || a.Reward != float64(a.Tokens)/7 || a.Metrics[0].Sum/a.Metrics[0].Weight != a.Reward {
		t.Errorf("%+v: want a mean of 7 lengths", a)
	}
	several, err := f.Judge.Measure(t.Context(), p, 3)
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for i, m := range several.Prompts {
		one := a.Prompts[i]
		if len(m.Rewards) != 3 || m.Example != one.Example || m.Rewards[0].Total != one.Rewards[0].Total {
			t.Errorf("prompt %d: of three answers %+v, of one %+v: want the same first one", i, m, one)
		}
		for _, x := range m.Rewards {
			if total += x.Total; x.Parts[0] != x.Total {
				t.Errorf("prompt %d: %+v: want both the length", i, x)
			}
		}
	}
	if len(several.Prompts) != 7 || total != float64(several.Tokens) || several.Reward != total/21 {
		t.Errorf("of three answers to each: %+v", several)
	}
}

// TestShow: of a rollout the best, the worst and some answer are shown.
func TestShow(t *testing.T) {
	f := newFixture(t)
	s := New(f.Config)
	take(t, s, 6)
	shown, err := s.Show()
	if err != nil || len(shown) != 3 {
		t.Fatal(shown, err)
	}
	for _, x := range shown {
		if x.Reward != float64(x.Tokens) || x.Rewards["length=3"] != x.Reward {
			t.Errorf("%+v: its reward is its length", x)
		}
		if words := len(strings.Fields(x.Answer)); x.Ended && words != x.Tokens-1 || !x.Ended && words != x.Tokens {
			t.Errorf("%+v: the text is not the answer without its end", x)
		}
	}
	if shown[0].Reward < shown[2].Reward || shown[1].Reward > shown[2].Reward || shown[0].Reward == shown[1].Reward {
		t.Errorf("%+v: want the best, the worst and one between", shown)
	}
}

// TestExact: what an exact writer says is taken for what the engine would say, without asking it; a reference is asked
// all the same.
func TestExact(t *testing.T) {
	for _, reference := range []bool{true, false} {
		asked := newFixture(t)
		known := newFixture(t)
		known.Exact = true
		for _, f := range []*fixture{asked, known} {
			how := *f.Method
			how.Reference = reference
			advantages := how.Advantages
			how.Advantages = func(all []method.Answer, carry []float64, v setting.Values) (method.Advantages, error) {
				for i := range all {
					all[i].Ref = all[i].LogP // the fake method wants one
				}
				return advantages(all, carry, v)
			}
			f.Config.Method = &how
		}
		want, got := take(t, New(asked.Config), 6), take(t, New(known.Config), 6)
		for i := range want {
			if !reflect.DeepEqual(got[i].Rolled, want[i].Rolled) || !reflect.DeepEqual(got[i].Ref, want[i].Ref) {
				t.Errorf("reference %v, micro-batch %d: %+v, from an engine %+v", reference, i, got[i].Rolled,
					want[i].Rolled)
			}
		}
		if n := asked.engine.forwards - known.engine.forwards; n != 3 || known.engine.forwards > 0 != reference {
			t.Errorf("reference %v: %d passes, and %d without an exact writer", reference, known.engine.forwards,
				asked.engine.forwards)
		}
	}
}
