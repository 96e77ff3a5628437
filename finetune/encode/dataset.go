package encode

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/registry"
)

// OnLong says what becomes of an example that is longer than a row.
type OnLong uint8

// The ways with long examples.
const (
	Truncate OnLong = iota // its end is cut off
	Drop                   // it is left out
	Refuse                 // the run is refused
)

var onLongNames = []string{"truncate", "drop", "refuse"}

// OnLongs lists the names.
func OnLongs() []string { return slices.Clone(onLongNames) }

// String gives the name as options write it.
func (o OnLong) String() string { return nameOf(onLongNames, uint8(o), "on-long") }

// ParseOnLong gives the OnLong of that name; the error lists the names.
func ParseOnLong(name string) (OnLong, error) {
	i, err := indexOf(onLongNames, "way with long examples", name)
	return OnLong(i), err
}

func nameOf(names []string, i uint8, kind string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s %d", kind, i)
}

func indexOf(names []string, kind, name string) (int, error) {
	for i, n := range names {
		if n == name {
			return i, nil
		}
	}
	return 0, &registry.UnknownError{Kind: kind, Name: name, Known: names}
}

// Counts is what became of the examples: nothing is left out unseen.
type Counts struct {
	Examples    int `json:"examples"`     // read
	DroppedRead int `json:"dropped_read"` // left out when the files were read: nothing to learn from
	Truncated   int `json:"truncated"`    // cut to the row length
	DroppedLong int `json:"dropped_long"` // left out: longer than a row
	// DroppedCut were truncated and had no counted token left (the prompt fills the row), and are left out.
	DroppedCut  int `json:"dropped_cut"`
	DroppedBare int `json:"dropped_bare"` // left out: see ErrBare
	// Exact and Near count duplicates: of training examples those of an earlier one, of held-out examples those that
	// are trained on too. DroppedAlike are left out for it.
	Exact        int `json:"duplicates"`
	Near         int `json:"near_duplicates"`
	DroppedAlike int `json:"dropped_duplicates"`
	Items        int `json:"items"` // kept; a long text gives several
	Rows         int `json:"rows"`
	Tokens       int `json:"tokens"` // a shared prompt once
	Counted      int `json:"counted_tokens"`
}

// Limits says what a row may hold.
type Limits struct {
	SeqLen int // tokens a row, at least 2
	// Positions is how many tokens the model can read one after the other where it has learned a vector for each; 0: no
	// limit.
	Positions int
	OnLong    OnLong
	// Answer is how many tokens of a row are left for an answer that the model writes to a prompt.
	Answer int
}

// Window is the most tokens that a run without branches may have.
func (l Limits) Window() int {
	if l.Positions > 0 {
		return min(l.SeqLen, l.Positions) - l.Answer
	}
	return l.SeqLen - l.Answer
}

// fits says whether an item is within the limits.
func (l Limits) fits(it *Item) bool {
	return len(it.Tokens)+l.Answer <= l.SeqLen && (l.Positions == 0 || it.Depth()+l.Answer <= l.Positions)
}

// row says for people what an example must fit into.
func (l Limits) row() string {
	if l.Answer > 0 {
		return fmt.Sprintf("a row of %d with an answer of %d", l.SeqLen, l.Answer)
	}
	return fmt.Sprintf("a row of %d", l.SeqLen)
}

// A Dataset is the kept items of a run, in the order of the data.
type Dataset struct {
	Items  []Item
	Counts Counts
	lim    Limits
	need   method.Need

	noCounted []data.Source // refused: nothing in them counts
	tooLong   []string      // refused on request
	cutAt     []data.Source // the first few of Counts.DroppedCut
	longTrees LongTrees
	firstBare data.Source // of Counts.DroppedBare

	invocation []int32 // see Invoke
	mayLack    bool
	uninvoked  []data.Source // items without it
	before     int           // see BeforeInvocation
}

