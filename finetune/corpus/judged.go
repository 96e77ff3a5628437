package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/internal/count"
)

// An input is a dataset on its way to rows.
type input struct {
	ds      *data.Dataset
	all     []int // the indices of its examples
	dropped int   // left out in reading

	// prompts tells the prompts of pairs and verdicts apart; nil where nobody asks. others is, for each verdict, the
	// example whose answer stands beside it.
	prompts [][sha256.Size]byte
	others  []int
}

// look goes through the judged examples of in once, to learn which prompts and answers differ. Of texts the first is
// the prompt.
func (r *Reader) look(ctx context.Context, in *input) error {
	judged := make([]encode.Judged, in.ds.Len())
	in.prompts = make([][sha256.Size]byte, len(judged))
	for i := range judged {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x, err := in.ds.At(i)
		if err != nil {
			return err
		}
		switch {
		case r.how.Need == method.Views:
			x.Prompt, x.Answers = x.Text, make([]data.Answer, 1)
		case r.how.Need.Pools():
			x.Prompt, x.Answers = x.Texts[0], make([]data.Answer, 1)
		}
		if judged[i].Prompt, err = hashOf(x.Messages, x.Prompt); err != nil {
			return fmt.Errorf("%s: %w", x.Source, err)
		}
		a := x.Answers[0]
		if judged[i].Answer, err = hashOf(a.Messages, a.Text); err != nil {
			return fmt.Errorf("%s: %w", x.Source, err)
		}
		in.prompts[i] = judged[i].Prompt
		r.tell(i+1, len(judged))
	}
	if r.how.Need != method.Verdicts {
		return nil
	}
	var ok bool
	if in.others, ok = encode.Others(judged); !ok {
		return fmt.Errorf("%s: every verdict (%d) is on one answer, and %s sets each beside the answer to another "+
			"example; give at least 2 that differ",
			in.ds.Source(0), in.ds.Len(), r.how.Name)
	}
	return nil
}

func hashOf(messages []data.Message, text string) (sum [sha256.Size]byte, err error) {
	b, err := json.Marshal(struct {
		Messages []data.Message
		Text     string
	}{messages, text})
	return sha256.Sum256(b), err
}

// split holds out part of the examples. The judged ones on one prompt stay together: a held-out prompt that was
// trained on would flatter the figures. Where all are on one prompt, those of one record do. The note says what was
// decided where the user left it to us.
func (in *input) split(cfg *config.Config) (train, held []int, note string, err error) {
	n, of := in.units()
	what := "example"
	if n < len(in.all) {
		what = "prompt"
	}
	k := cfg.Held(n)
	switch auto := cfg.EvalSplit.Auto; {
	case n < 2 && !auto:
		return nil, nil, "", fmt.Errorf("--eval-split holds out part of %s; at least 2 are needed", count.Of(n, what))
	case auto && k == 0:
		note = fmt.Sprintf("none of %s is held out, being fewer than %d, so that only the loss of training is known; "+
			"--eval-split 0.1 holds some out, --eval-data names others", count.Of(n, what), config.AutoHoldFrom)
	case auto:
		note = fmt.Sprintf("%d of %s are held out to measure on; --eval-split 0 trains on all", k, count.Of(n, what))
	}
	_, out := encode.Split(n, k, cfg.Seed)
	for i, u := range of {
		if _, isHeld := slices.BinarySearch(out, u); isHeld {
			held = append(held, i)
		} else {
			train = append(train, i)
		}
	}
	return train, held, note, nil
}

// units numbers what is held out together: of gives each example's unit.
func (in *input) units() (n int, of []int) {
	of = make([]int, in.ds.Len())
	if in.prompts != nil {
		seen := map[[sha256.Size]byte]int{}
		for i, p := range in.prompts {
			u, ok := seen[p]
			if !ok {
				u = len(seen)
				seen[p] = u
			}
			of[i] = u
		}
		if len(seen) > 1 {
			return len(seen), of
		}
	}
	for i := range of {
		if i > 0 && (in.prompts == nil || !in.ds.SameRecord(i-1, i)) {
			n++
		}
		of[i] = n
	}
	return n + 1, of
}

