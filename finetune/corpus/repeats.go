package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/finetune/alike"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/count"
)

// Repeats says which examples say what others say: see package alike.
type Repeats struct {
	// Training examples that repeat an earlier one.
	Exact Repeated `json:"exact"`
	Near  Repeated `json:"near"`
	// Held-out examples that training repeats.
	HeldExact Repeated `json:"held_out_exact"`
	HeldNear  Repeated `json:"held_out_near"`
}

// Repeated counts one kind of them.
type Repeated struct {
	Count int `json:"count"`
	// First are the places of the first few, each with that of the example it is like.
	First []string `json:"first,omitempty"`
}

// firstRepeats is how many places are kept.
const firstRepeats = 5

func (r *Repeated) add(what, like data.Source) {
	r.Count++
	if len(r.First) < firstRepeats {
		r.First = append(r.First, fmt.Sprintf("%s like %s", what, like))
	}
}

// A search for repeats goes through held-out examples, then through those of training: an example that is in both is
// held out.
type search struct {
	held, train *input
	heldOut     []int // indices into held
	trained     []int // and into train
	drop        alike.How
	strict      bool

	found Repeats
	kept  []int            // of trained
	known map[int]repeater // of held-out examples, by their place in heldOut
	same  map[int]int      // held-out examples to the first that is the same
}

// A repeater is a training example that repeats a held-out one.
type repeater struct {
	how alike.How
	by  int
}

// repeats looks for what train repeats of itself and of held, which may be nil, and gives what is left to train on.
func (r *Reader) repeats(ctx context.Context, train *input, trained []int, held *input, heldOut []int) (*search,
	error) {
	s := &search{train: train, trained: trained, held: held, heldOut: heldOut, drop: r.cfg.Dedups(),
		strict: r.cfg.Strict, known: map[int]repeater{}, same: map[int]int{}}
	return s, s.run(ctx, r.tell)
}

// at gives example i of all, the held-out ones first.
func (s *search) at(i int) (data.Example, error) {
	if i < len(s.heldOut) {
		return s.held.ds.At(s.heldOut[i])
	}
	return s.train.ds.At(s.trained[i-len(s.heldOut)])
}

func (s *search) source(i int) data.Source {
	if i < len(s.heldOut) {
		return s.held.ds.Source(s.heldOut[i])
	}
	return s.train.ds.Source(s.trained[i-len(s.heldOut)])
}

func (s *search) run(ctx context.Context, tell func(done, total int)) error {
	n := len(s.heldOut) + len(s.trained)
	index, err := alike.New(n, func(i int) ([]alike.Part, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		x, err := s.at(i)
		return partsOf(&x), err
	})
	if err != nil {
		return err
	}
	for i := range n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x, err := s.at(i)
		if err != nil {
			return err
		}
		sum, err := sumOf(x)
		if err != nil {
			return fmt.Errorf("%s: %w", x.Source, err)
		}
		of, how, err := index.Add(sum, partsOf(&x))
		if err != nil {
			return err
		}
		if i < len(s.heldOut) {
			if how == alike.Exact {
				s.same[i] = of
			}
		} else if err := s.take(i, of, how); err != nil {
			return err
		}
		tell(i+1, n)
	}
	s.countHeld()
	return nil
}

// take counts a training example that is like an earlier one, and keeps it or not.
func (s *search) take(i, of int, how alike.How) error {
	switch {
	case how == alike.Unlike:
	case of < len(s.heldOut):
		if k, ok := s.known[of]; !ok || k.how == alike.Near && how == alike.Exact {
			s.known[of] = repeater{how, i}
		}
	case how == alike.Exact:
		s.found.Exact.add(s.source(i), s.source(of))
	default:
		s.found.Near.add(s.source(i), s.source(of))
	}
	if how == alike.Unlike || s.drop == alike.Unlike || how == alike.Near && s.drop == alike.Exact {
		s.kept = append(s.kept, s.trained[i-len(s.heldOut)])
		return nil
	}
	if s.strict {
		return fmt.Errorf("%s: it repeats %s, and --dedup would leave it out; remove it from the data, or do without "+
			"--dedup or --strict", s.source(i), s.source(of))
	}
	return nil
}

// countHeld counts each held-out example once, however often training repeats it.
func (s *search) countHeld() {
	for held := range s.heldOut {
		first, ok := s.same[held]
		if !ok {
			first = held
		}
		switch k, ok := s.known[first]; {
		case !ok:
		case k.how == alike.Exact:
			s.found.HeldExact.add(s.source(held), s.source(k.by))
		default:
			s.found.HeldNear.add(s.source(held), s.source(k.by))
		}
	}
}

// sumOf tells examples apart by all that is learned from them.
func sumOf(x data.Example) (sum [sha256.Size]byte, err error) {
	x.Source = data.Source{}
	b, err := json.Marshal(x)
	return sha256.Sum256(b), err
}

// The places of an example's parts: what is given, what is to be written or is the better answer, and the worse one. A
// verdict's answer stands where its verdict puts it.
const (
	placeGiven = iota
	placeWritten
	placeWorse
)

// partsOf gives what an example is compared by.
func partsOf(x *data.Example) []alike.Part {
	parts := turnParts(nil, x.Messages)
	add := func(place int, text string) {
		if text != "" {
			parts = append(parts, alike.Part{Place: place, Text: text})
		}
	}
	add(placeGiven, x.Prompt)
	add(placeWritten, x.Completion)
	add(placeWritten, x.Text)
	for i, t := range x.Texts {
		add(min(i, placeWorse), t)
	}
	for i, a := range x.Answers {
		place := placeWritten + i
		if x.Kind == data.KindVerdict && !x.Desirable {
			place = placeWorse
		}
		add(place, a.Text)
		for _, p := range turnParts(nil, a.Messages) {
			add(place, p.Text)
		}
	}
	return parts
}

func turnParts(parts []alike.Part, turns []data.Message) []alike.Part {
	for _, m := range turns {
		place := placeGiven
		if m.Role == data.Assistant {
			place = placeWritten
		}
		texts := []string{m.Reasoning, m.Content}
		for _, c := range m.ToolCalls {
			texts = append(texts, c.Name, string(c.Arguments))
		}
		for _, text := range slices.DeleteFunc(texts, func(s string) bool { return s == "" }) {
			parts = append(parts, alike.Part{Place: place, Text: text})
		}
	}
	return parts
}

// notes name what was found. dropped is how many examples are left out for it, and measure is what held-out ones are
// measured by.
func (r *Repeats) notes(dropped int, measure string) []string {
	var out []string
	say := func(what Repeated, how, advice string) {
		if what.Count > 0 {
			out = append(out, fmt.Sprintf("%s: %d; the first: %s%s", how, what.Count, what.First[0], advice))
		}
	}
	exact, near := "; --dedup exact trains on one of each", "; --dedup near trains on one of each"
	flatters := "; the held-out " + measure + " flatters; --dedup %s trains on none of them"
	heldExact, heldNear := fmt.Sprintf(flatters, "exact"), fmt.Sprintf(flatters, "near")
	if dropped > 0 {
		out = append(out, fmt.Sprintf("left out for --dedup: %s", count.Of(dropped, "training example")))
		exact, near, heldExact, heldNear = "", "", "", ""
	}
	say(r.Exact, "exact duplicates of earlier examples", exact)
	say(r.Near, "near duplicates of earlier examples", near)
	say(r.HeldExact, "held-out examples that are in the training data too", heldExact)
	say(r.HeldNear, "held-out examples with a near duplicate in the training data", heldNear)
	return out
}