// LongTrees tells of the trees among Counts.DroppedLong, which are left out whatever the way with long examples: half
// of a preference pair teaches something else than the pair.
type LongTrees struct {
	Count   int         // those that a longer row takes in
	First   data.Source // of them
	Longest int         // of them, tokens
	// Deep counts those beyond Limits.Positions, which no row takes in; FirstDeep is the first.
	Deep      int
	FirstDeep data.Source
}

// LongTrees tells of the trees left out as too long.
func (d *Dataset) LongTrees() LongTrees { return d.longTrees }

// DropBare leaves out an example in which ErrBare was found.
func (d *Dataset) DropBare(src data.Source) {
	d.Counts.Examples++
	if d.Counts.DroppedBare++; d.Counts.DroppedBare == 1 {
		d.firstBare = src
	}
}

// FirstBare names the first of Counts.DroppedBare.
func (d *Dataset) FirstBare() data.Source { return d.firstBare }

func (d *Dataset) dropLong(it *Item) {
	d.Counts.DroppedLong++
	if len(it.Segments) == 1 {
		return
	}
	l := &d.longTrees
	if d.lim.Positions > 0 && it.Depth() > d.lim.Positions {
		if l.Deep++; l.Deep == 1 {
			l.FirstDeep = it.Source
		}
		return
	}
	if l.Count++; l.Count == 1 {
		l.First = it.Source
	}
	l.Longest = max(l.Longest, len(it.Tokens))
}

// NewDataset makes an empty dataset for a method of that need.
func NewDataset(need method.Need, lim Limits) (*Dataset, error) {
	if lim.SeqLen < 2 {
		return nil, fmt.Errorf("row length %d: a row needs at least 2 tokens, one to predict the other from",
			lim.SeqLen)
	}
	return &Dataset{need: need, lim: lim}, nil
}

// Add takes in the items of one example, cutting or leaving out what is too long.
func (d *Dataset) Add(items ...Item) { d.AddOf(1, items...) }

// AddOf is Add of the items that so many examples make together.
func (d *Dataset) AddOf(examples int, items ...Item) {
	d.Counts.Examples += examples
	for _, it := range items {
		d.add(it)
	}
}

func (d *Dataset) add(it Item) {
	if d.need != method.Rollouts && it.NumCounted() == 0 {
		d.noCounted = append(d.noCounted, it.Source)
		return
	}
	if it.Long > 0 {
		switch d.lim.OnLong {
		case Refuse:
			d.tooLong = append(d.tooLong, fmt.Sprintf("%s: a text of %d tokens", it.Source, it.Long))
			return
		case Drop:
			d.Counts.DroppedLong++
			return
		}
		d.Counts.Truncated++
	}
	if !d.need.Pools() && !d.lim.fits(&it) {
		switch {
		case d.lim.OnLong == Refuse:
			d.tooLong = append(d.tooLong, fmt.Sprintf("%s: %d tokens", it.Source, len(it.Tokens)))
			return
		case d.lim.OnLong == Drop || len(it.Segments) > 1 || d.need == method.Rollouts:
			d.dropLong(&it)
			return
		}
		it = truncate(it, d.lim.Window())
		if it.NumCounted() == 0 {
			d.Counts.DroppedCut++
			if len(d.cutAt) < maxNamed {
				d.cutAt = append(d.cutAt, it.Source)
			}
			return
		}
		d.Counts.Truncated++
	}
	d.find(&it)
	d.Items = append(d.Items, it)
	d.Counts.Items++
	d.Counts.Tokens += len(it.Tokens)
	d.Counts.Counted += it.numTrained(d.need)
}

func truncate(it Item, n int) Item {
	// so that what is cut off is freed
	it.Tokens, it.Counted = slices.Clone(it.Tokens[:n]), slices.Clone(it.Counted[:n])
	it.Segments = []engine.Segment{{Start: 0, Len: n, Parent: -1}}
	return it
}

// maxNamed is how many places a message lists before it only counts.
const maxNamed = 5

