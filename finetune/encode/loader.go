package encode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

// A Cursor is a place in the data: all that a resumed run needs to know of it.
type Cursor struct {
	Epoch int `json:"epoch"` // from 0
	Row   int `json:"row"`   // rows of the epoch already given out
}

// A Micro is one micro-batch: the rows for the engine, and what the counted tokens mean for the method.
type Micro struct {
	Batch engine.Batch
	// Sequences groups the counted tokens, in the order of the engine's output: one for each segment that has any.
	Sequences []method.Sequence
	Tokens    int           // all tokens
	Counted   int           // those whose log-probability is asked for
	Sources   []data.Source // where the examples came from, for messages
	Examples  []int         // their numbers in the dataset
	Other     [][]int32     // of each of Sequences, the tokens of its text as another model reads it, if one is asked
	// EndsStep says that the step ends with this, however many micro-batches were to make one: no row of the epoch, or
	// of what was rolled out for the step, is left.
	EndsStep bool
	// Of answers that the model itself wrote: what is known of the counted tokens, the reference's log-probabilities
	// included where the method needs them.
	Rolled method.Rolled
	Ref    []float64

	pairs []Pair // of all items, by places in Sequences
	// Of a pass that gives values, their number, and for each of the method's the one it is: see value.
	values  int
	valueOf []int
}

// LoadOptions says how a Loader makes rows and micro-batches.
type LoadOptions struct {
	Window  int // tokens a row
	Packing Packing
	Batch   int // rows a micro-batch
	Seed    uint64
	Shuffle bool // a new order of rows every epoch; without it, the data's order
	// Step is the number of examples of a step, of methods over texts, which then is made by the loader; 0: it is not.
	Step int
	// Limit keeps at most that many rows, drawn by the seed, of steps the first that have no more; 0 keeps all.
	Limit int
	// Of several machines that train together, World in number, this is the one numbered Rank, from 0; World 0 is one
	// alone.
	Rank, World int
}

// A Loader gives out micro-batches. What it gives is a pure function of the dataset, the options and the cursor. It is
// not safe for concurrent use.
//
// Of each World micro-batches that follow one another in an epoch, a loader gives out the one numbered Rank, and the
// cursor behind all of them: machines that begin at one cursor stay together, and what they get is, in the order of
// their ranks, what one machine would get. Where an epoch ends with fewer than World, the last ranks get one of no
// rows.
type Loader struct {
	items []Item
	// invoked says that some items know where an invocation is.
	invoked bool
	rows    [][]int32 // items of each row, where the loader makes steps of the epoch whose order is kept
	opt     LoadOptions
	epoch   int // whose order is kept
	order   []int32
	stepped
}

// NewLoader packs the items of d into rows and enters into d.Counts what they hold.
func NewLoader(d *Dataset, opt LoadOptions) (*Loader, error) {
	if opt.Batch < 1 || opt.Window < 2 {
		return nil, fmt.Errorf("batch %d of rows of %d tokens: need at least 1 row of 2", opt.Batch, opt.Window)
	}
	opt.World = max(opt.World, 1)
	if opt.Rank < 0 || opt.Rank >= opt.World {
		return nil, fmt.Errorf("rank %d of %d machines: need 0 to %d", opt.Rank, opt.World, opt.World-1)
	}
	if len(d.Items) == 0 {
		return nil, errors.New("the data has no row; give at least one example")
	}
	lengths := make([]int, len(d.Items))
	for i := range d.Items {
		lengths[i] = len(d.Items[i].Tokens)
		if lengths[i] > opt.Window || lengths[i] == 0 {
			return nil, fmt.Errorf("%s: %d tokens do not make part of a row of %d", d.Items[i].Source, lengths[i],
				opt.Window)
		}
	}
	l := &Loader{items: d.Items, invoked: len(d.invocation) > 0, opt: opt, epoch: -1,
		stepped: stepped{need: d.need, size: opt.Step}}
	if d.need.Pools() {
		if opt.Step < 1 {
			return nil, fmt.Errorf("steps of %d examples: need at least 1", opt.Step)
		}
		for i := range l.items {
			l.sums = append(l.sums, l.items[i].sums())
		}
		l.turn(0)
	} else {
		l.rows = pack(lengths, opt.Window, opt.Packing, opt.Seed)
	}
	if l.size == 0 && opt.Limit > 0 && opt.Limit < len(l.rows) {
		l.limit()
	}
	l.count(d)
	return l, nil
}

// limit keeps a sample of the rows, in their order.
func (l *Loader) limit() {
	drawn := permutation(len(l.rows), l.opt.Seed, streamLimit, 0)[:l.opt.Limit]
	slices.Sort(drawn)
	for i, r := range drawn {
		l.rows[i] = l.rows[r]
	}
	l.rows = l.rows[:len(drawn)]
}

// count enters into d's counts what the rows hold.
func (l *Loader) count(d *Dataset) {
	d.Counts.Rows = len(l.rows)
	d.Counts.Items, d.Counts.Tokens, d.Counts.Counted = 0, 0, 0
	for _, row := range l.rows {
		for _, at := range row {
			d.Counts.Items++
			d.Counts.Tokens += len(l.items[at].Tokens)
			d.Counts.Counted += l.items[at].numTrained(d.need)
		}
	}
}

// Longest gives the most tokens of a row, and the most whose log-probability is asked for.
func (l *Loader) Longest() (tokens, counted int) {
	for _, r := range l.rows {
		n, c := 0, 0
		for _, at := range r {
			n += len(l.items[at].Tokens)
			c += l.items[at].NumCounted()
		}
		tokens, counted = max(tokens, n), max(counted, c)
	}
	return tokens, counted
}

