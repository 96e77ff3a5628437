package rollout

import (
	"context"
	"slices"
	"sync"

	"github.com/ggtune/ggtune/bindings/llama"
)

// A memory holds texts in sequences: a *llama.Context, or a test's.
type memory interface {
	ReadEach(ctx context.Context, next []llama.Next, use func(rows [][]float32) error) error
	Copy(from, to int) error
	TruncateOf(seq, n int) error
	LenOf(seq int) int
}

// none stands for no prompt and no answer.
const none = -1

// A slot is a sequence and what is written there.
type slot struct {
	prompt int // with whose tokens the sequence begins, also once its answer has ended; or none
	answer int // under way, or none
}

// A roll writes the answers of one call. Slots that write are the first ones, without a gap: llama.cpp computes only
// such sequences together.
type roll struct {
	memory    memory
	sequences int // that there are
	batch     int // most tokens that are read together
	room      int // tokens that a sequence holds
	eog       func(token int32) bool
	threads   int
	prompts   []Prompt
	samples   int // of each prompt
	how       Sampling
	progress  func(answers, tokens int)

	answers []Answer
	slots   []slot
	next    int       // the answer that is begun next
	row     []float32 // the logits behind the prompt of the last answer that was begun
	drawers []drawer
	reading []llama.Next
	drawn   []drawn
	errs    []error
	ended   int // answers
	tokens  int // of all answers
}

func (r *roll) write(ctx context.Context) ([]Answer, error) {
	r.answers = make([]Answer, len(r.prompts)*r.samples)
	r.drawers = make([]drawer, max(r.threads, 1))
	if err := r.begin(); err != nil {
		return nil, err
	}
	for {
		writing, err := r.fill(ctx)
		if err != nil || writing == 0 {
			return r.answers, err
		}
		if err := r.step(ctx, writing); err != nil {
			return nil, err
		}
	}
}

// begin makes the slots, which hold nothing: what earlier calls left is of another policy, or lies elsewhere.
func (r *roll) begin() error {
	for seq := range r.sequences {
		if err := r.memory.TruncateOf(seq, 0); err != nil {
			return err
		}
		r.slots = append(r.slots, slot{none, none})
	}
	return nil
}

// fill begins answers in the free slots, in order, as long as there are any, and then closes gaps. It gives the number
// of slots that write.
func (r *roll) fill(ctx context.Context) (int, error) {
	for seq := range r.slots {
		for r.slots[seq].answer == none && r.next < len(r.answers) {
			if err := r.start(ctx, seq); err != nil {
				return 0, err
			}
		}
	}
	writing := len(r.slots)
	for seq := 0; seq < writing; seq++ {
		for writing > seq && r.slots[writing-1].answer == none {
			writing--
		}
		if seq < writing && r.slots[seq].answer == none {
			if err := r.memory.Copy(writing-1, seq); err != nil {
				return 0, err
			}
			r.slots[seq], r.slots[writing-1].answer = r.slots[writing-1], none
		}
	}
	return writing, nil
}

// start begins the next answer in a slot: its prompt, and its first token, after which it may have ended.
func (r *roll) start(ctx context.Context, seq int) error {
	p, k := r.next/r.samples, r.next%r.samples
	if err := r.place(ctx, seq, p); err != nil {
		return err
	}
	// While a prompt has answers left to begin, it is the last that was read: they are begun in order.
	d, err := r.drawers[0].draw(r.row, r.how.Temp, r.uniform(p, k, 0))
	if err != nil {
		return err
	}
	r.slots[seq].answer = r.next
	r.next++
	r.take(seq, d)
	return nil
}

// place lets a sequence hold a prompt and nothing else.
func (r *roll) place(ctx context.Context, seq, p int) error {
	tokens := r.prompts[p].Tokens
	if r.slots[seq].prompt != p {
		from := slices.IndexFunc(r.slots, func(s slot) bool { return s.prompt == p })
		r.slots[seq].prompt = none
		if from < 0 {
			if err := r.read(ctx, seq, tokens); err != nil {
				return err
			}
		} else if err := r.memory.Copy(from, seq); err != nil {
			return err
		}
		r.slots[seq].prompt = p
	}
	if err := r.memory.TruncateOf(seq, len(tokens)); err != nil || r.memory.LenOf(seq) == len(tokens) {
		return err
	}
	return r.read(ctx, seq, tokens) // it had to forget all
}

// read reads a prompt into a sequence, and keeps the logits behind it.
func (r *roll) read(ctx context.Context, seq int, tokens []int32) error {
	if err := r.memory.TruncateOf(seq, 0); err != nil {
		return err
	}
	for from := 0; from < len(tokens); from += r.batch {
		r.reading = r.reading[:0]
		for i, id := range tokens[from:min(from+r.batch, len(tokens))] {
			r.reading = append(r.reading, llama.Next{Seq: seq, Token: id, Want: from+i == len(tokens)-1})
		}
		err := r.memory.ReadEach(ctx, r.reading, func(rows [][]float32) error {
			for _, row := range rows {
				r.row = append(r.row[:0], row...)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// step reads the last token of each answer under way, in the first slots, and draws the next.
func (r *roll) step(ctx context.Context, writing int) error {
	r.reading = r.reading[:0]
	for seq, s := range r.slots[:writing] {
		tokens := r.answers[s.answer].Tokens
		r.reading = append(r.reading, llama.Next{Seq: seq, Token: tokens[len(tokens)-1], Want: true})
	}
	if err := r.memory.ReadEach(ctx, r.reading, r.draw); err != nil {
		return err
	}
	for seq := range writing {
		r.take(seq, r.drawn[seq])
	}
	return nil
}

// draw draws a token for each of the first slots, from its row, on several threads.
func (r *roll) draw(rows [][]float32) error {
	r.drawn, r.errs = slices.Grow(r.drawn[:0], len(rows))[:len(rows)], slices.Grow(r.errs[:0], len(rows))[:len(rows)]
	var all sync.WaitGroup
	for w := range r.drawers {
		all.Go(func() {
			for seq := w; seq < len(rows); seq += len(r.drawers) {
				n := r.slots[seq].answer
				u := r.uniform(n/r.samples, n%r.samples, len(r.answers[n].Tokens))
				r.drawn[seq], r.errs[seq] = r.drawers[w].draw(rows[seq], r.how.Temp, u)
			}
		})
	}
	all.Wait()
	for _, err := range r.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *roll) uniform(prompt, sample, at int) float64 {
	if p := r.prompts[prompt].Place; p != nil {
		prompt, sample = p.Prompt, p.Sample
	}
	return uniform(r.how.Seed, uint32(r.how.Step), uint32(prompt), uint32(sample), uint32(at))
}

// take adds a token to the answer in a slot, which is free after the last.
func (r *roll) take(seq int, d drawn) {
	s := &r.slots[seq]
	a := &r.answers[s.answer]
	a.Tokens, a.LogP = append(a.Tokens, d.token), append(a.LogP, float32(d.logp))
	a.Ended = !r.how.Endless && r.eog(d.token)
	r.tokens++
	p := r.prompts[s.prompt]
	if a.Ended || len(a.Tokens) == r.how.most(p) || len(p.Tokens)+len(a.Tokens) == r.room {
		s.answer = none
		r.ended++
	}
	if r.progress != nil {
		r.progress(r.ended, r.tokens)
	}
}