// Check refuses what must not be trained on: examples in which nothing counts, examples too long where that is to be
// refused, and a dataset with nothing left.
func (d *Dataset) Check() error {
	errs := d.checkInvoked()
	if n := len(d.noCounted); n > 0 {
		for _, s := range d.noCounted[:min(n, maxNamed)] {
			errs = append(errs, fmt.Errorf("%s: no token of this example counts: nothing could be learned from it; "+
				"give it an answer to train on, or remove it", s))
		}
		if n > maxNamed {
			errs = append(errs, fmt.Errorf("and %s without a counted token", count.Of(n-maxNamed, "more example")))
		}
	}
	if n := len(d.tooLong); n > 0 {
		for _, s := range d.tooLong[:min(n, maxNamed)] {
			errs = append(errs, fmt.Errorf("%s: longer than %s; raise --seq-len, or let it be cut or "+
				"left out (--on-long truncate or drop, without --strict)", s, d.lim.row()))
		}
		if n > maxNamed {
			errs = append(errs, fmt.Errorf("and %s longer than a row", count.Of(n-maxNamed, "more example")))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if len(d.Items) > 0 {
		return nil
	}
	c, trees := d.Counts, d.longTrees
	if c.Examples == 0 {
		return errors.New("the data has no example; give at least one")
	}
	if trees.Deep > 0 && trees.Count == 0 {
		return fmt.Errorf("none of %s is left: %d longer than the %d tokens that the model can read; shorten them",
			count.Of(c.Examples, "example"), c.DroppedLong, d.lim.Positions)
	}
	if trees.Count > 0 {
		return fmt.Errorf("none of %s is left: %d whose prompt and answers together are longer than a row of %d "+
			"tokens; --seq-len %d takes them in",
			count.Of(c.Examples, "example"), c.DroppedLong, d.lim.SeqLen, trees.Longest)
	}
	if c.DroppedBare > 0 {
		return fmt.Errorf(
			"none of %s is left: %d with no token before the answers, such as %s; give them a longer prompt",
			count.Of(c.Examples, "example"), c.DroppedBare, d.firstBare)
	}
	return fmt.Errorf(
		"none of %s is left: %d longer than %s tokens, %d with an answer beyond its end; raise --seq-len",
		count.Of(c.Examples, "example"), c.DroppedLong, d.lim.row(), c.DroppedCut)
}

// CutAnswers names the first examples left out because their prompt fills the row.
func (d *Dataset) CutAnswers() []data.Source { return d.cutAt }

// Fingerprint identifies the dataset as it is trained on: tokens, marks, trees, labels and weights, in order. It
// changes with the data, the template, the tokenizer, the mask and the row length.
func (d *Dataset) Fingerprint() [sha256.Size]byte {
	h := sha256.New()
	for i := range d.Items {
		it := &d.Items[i]
		put(h, int64(len(it.Tokens)), int64(len(it.Segments)))
		put(h, it.Tokens...)
		for _, c := range it.Counted {
			var b int32
			if c {
				b = 1
			}
			put(h, b)
		}
		for _, s := range it.Segments {
			put(h, int64(s.Start), int64(s.Len), int64(s.Parent))
		}
		put(h, it.Label)
		for _, p := range it.Pairs {
			if len(it.Segments) > 3 { // of a tree with two answers they are these
				put(h, int64(p.Chosen), int64(p.Rejected))
			}
			if p.Weight != 0 { // of what is older than weights, a run goes on
				put(h, p.Margin, p.Weight)
			}
		}
		for _, at := range it.Since {
			put(h, int64(at))
		}
		for _, m := range it.Margins {
			put(h, m)
		}
		for _, t := range it.Other {
			put(h, t...)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// put writes numbers to a hash, which cannot fail.
func put[T int32 | int64 | float64](h hash.Hash, v ...T) {
	_ = binary.Write(h, binary.LittleEndian, v)
}
