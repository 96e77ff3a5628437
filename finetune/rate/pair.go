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

// A pair is a prompt with its two answers, as far as they are written.
type pair struct {
	id     string
	prompt Prompt
	source string // file:line, or "typed"
	state  state
	// answers are in the order shown; their texts grow while they are written.
	answers [2]Answer
	written [2]bool
	// stop ends the writing, once it has begun: the person has gone on.
	stop context.CancelFunc
}

// pairID names a prompt, and the answers if they were prepared, by their content: the same in every run.
func pairID(p Prompt, answers *[2]Answer) string {
	h := sha256.New()
	b, err := marshal(p)
	if err != nil {
		panic(fmt.Sprintf("rate: a prompt of strings is no JSON: %v", err))
	}
	h.Write(b)
	if answers != nil {
		for _, a := range answers {
			fmt.Fprintf(h, "\n%d\n%s", len(a.Text), a.Text)
		}
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

// Seed gives the seed of one answer: side is 0 or 1, and try counts from 0 where answers came out equal.
func Seed(seed uint64, id string, side, try int) uint32 {
	return uint32(draw(seed, id, fmt.Sprintf("answer %d", side), try))
}

// swapped says whether the second side is shown first.
func swapped(seed uint64, id string) bool { return draw(seed, id, "order", 0)&1 == 1 }
