package encode

import (
	"crypto/sha256"
	"slices"
)

// Verdict makes the tree of a verdict from its prompt with the answer that is judged, and with another example's. The
// other answer is no more than a sample: where it does not fit, its end is cut off, and cut says so.
func Verdict(own, other Item, desirable bool, lim Limits) (it Item, cut bool, err error) {
	if it, err = Siblings(own.Source, own, other); err != nil {
		return it, false, err
	}
	it.Label = Label(desirable)
	beside := &it.Segments[2]
	room := lim.SeqLen - beside.Start
	if lim.Positions > 0 {
		room = min(room, lim.Positions-it.Segments[0].Len)
	}
	first := slices.Index(it.Counted[beside.Start:], true)
	if beside.Len <= room || first >= room {
		return it, false, nil
	}
	beside.Len = room
	end := beside.Start + room
	it.Tokens, it.Counted = it.Tokens[:end], it.Counted[:end]
	return it, true, nil
}

// Label is a verdict as methods see it.
func Label(desirable bool) float64 {
	if desirable {
		return 1
	}
	return 0
}

// A Judged is what tells two verdicts apart.
type Judged struct{ Prompt, Answer [sha256.Size]byte }

// Others gives for each verdict the place of one with another answer to another prompt, the next in a circle; where all
// are on one prompt, of one with another answer. ok is false where all answers are equal.
func Others(x []Judged) (others []int, ok bool) {
	prompts := stretches(len(x), func(i, j int) bool { return x[i].Prompt == x[j].Prompt })
	answers := stretches(len(x), func(i, j int) bool { return x[i].Answer == x[j].Answer })
	others = make([]int, len(x))
	for i := range x {
		j := otherThan(x, i, answers, prompts)
		if j < 0 {
			j = otherThan(x, i, answers, nil)
		}
		if j < 0 {
			return nil, false
		}
		others[i] = j
	}
	return others, true
}

// otherThan looks from i on for another answer to another prompt; with prompts nil, to any. It goes in steps of whole
// runs, because data is often sorted by either.
func otherThan(x []Judged, i int, answers, prompts []int) int {
	for n := 1; n < len(x); {
		j := (i + n) % len(x)
		step := 0
		switch {
		case x[j].Answer == x[i].Answer:
			step = answers[j]
		case prompts != nil && x[j].Prompt == x[i].Prompt:
			step = prompts[j]
		default:
			return j
		}
		if step == 0 {
			return -1
		}
		n += step
	}
	return -1
}

// stretches gives for each of n places in a circle how far it is to the next that is not the same; 0 where all are.
func stretches(n int, same func(i, j int) bool) []int {
	far := make([]int, n)
	for k := 2*n - 1; k >= 0; k-- { // twice around, because the last stretch may go on at the beginning
		i, j := k%n, (k+1)%n
		switch {
		case !same(i, j):
			far[i] = 1
		case far[j] > 0:
			far[i] = far[j] + 1
		}
	}
	return far
}

// Classes counts the desirable and the undesirable verdicts.
func (d *Dataset) Classes() (desirable, undesirable int) {
	for i := range d.Items {
		if d.Items[i].Label == 1 {
			desirable++
		} else {
			undesirable++
		}
	}
	return desirable, undesirable
}
