package llama

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
)

// MaxSequences is the most sequences that a context can have.
func MaxSequences() int { return int(C.gt_max_sequences()) }

// A Next is a token to read behind what a sequence holds.
type Next struct {
	Seq   int
	Token int32
	Want  bool // its logits are asked for: they predict the token behind it
}

// each is what ReadEach hands to C, kept from one call to the next.
type each struct {
	tokens, pos, seq []int32
	before           []int // the lengths of all sequences
	rows             [][]float32
}

// Sequences returns how many texts the context holds apart.
func (c *Context) Sequences() int { return len(c.lens) }

// LenOf returns the number of tokens that a sequence holds, 0 of one that there is not.
func (c *Context) LenOf(seq int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inRange("", seq) != nil {
		return 0
	}
	return c.lens[seq]
}

// TruncateOf forgets all tokens of a sequence but the first n, or, where the model has layers that keep no more of a
// text than how it ends, all of them: LenOf says which.
func (c *Context) TruncateOf(seq, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("truncate a sequence"); err != nil {
		return err
	}
	if err := c.inRange("truncate", seq); err != nil {
		return err
	}
	return c.truncate(seq, n)
}

// Copy lets the sequence to hold what from holds, and nothing else. It costs a copy of the memory of a whole sequence.
func (c *Context) Copy(from, to int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("copy a sequence"); err != nil {
		return err
	}
	if err := errors.Join(c.inRange("copy", from), c.inRange("copy into", to)); err != nil || from == to {
		return err
	}
	c.logits = false
	code := C.gt_context_copy(c.ptr, C.int32_t(from), C.int32_t(to), &c.status)
	if err := c.result(c.model.path+": copy a sequence", code); err != nil {
		return err
	}
	c.lens[to] = c.lens[from]
	return nil
}

// ReadEach reads tokens, at most NBatch(), each behind what its sequence holds, all in one computation; those of one
// sequence in their order. It hands use the logits of those that are wanted, in their order, which lie there until use
// returns; use may be nil, and must not use the context. It costs the least where the sequences of a call have numbers
// without a gap. When ctx is done it stops between two operations, forgets what it began, and returns ctx's cause.
func (c *Context) ReadEach(ctx context.Context, next []Next, use func(rows [][]float32) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.arrange(next); err != nil {
		return err
	}
	if ctx.Err() != nil {
		c.lens = append(c.lens[:0], c.each.before...)
		return context.Cause(ctx)
	}
	defer c.interruptible(ctx)()
	c.logits = false
	e := &c.each
	code := C.gt_context_eval_each(c.ptr, (*C.int32_t)(&e.tokens[0]), (*C.int32_t)(&e.pos[0]), (*C.int32_t)(&e.seq[0]),
		(*C.int8_t)(&c.want[0]), C.int32_t(len(next)), &c.status)
	if err := c.result(fmt.Sprintf("%s: read %d tokens", c.model.path, len(next)), code); err != nil {
		if errors.Is(err, bindings.ErrAborted) {
			err = context.Cause(ctx)
		}
		return errors.Join(err, c.unread())
	}
	if use == nil {
		return nil
	}
	if err := c.gather(next); err != nil {
		return err
	}
	return use(e.rows)
}

// arrange checks the tokens of ReadEach, lays them out for C, and counts them as read. The caller holds mu.
func (c *Context) arrange(next []Next) error {
	if err := c.usable("read tokens"); err != nil {
		return err
	}
	if c.gives != GivesLogits {
		return fmt.Errorf("read tokens: the context was opened for %s", c.gives)
	}
	if len(next) == 0 || len(next) > c.nBatch {
		return fmt.Errorf("read %d tokens at once: want 1 to %d", len(next), c.nBatch)
	}
	e := &c.each
	e.before = append(e.before[:0], c.lens...)
	e.tokens, e.pos, e.seq, c.want = e.tokens[:0], e.pos[:0], e.seq[:0], c.want[:0]
	for i, n := range next {
		err := c.inRange("read into", n.Seq)
		switch {
		case err != nil:
		case n.Token < 0 || int(n.Token) >= c.model.info.NVocab:
			err = fmt.Errorf("read tokens: token %d at index %d: the vocabulary has tokens 0 to %d", n.Token, i,
				c.model.info.NVocab-1)
		case c.lens[n.Seq] >= c.nCtx:
			err = fmt.Errorf("read a token after %d: sequence %d holds %d: %w", c.lens[n.Seq], n.Seq, c.nCtx,
				ErrContextFull)
		}
		if err != nil {
			c.lens = append(c.lens[:0], e.before...)
			return err
		}
		want := int8(0)
		if n.Want {
			want = 1
		}
		e.tokens, e.pos, e.seq = append(e.tokens, n.Token), append(e.pos, int32(c.lens[n.Seq])), append(e.seq,
			int32(n.Seq))
		c.want = append(c.want, want)
		c.lens[n.Seq]++
	}
	return nil
}

// gather finds the logits of what was wanted, in memory of llama.cpp's. The caller holds mu.
func (c *Context) gather(next []Next) error {
	e := &c.each
	e.rows = e.rows[:0]
	for i, n := range next {
		if !n.Want {
			continue
		}
		var row *C.float
		if err := c.result(c.model.path+": read logits",
			C.gt_context_row(c.ptr, C.int32_t(i), &row, &c.status)); err != nil {
			return err
		}
		e.rows = append(e.rows, unsafe.Slice((*float32)(row), c.model.info.NVocab))
	}
	return nil
}

// unread forgets what ReadEach began. The caller holds mu.
func (c *Context) unread() error {
	var errs []error
	for seq, n := range slices.Clone(c.each.before) {
		if c.lens[seq] != n {
			errs = append(errs, c.keep(seq, n))
		}
	}
	return errors.Join(errs...)
}

// inRange refuses a sequence that there is not.
func (c *Context) inRange(doing string, seq int) error {
	if seq < 0 || seq >= len(c.lens) {
		return fmt.Errorf("%s sequence %d: the context has %d", doing, seq, len(c.lens))
	}
	return nil
}

// truncate forgets all tokens of a sequence but the first n. The caller holds mu.
func (c *Context) truncate(seq, n int) error {
	if n < 0 || n > c.lens[seq] {
		return fmt.Errorf("truncate the context to %d tokens: it holds %d", n, c.lens[seq])
	}
	return c.keep(seq, n)
}

// keep forgets all tokens of a sequence but the first n, be they fewer, or all of them where it must. The caller holds
// mu.
func (c *Context) keep(seq, n int) error {
	if c.broken != nil {
		return nil // the error that broke it has been returned
	}
	if n == 0 && len(c.lens) == 1 {
		return c.forget() // which no kind of model refuses
	}
	c.logits = false
	code := C.gt_context_keep(c.ptr, C.int32_t(seq), C.int32_t(n), &c.status)
	if code != C.GT_OK && n > 0 { // layers that keep only how a text ends do not go back
		return c.keep(seq, 0)
	}
	if err := c.result("forget tokens", code); err != nil {
		return err
	}
	c.lens[seq] = n
	return nil
}

// forget forgets everything. The caller holds mu.
func (c *Context) forget() error {
	if c.broken != nil {
		return nil
	}
	c.logits = false
	if err := c.result("forget tokens", C.gt_context_forget(c.ptr, &c.status)); err != nil {
		return err
	}
	clear(c.lens)
	return nil
}