// tree encodes the prompt of x with each of the answers.
func (r *Reader) tree(x *data.Example) (encode.Item, error) {
	items := make([]encode.Item, len(x.Answers))
	for i := range items {
		var err error
		if items[i], err = r.text.answered(x, &x.Answers[i]); err != nil {
			return encode.Item{}, err
		}
		r.text.look(&items[i])
	}
	return encode.Siblings(x.Source, items...)
}

// joined is how many of the examples with the given indices, from the first on, share rows: the pairs of a list, if
// that is wanted.
func (r *Reader) joined(in *input, which []int) int {
	n := 1
	if r.how.Need == method.Pairs && !r.how.Single && r.cfg.JoinsLists() {
		for n < len(which) && in.ds.SameRecord(which[0], which[n]) {
			n++
		}
	}
	return n
}

// pairs encodes a pair, or the pairs of one list, each of their answers once.
func (r *Reader) pairs(in *input, list []int) ([]encode.Item, error) {
	var first data.Example
	var answers []encode.Item
	var pairs []encode.Pair
	place, rejected := map[[sha256.Size]byte]int{}, []int{}
	for _, i := range list {
		x, err := in.ds.At(i)
		if err != nil {
			return nil, err
		}
		if len(pairs) == 0 {
			first = x
		}
		var two [2]int
		for k := range two {
			sum, err := sumOf(data.Example{Answers: x.Answers[k : k+1]})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", x.Source, err)
			}
			if place[sum] == 0 {
				it, err := r.text.answered(&x, &x.Answers[k])
				if err != nil {
					return nil, err
				}
				r.text.look(&it)
				answers, rejected = append(answers, it), append(rejected, 0)
				place[sum] = len(answers)
			}
			two[k] = place[sum]
		}
		p := encode.Pair{Chosen: two[0], Rejected: two[1]}
		if r.how.Weighs {
			p.Margin, p.Weight = x.Margin, x.Weight
		}
		pairs = append(pairs, p)
		rejected[two[1]-1]++
	}
	items, err := encode.List(first.Source, bestFirst(answers, pairs, rejected), pairs, r.limit)
	if err != nil || r.how.Value != method.AtEnds {
		return items, err
	}
	prompt, err := hashOf(first.Messages, first.Prompt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", first.Source, err)
	}
	for i := range items {
		items[i].Prompt = prompt
	}
	return items, nil
}

// bestFirst puts answers in order of how often they are rejected, the best first, and writes their new places into the
// pairs.
func bestFirst(answers []encode.Item, pairs []encode.Pair, rejected []int) []encode.Item {
	order := make([]int, len(answers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rejected[a] - rejected[b] })
	sorted, place := make([]encode.Item, len(answers)), make([]int, len(answers)+1)
	for at, i := range order {
		sorted[at], place[i+1] = answers[i], at+1
	}
	for i := range pairs {
		pairs[i].Chosen, pairs[i].Rejected = place[pairs[i].Chosen], place[pairs[i].Rejected]
	}
	return sorted
}

// scored encodes a verdict by itself.
func (r *Reader) scored(x *data.Example) ([]encode.Item, error) {
	it, err := r.tree(x)
	if err != nil {
		return nil, err
	}
	it.Label = encode.Label(x.Desirable)
	if it.Prompt, err = hashOf(x.Messages, x.Prompt); err != nil {
		return nil, fmt.Errorf("%s: %w", x.Source, err)
	}
	return []encode.Item{it}, nil
}

// verdict encodes x with its own answer and with that of another example.
func (r *Reader) verdict(x, other *data.Example) (encode.Item, error) {
	own, err := r.text.answered(x, &x.Answers[0])
	if err != nil {
		return encode.Item{}, err
	}
	r.text.look(&own)
	a := other.Answers[0]
	switch chat := x.Answers[0].Messages != nil; {
	case chat && a.Messages == nil:
		a.Messages = []data.Message{{Role: data.Assistant, Content: a.Text}}
	case !chat && a.Messages != nil:
		a.Text, a.Messages = a.Messages[len(a.Messages)-1].Content, nil
	}
	beside, err := r.text.answered(x, &a)
	if err != nil {
		return encode.Item{}, fmt.Errorf("with the answer of %s beside its own: %w", other.Source, err)
	}
	it, cut, err := encode.Verdict(own, beside, x.Desirable, r.limit)
	if cut {
		r.cutBeside++
	}
	return it, err
}