// Whole says that the rows hold whole texts alone.
func (l *Loader) Whole() bool {
	for _, row := range l.rows {
		for _, at := range row {
			if !l.items[at].Whole {
				return false
			}
		}
	}
	return true
}

// Rows is the number of rows in an epoch.
func (l *Loader) Rows() int { return len(l.rows) }

// Micros is the number of micro-batches in an epoch, of all machines together.
func (l *Loader) Micros() (n int) {
	rows := 0 // of a step
	for i := range l.rows {
		if rows++; rows == l.opt.Batch || l.ends != nil && l.ends[i] || i == len(l.rows)-1 {
			rows, n = 0, n+1
		}
	}
	return n
}

// Row lists the items of row i, before any shuffling.
func (l *Loader) Row(i int) []*Item {
	out := make([]*Item, len(l.rows[i]))
	for k, at := range l.rows[i] {
		out[k] = &l.items[at]
	}
	return out
}

// Next gives the micro-batch at c and the cursor behind it.
func (l *Loader) Next(c Cursor) (*Micro, Cursor, error) {
	if l.size > 0 && c.Epoch >= 0 && l.epoch != c.Epoch {
		l.turn(c.Epoch)
	}
	if c.Epoch < 0 || c.Row < 0 || c.Row >= len(l.rows) {
		return nil, c, fmt.Errorf("cursor at epoch %d, row %d is outside the data of %d rows: it belongs to other "+
			"data", c.Epoch, c.Row, len(l.rows))
	}
	if l.epoch != c.Epoch {
		l.epoch, l.order = c.Epoch, l.epochOrder(c.Epoch)
	}
	m := &Micro{}
	end := min(c.Row+l.opt.Batch*l.opt.World, len(l.rows))
	if l.ends != nil {
		if i := slices.Index(l.ends[c.Row:end], true); i >= 0 {
			end, m.EndsStep = c.Row+i+1, true
		}
	}
	from := min(c.Row+l.opt.Batch*l.opt.Rank, end)
	for _, r := range l.order[from:min(from+l.opt.Batch, end)] {
		l.addRow(m, l.rows[r])
	}
	c.Row = end
	if end == len(l.rows) {
		m.EndsStep = true
		c = Cursor{Epoch: c.Epoch + 1}
	}
	return m, c, nil
}

func (l *Loader) epochOrder(epoch int) []int32 {
	if l.opt.Shuffle && l.size == 0 {
		return permutation(len(l.rows), l.opt.Seed, streamEpoch, uint64(epoch))
	}
	order := make([]int32, len(l.rows))
	for i := range order {
		order[i] = int32(i)
	}
	return order
}

// Gather makes one micro-batch of some of the items, a row each.
func Gather(items []Item, which ...int32) *Micro {
	l, m := &Loader{items: items}, &Micro{}
	for _, at := range which {
		l.addRow(m, []int32{at})
	}
	return m
}

// Order is an order of n things drawn by the seed for a turn: of what was rolled out, for each time that it is gone
// through.
func Order(n int, seed, turn uint64) []int32 { return permutation(n, seed, streamOrder, turn) }

// addRow appends one row of items to the micro-batch.
func (l *Loader) addRow(m *Micro, items []int32) {
	var row engine.Row
	for _, at := range items {
		it := &l.items[at]
		m.Sources, m.Examples = append(m.Sources, it.Source), append(m.Examples, int(at))
		m.Other = append(m.Other, it.Other...)
		base, segments := len(row.Tokens), len(row.Segments)
		for _, p := range it.Pairs {
			p.Chosen, p.Rejected = p.Chosen+len(m.Sequences)-1, p.Rejected+len(m.Sequences)-1
			m.pairs = append(m.pairs, p)
		}
		row.Tokens = append(row.Tokens, it.Tokens...)
		since := it.Since
		if since == nil && l.invoked {
			for _, s := range it.Segments {
				since = append(since, s.Len)
			}
		}
		row.Since = append(row.Since, since...)
		for child, s := range it.Segments {
			seq := method.Sequence{Start: m.Counted, Example: int(at), Child: child, Label: it.Label}
			if l.need.Pools() {
				seq.Child, seq.Len, seq.Text = child+1, s.Len, l.sums[at][child]
				row.Pooled = append(row.Pooled, int32(len(row.Segments)))
				if child >= 2 && it.Margins != nil {
					seq.Margin = it.Margins[child-2]
				}
			}
			for i := s.Start; i < s.Start+s.Len && !l.need.Pools(); i++ {
				if it.Counted[i] {
					row.Counted = append(row.Counted, int32(base+i))
					seq.Len++
				}
			}
			if seq.Len > 0 {
				m.Sequences = append(m.Sequences, seq)
				m.Counted += seq.Len
			}
			s.Start += base
			if s.Parent >= 0 {
				s.Parent += segments
			}
			row.Segments = append(row.Segments, s)
		}
	}
	m.Tokens += len(row.Tokens)
	m.Batch.Rows = append(m.Batch.Rows, row)
}

// Places names where the examples of micro-batches came from: the first few.
func Places(micros ...*Micro) string {
	const most = 4
	var out []string
	n := 0
	for _, m := range micros {
		for _, s := range m.Sources {
			if n++; n <= most {
				out = append(out, s.String())
			}
		}
	}
	if n > most {
		out = append(out, fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(out, ", ")
}
