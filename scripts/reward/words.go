package main

import (
	"math"
	"strings"
	"unicode"
)

// words are those of an answer, each once.
func words(answer string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(answer), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\''
	}) {
		out[w] = true
	}
	return out
}

// difference has 1 for words of the chosen answer alone and -1 for those of the rejected one alone.
func difference(p pair) map[string]float64 {
	out := map[string]float64{}
	for w := range words(p.chosen) {
		out[w]++
	}
	for w := range words(p.rejected) {
		if out[w]--; out[w] == 0 {
			delete(out, w)
		}
	}
	return out
}

// The trivial model's course: passes over the pairs, and the pull of each weight to 0.
const (
	wordPasses = 30
	wordDecay  = 1e-3
)

// wordModel is a Bradley–Terry whose score of an answer is the sum of its words' weights, trained by AdaGrad.
func wordModel(train []pair) (lead func(p pair) float64) {
	weight, squares := map[string]float64{}, map[string]float64{}
	lead = func(p pair) (x float64) {
		for w, d := range difference(p) {
			x += d * weight[w]
		}
		return x
	}
	for range wordPasses {
		for _, p := range train {
			slope := -1 / (1 + math.Exp(lead(p)))
			for w, d := range difference(p) {
				g := slope*d + wordDecay*weight[w]
				squares[w] += g * g
				weight[w] -= 0.5 * g / math.Sqrt(squares[w]+1e-12)
			}
		}
	}
	return lead
}
