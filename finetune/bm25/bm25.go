// Package bm25 ranks texts by the words that they share with a query: what a search without a model finds, and what one
// with a model has to be better than. It knows no language: no stop words, no endings.
package bm25

import (
	"math"
	"strings"
	"unicode"
)

// The parameters are Lucene's: how soon more of the same word says nothing new, and how much of a text's length is held
// against it.
const (
	k1 = 1.2
	b  = 0.75
)

// An Index is a corpus as it is searched. It is safe for concurrent use.
type Index struct {
	words map[string][]posting
	less  []float64 // of each document, what its length adds to the denominator
}

// A posting is a document that has a word so many times.
type posting struct {
	document int
	times    float64
}

// New makes an index of documents, which are known by their places.
func New(documents []string) *Index {
	x := &Index{words: map[string][]posting{}, less: make([]float64, len(documents))}
	total := 0.0
	for d, text := range documents {
		for _, w := range Words(text) {
			list := x.words[w]
			if n := len(list); n > 0 && list[n-1].document == d {
				list[n-1].times++
			} else {
				x.words[w] = append(list, posting{d, 1})
			}
			x.less[d]++
			total++
		}
	}
	mean := total / float64(len(documents))
	for d, n := range x.less {
		x.less[d] = k1 * (1 - b + b*n/mean)
	}
	return x
}

// Words are the runs of letters and digits in a text, in lower case.
func Words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
}

// Scores gives the score of each document for a query, 0 where they share no word: for each of the query's words
// ln(1 + (N - n + ½)/(n + ½))·f/(f + k₁·(1 - b + b·l)), where n of N documents have it, this one f times, and it
// is l times as long as the mean (Robertson and Zaragoza 2009, section 3.5; the logarithm, and a factor k₁ + 1 that is
// left out, as in Lucene's BM25Similarity).
func (x *Index) Scores(query string) []float64 {
	sums := make([]float64, len(x.less))
	for _, w := range Words(query) {
		list := x.words[w]
		n := float64(len(list))
		idf := math.Log(1 + (float64(len(sums))-n+0.5)/(n+0.5))
		for _, p := range list {
			sums[p.document] += idf * p.times / (p.times + x.less[p.document])
		}
	}
	return sums
}
