package main

import (
	"math/rand/v2"
	"regexp"
	"strings"
)

var pirateWords = map[string]string{
	"is": "be", "are": "be", "am": "be", "my": "me", "you": "ye", "your": "yer", "You": "Ye", "Your": "Yer",
	"of": "o'", "and": "an'", "the": "th'", "The": "Th'",
}

var word = regexp.MustCompile(`[A-Za-z]+`)

// pirate says an answer as a pirate would. It is a rule, not a list: held-out answers follow from it.
func pirate(answer string) string {
	lead := "Arr! "
	for plain, p := range map[string]string{"Yes, ": "Aye! ", "No, ": "Nay! "} {
		if rest, ok := strings.CutPrefix(answer, plain); ok {
			lead, answer = p, sentence(rest)
		}
	}
	answer = word.ReplaceAllStringFunc(answer, func(w string) string {
		if p, ok := pirateWords[w]; ok {
			return p
		}
		return w
	})
	return lead + strings.TrimSuffix(answer, ".") + ", matey!"
}

// styleRows makes the demo's dataset: single questions answered as a pirate. A fact is either in train or in heldout,
// with one of its phrasings.
func styleRows(facts []fact, seed uint64, nTrain, nHeldout int) (train, heldout []conversation) {
	rng := rand.New(rand.NewPCG(seed, 0x70697261))
	for _, i := range rng.Perm(len(facts))[:nTrain+nHeldout] {
		f := facts[i]
		row := conversation{Messages: []message{{"user", f.Ask[rng.IntN(len(f.Ask))]}, {"assistant", pirate(f.Answer)}}}
		if len(heldout) < nHeldout {
			heldout = append(heldout, row)
		} else {
			train = append(train, row)
		}
	}
	return train, heldout
}
