package encode

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/count"
)

// LastInvocation is where the last occurrence of an invocation's tokens begins, -1 where there is none: from there on
// an adapter acts that waits for it (PEFT's calculate_alora_offsets, peft/tuners/lora/variants.py).
func LastInvocation(tokens, invocation []int32) int {
	for at := len(tokens) - len(invocation); at >= 0; at-- {
		if slices.Equal(tokens[at:at+len(invocation)], invocation) {
			return at
		}
	}
	return -1
}

// invoke finds where an adapter begins to act that waits for an invocation: at its last occurrence before the last
// stretch of tokens that count, which is what the adapter is to write. What counts before it does so no longer: the
// base alone predicts it. ok is false where it occurs nowhere, or answers of one prompt are invoked at different
// places.
func (it *Item) invoke(invocation []int32) (ok bool) {
	since := make([]int, len(it.Segments))
	root, leaves := -1, 0
	for i, s := range it.Segments {
		if s.Parent < 0 && len(it.Segments) > 1 {
			continue // the answers say
		}
		from := 0 // of the path's tokens, those before the segment
		path, counted := it.Segment(i), it.SegmentCounted(i)
		if s.Parent >= 0 {
			from = it.Segments[s.Parent].Len
			path = slices.Concat(it.Segment(s.Parent), path)
			counted = slices.Concat(it.SegmentCounted(s.Parent), counted)
		}
		at := LastInvocation(path[:lastCounted(counted)], invocation)
		if at < 0 || leaves > 0 && min(at, from) != root {
			return false
		}
		root, leaves = min(at, from), leaves+1
		since[i] = max(at-from, 0)
	}
	if len(it.Segments) > 1 {
		since[0] = root
	}
	for i, s := range it.Segments {
		for k := s.Start; k < s.Start+since[i]; k++ {
			it.Counted[k] = false
		}
	}
	it.Since = since
	return true
}

// lastCounted is where the last stretch of tokens that count begins.
func lastCounted(counted []bool) int {
	at := len(counted)
	for at > 0 && !counted[at-1] {
		at--
	}
	for at > 0 && counted[at-1] {
		at--
	}
	return at
}

// Invoke has items know where an adapter that waits for an invocation begins to act. An example without it is refused
// by Check, unless it may lack it: there the adapter does nothing.
func (d *Dataset) Invoke(invocation []int32, mayLack bool) {
	d.invocation, d.mayLack = invocation, mayLack
}

// Uninvoked is the number of items without the invocation, and the first of them.
func (d *Dataset) Uninvoked() (n int, first data.Source) {
	if len(d.uninvoked) > 0 {
		first = d.uninvoked[0]
	}
	return len(d.uninvoked), first
}

// BeforeInvocation is the number of tokens that would count without an invocation, and come before it.
func (d *Dataset) BeforeInvocation() int { return d.before }

// find looks for the invocation in an item.
func (d *Dataset) find(it *Item) {
	if len(d.invocation) == 0 {
		return
	}
	counted := it.NumCounted()
	if !it.invoke(d.invocation) {
		d.uninvoked = append(d.uninvoked, it.Source)
	}
	d.before += counted - it.NumCounted()
}

// checkInvoked lists what lacks the invocation and must not.
func (d *Dataset) checkInvoked() (errs []error) {
	if d.mayLack {
		return nil
	}
	for _, s := range d.uninvoked[:min(len(d.uninvoked), maxNamed)] {
		errs = append(errs, fmt.Errorf("%s: the invocation (--alora) is not among the tokens before the answer; an "+
			"adapter that waits for it would learn nothing here: give the example one, choose another invocation, or "+
			"leave --alora out", s))
	}
	if n := len(d.uninvoked) - maxNamed; n > 0 {
		errs = append(errs, fmt.Errorf("and %s without the invocation", count.Of(n, "more example")))
	}
	return errs
}

// FirstActive is the first token, along the way to the first answer, on which an adapter acts that waits for an
// invocation; 0 where none does.
func (it *Item) FirstActive() int {
	if it.Since == nil {
		return 0
	}
	at := it.Since[0]
	if len(it.Segments) > 1 && at == it.Segments[0].Len && it.Segments[1].Parent == 0 {
		at += it.Since[1]
	}
	return at
}
