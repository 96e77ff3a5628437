package encode

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

// Apart makes an item of whole texts, of each of which a vector is made: roots that do not see each other. All their
// tokens count.
func Apart(src data.Source, texts ...[]int32) Item {
	it := Item{Source: src}
	for _, t := range texts {
		it.Segments = append(it.Segments, engine.Segment{Start: len(it.Tokens), Len: len(t), Parent: -1})
		it.Tokens = append(it.Tokens, t...)
	}
	it.Counted = slices.Repeat([]bool{true}, len(it.Tokens))
	return it
}

// Sum tells texts apart by their tokens. Of a million texts two are taken for equal by mistake with a probability of
// 3e-8.
func Sum(text []int32) uint64 {
	h := fnv.New64a()
	var b [4]byte
	for _, t := range text {
		binary.LittleEndian.PutUint32(b[:], uint32(t))
		h.Write(b[:])
	}
	return h.Sum64()
}

// sums are those of an item's texts.
func (it *Item) sums() []uint64 {
	out := make([]uint64, len(it.Segments))
	for i := range it.Segments {
		out[i] = Sum(it.Segment(i))
	}
	return out
}

// A stepped is what a loader knows of items that make steps of a number of examples each.
type stepped struct {
	need method.Need
	size int        // examples of a step
	sums [][]uint64 // of the texts of each item
	ends []bool     // of the epoch whose rows there are: whether a row is the last of its step
}

// steps cuts an order of items into steps. In a step of groups, or of views, no text is there in two of them as far as
// that can be: an item that repeats one waits for a later step, and joins one that has no others to take.
func (s *stepped) steps(order []int32) (out [][]int32) {
	for len(order) > 0 {
		var step, rest []int32
		there := map[uint64]bool{}
		again := func(item int32) bool {
			return s.need != method.Likenesses &&
				slices.ContainsFunc(s.sums[item], func(sum uint64) bool { return there[sum] })
		}
		for i, item := range order {
			if len(step) == s.size {
				rest = append(rest, order[i:]...)
				break
			}
			if again(item) {
				rest = append(rest, item)
				continue
			}
			step = append(step, item)
			for _, sum := range s.sums[item] {
				there[sum] = true
			}
		}
		n := min(s.size-len(step), len(rest))
		out, order = append(out, append(step, rest[:n]...)), rest[n:]
	}
	return out
}

// turn makes the rows of an epoch: steps of a new order, each packed by itself. Without shuffling the order is one
// drawn by the seed for all epochs: that of the data may be sorted, and what is in a step is compared.
func (l *Loader) turn(epoch int) {
	drawn := uint64(epoch)
	if !l.opt.Shuffle {
		drawn = 0
	}
	l.rows, l.ends = nil, nil
	for _, step := range l.steps(permutation(len(l.items), l.opt.Seed, streamStep, drawn)) {
		lengths := make([]int, len(step))
		for i, at := range step {
			lengths[i] = len(l.items[at].Tokens)
		}
		packed := pack(lengths, l.opt.Window, l.opt.Packing, l.opt.Seed)
		if l.opt.Limit > 0 && len(l.rows) > 0 && len(l.rows)+len(packed) > l.opt.Limit {
			break
		}
		for _, row := range packed {
			for i, k := range row {
				row[i] = step[k]
			}
			l.rows, l.ends = append(l.rows, row), append(l.ends, false)
		}
		l.ends[len(l.ends)-1] = true
	}
	l.epoch, l.order = epoch, l.epochOrder(epoch)
}

// Steps is how many steps an epoch is made of, where the loader makes them.
func (l *Loader) Steps() int { return (len(l.items) + l.size - 1) / l.size }

// MostTexts is the most texts of a row of which a vector is made.
func (l *Loader) MostTexts() (most int) {
	for _, row := range l.rows {
		n := 0
		for _, at := range row {
			n += len(l.items[at].Segments)
		}
		most = max(most, n)
	}
	return most
}
