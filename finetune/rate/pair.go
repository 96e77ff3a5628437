package rate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// A state says how far a pair is.
type state uint8

const (
	waiting state = iota
	writing
	ready
)

// A pair is a prompt with its answers, two or more, as far as they are written.
type pair struct {
	id     string
	prompt Prompt
	source string // file:line, or "typed"
	state  state
	// answers are in the order shown; their texts grow while they are written.
	answers []Answer
	written []bool
	given   bool // the answers were prepared
	first   bool // it comes before those that are not
	// scored says that the Scorer has seen the answers, doubt how unsure it is of them.
	scored bool
	doubt  float64
	// stop ends the writing, once it has begun: the person has gone on.
	stop context.CancelFunc
}

// shown makes p ready with answers in the order in which they are shown.
func (p *pair) shown(answers []Answer) {
	p.answers, p.written, p.state = answers, make([]bool, len(answers)), ready
	for i := range p.written {
		p.written[i] = true
	}
}

// pairID names a prompt, and the answers if they were prepared, by their content: the same in every run.
func pairID(p Prompt, answers []Answer) string {
	h := sha256.New()
	b, err := marshal(p)
	if err != nil {
		panic(fmt.Sprintf("rate: a prompt of strings is no JSON: %v", err))
	}
	h.Write(b)
	for _, a := range answers {
		fmt.Fprintf(h, "\n%d\n%s", len(a.Text), a.Text)
	}
	const bytes = 8 // a file of a million choices has an equal pair with a probability of 3e-8
	return hex.EncodeToString(h.Sum(nil)[:bytes])
}

// draw gives a number that depends on all that is said, and on nothing else: a choice that is made again in another
// run, or in another order, comes out the same.
func draw(seed uint64, id, what string, n int) uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %s %d", seed, id, what, n)
	var x uint64
	for _, b := range h.Sum(nil)[:8] {
		x = x<<8 | uint64(b)
	}
	return x
}

// Seed gives the seed of one answer: side counts from 0, and try counts from 0 where answers came out equal.
func Seed(seed uint64, id string, side, try int) uint32 {
	return uint32(draw(seed, id, fmt.Sprintf("answer %d", side), try))
}

// order gives the order in which n sides are shown: that of the draw, which shuffles them (Fisher and Yates).
func order(seed uint64, id string, n int) []int {
	sides := make([]int, n)
	for i := range sides {
		sides[i] = i
		j := i
		if i > 0 {
			j -= int(draw(seed, id, "order", i-1) % uint64(i+1))
		}
		sides[i], sides[j] = sides[j], sides[i]
	}
	return sides
}
