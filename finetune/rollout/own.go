package rollout

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
)

// Own has ggtune's own engine write, token by token, on the kernels that train: what it says of a token is what a
// training pass over the tree of a prompt and its answers says, to the bit.
type Own struct {
	Session *engine.Session
	Apply   engine.Choice // the sets that write
	Samples int           // answers to a prompt at most, 1 or more
}

// ownRead is how many tokens of a prompt are read together: enough for the kernels to be at their best, few enough for
// little memory.
const ownRead = 256

// By gives the config with the session named that writes, where Own says that one does.
func (c Config) By(s *engine.Session) Config {
	if c.Own != nil {
		own := *c.Own
		own.Session, c.Own = s, &own
	}
	return c
}

// Cache is the room that a session takes for answers (engine.Extent.Cache); nil where llama.cpp writes them.
func (c *Config) Cache() *engine.CacheConfig {
	if c.Own == nil {
		return nil
	}
	n := c.Parallel
	// Of the answers under way each may have a prompt of its own.
	return &engine.CacheConfig{Segments: 2 * n, Tokens: n * c.Ctx, Read: ownRead, Draws: max(n, c.Own.Samples)}
}

// An own writer is a session with its room.
type own struct {
	Own
	vocab *llama.Vocab
	cache *engine.Cache
	many  int // answers at a time
	most  int // tokens of a prompt with its answer
}

// openOwn opens it, with the tokenizer of the session's model.
func openOwn(c Config) (*own, error) {
	model := c.Own.Session.Model()
	if most := c.Own.Session.Positions(); c.Ctx > most {
		return nil, fmt.Errorf("%s has %d positions, and a prompt with its answer may take %d; write shorter "+
			"answers (--max-completion-length)", model.Path(), most, c.Ctx)
	}
	v, err := llama.LoadVocab(model.Path())
	if err != nil {
		return nil, err
	}
	o := &own{Own: *c.Own, vocab: v, many: c.Parallel, most: c.Ctx}
	if o.cache, err = o.Session.NewCache(*c.Cache()); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (o *own) close() error { return errors.Join(o.cache.Close(), o.vocab.Close()) }

// write writes what r says.
func (o *own) write(ctx context.Context, r *roll) error {
	o.cache.Clear() // an earlier call that failed may have left something
	w := &ownRoll{roll: r, own: o, held: map[int]*heldPrompt{}, segments: make([]int, o.many)}
	r.slots = make([]slot, o.many)
	for i := range r.slots {
		r.slots[i] = slot{none, none}
	}
	err := w.write(ctx)
	if changed := o.Session.Model().File().CheckUnchanged(); changed != nil {
		return changed
	}
	if errors.Is(err, engine.ErrNoNumber) {
		return fmt.Errorf("%s: %w: %w; look at the model with ggtune check, or train with a lower --lr",
			o.Session.Model().Path(), err, bindings.ErrNotFinite)
	}
	return err
}

// An ownRoll is one call's.
type ownRoll struct {
	*roll
	*own
	held     map[int]*heldPrompt
	segments []int // of each slot whose answer is under way
	next     []engine.Next
}

// A heldPrompt is one that answers are under way to, or yet to begin.
type heldPrompt struct {
	segment int
	first   []engine.Drawn // each answer's first token; nil where more of the prompt is read before it
	left    int            // answers that have not ended
}

func (w *ownRoll) write(ctx context.Context) error {
	for {
		for seq := range w.roll.slots {
			for w.roll.slots[seq].answer == none && w.roll.next < len(w.answers) {
				if err := w.start(ctx, seq); err != nil {
					return err
				}
			}
		}
		if done, err := w.step(ctx); done || err != nil {
			return err
		}
	}
}

func (w *ownRoll) drawing() engine.Drawing { return engine.Drawing{Temp: w.how.Temp, Apply: w.Apply} }

// start begins the next answer in a slot, with its first token, after which it may have ended.
func (w *ownRoll) start(ctx context.Context, seq int) error {
	n := w.roll.next
	p, k := n/w.samples, n%w.samples
	h := w.held[p]
	if h == nil {
		var err error
		if h, err = w.hold(ctx, p); err != nil {
			return err
		}
		w.held[p] = h
	}
	w.roll.slots[seq] = slot{p, n}
	w.roll.next++
	segment, err := w.cache.Begin(h.segment)
	if err != nil {
		return err
	}
	w.segments[seq] = segment
	if h.first != nil {
		return w.took(seq, h.first[k])
	}
	first, err := w.read(ctx, segment, w.prompts[p].Tokens[w.prompts[p].Root:], []float64{w.uniform(p, k, 0)})
	if err != nil {
		return err
	}
	return w.took(seq, first[0])
}

// hold reads a prompt, or its root, and draws the first token of each answer where it follows.
func (w *ownRoll) hold(ctx context.Context, p int) (*heldPrompt, error) {
	segment, err := w.cache.Begin(-1)
	if err != nil {
		return nil, err
	}
	h := &heldPrompt{segment: segment, left: w.samples}
	tokens := w.prompts[p].Tokens
	if root := w.prompts[p].Root; root > 0 && root < len(tokens) {
		_, err = w.read(ctx, segment, tokens[:root], nil)
		return h, err
	}
	draw := make([]float64, w.samples)
	for k := range draw {
		draw[k] = w.uniform(p, k, 0)
	}
	h.first, err = w.read(ctx, segment, tokens, draw)
	return h, err
}

// read reads tokens at the end of a segment, and draws behind the last.
func (w *ownRoll) read(ctx context.Context, segment int, tokens []int32, draw []float64) (out []engine.Drawn,
	err error) {
	for len(tokens) > 0 && err == nil {
		n := engine.Next{Segment: segment, Tokens: tokens[:min(ownRead, len(tokens))]}
		if tokens = tokens[len(n.Tokens):]; len(tokens) == 0 {
			n.Draw = draw
		}
		out, err = w.cache.Read(ctx, []engine.Next{n}, w.drawing())
	}
	return out, err
}

// step reads the last token of each answer under way and draws the next. done: there was none.
func (w *ownRoll) step(ctx context.Context) (done bool, err error) {
	w.next = w.next[:0]
	var slots []int
	for seq, s := range w.roll.slots {
		if s.answer == none {
			continue
		}
		tokens := w.answers[s.answer].Tokens
		u := w.uniform(s.answer/w.samples, s.answer%w.samples, len(tokens))
		w.next = append(w.next, engine.Next{Segment: w.segments[seq], Tokens: tokens[len(tokens)-1:],
			Draw: []float64{u}})
		slots = append(slots, seq)
	}
	if len(slots) == 0 {
		return true, nil
	}
	drawn, err := w.cache.Read(ctx, w.next, w.drawing())
	if err != nil {
		return false, err
	}
	for i, seq := range slots {
		if err := w.took(seq, drawn[i]); err != nil {
			return false, err
		}
	}
	return false, nil
}

// took adds a token to the answer in a slot, and gives back the room of what has ended.
func (w *ownRoll) took(seq int, d engine.Drawn) error {
	w.answers[w.roll.slots[seq].answer].Entropy += float64(d.Entropy)
	w.take(seq, drawn{d.Token, float64(d.LogP)})
	if w.roll.slots[seq].answer != none {
		return nil
	}
	if err := w.cache.Drop(w.segments[seq]); err != nil {
		return err
	}
	p := w.roll.slots[seq].prompt
	h := w.held[p]
	if h.left--; h.left > 0 {
		return nil
	}
	delete(w.held, p)
	return w.cache.Drop(h.segment)
}
