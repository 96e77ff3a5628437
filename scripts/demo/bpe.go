package main

import (
	"fmt"
	"sort"
	"strings"
	"unicode"
)

// Byte-level BPE as GPT-2's: text is cut into pre-tokens, bytes are written as printable runes, the most frequent
// adjacent pair is merged until the vocabulary is full.

// byteRunes is GPT-2's printable alphabet for bytes (openai/gpt-2, src/encoder.py, bytes_to_unicode).
func byteRunes() [256]rune {
	var table [256]rune
	next := rune(256)
	for b := range table {
		if (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE {
			table[b] = rune(b)
			continue
		}
		table[b] = next
		next++
	}
	return table
}

// pretokens cuts text as GPT-2's pattern does:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// written out because Go's regexp has no look-ahead.
func pretokens(text string) []string {
	runes := []rune(text)
	class := func(i int) int {
		switch r := runes[i]; {
		case unicode.IsSpace(r):
			return 0
		case unicode.IsLetter(r):
			return 1
		case unicode.IsNumber(r):
			return 2
		}
		return 3
	}
	var out []string
	for i := 0; i < len(runes); {
		start := i
		if n := contraction(runes[i:]); n > 0 {
			i += n
			out = append(out, string(runes[start:i]))
			continue
		}
		if runes[i] == ' ' && i+1 < len(runes) && class(i+1) != 0 {
			i++
		}
		c := class(i)
		for i < len(runes) && class(i) == c {
			i++
		}
		// A run of spaces before a word leaves its last one to the word.
		if c == 0 && i < len(runes) && i-start > 1 {
			i--
		}
		out = append(out, string(runes[start:i]))
	}
	return out
}

// contraction is the length of an English contraction's ending at the start of r, or 0.
func contraction(r []rune) int {
	if len(r) < 2 || r[0] != '\'' {
		return 0
	}
	if len(r) >= 3 {
		switch string(r[1:3]) {
		case "re", "ve", "ll":
			return 3
		}
	}
	if strings.ContainsRune("stmd", r[1]) {
		return 2
	}
	return 0
}

// trainBPE returns the vocabulary (nVocab pieces: the 256 bytes in the order of their runes, then what merging makes)
// and the merges, "left right" each. Equal counts are decided by the pair's text, so the result does not depend on map
// order.
func trainBPE(texts []string, nVocab int) (vocab, merges []string, err error) {
	alphabet := byteRunes()
	counts := map[string]int{}
	for _, t := range texts {
		for _, p := range pretokens(t) {
			counts[p]++
		}
	}
	type entry struct {
		pieces []string
		n      int
	}
	var words []entry
	for p, n := range counts {
		e := entry{n: n}
		for _, b := range []byte(p) {
			e.pieces = append(e.pieces, string(alphabet[b]))
		}
		words = append(words, e)
	}
	for _, r := range alphabet {
		vocab = append(vocab, string(r))
	}
	sort.Strings(vocab)
	known := map[string]bool{}
	for len(vocab) < nVocab {
		pairs := map[[2]string]int{}
		for _, w := range words {
			for i := 0; i+1 < len(w.pieces); i++ {
				pairs[[2]string{w.pieces[i], w.pieces[i+1]}] += w.n
			}
		}
		var best [2]string
		most := 1 // a pair seen once is no regularity
		for p, n := range pairs {
			if n > most || (n == most && most > 1 && p[0]+" "+p[1] < best[0]+" "+best[1]) {
				best, most = p, n
			}
		}
		if most == 1 {
			return nil, nil, fmt.Errorf("the corpus gives only %d pieces, %d asked for", len(vocab), nVocab)
		}
		for k := range words {
			words[k].pieces = mergePair(words[k].pieces, best)
		}
		merges = append(merges, best[0]+" "+best[1])
		// Two merges may give the same piece ("a"+"bc", "ab"+"c"): llama.cpp wants it in the vocabulary once.
		if piece := best[0] + best[1]; !known[piece] {
			known[piece] = true
			vocab = append(vocab, piece)
		}
	}
	return vocab, merges, nil
}

// mergePair joins every occurrence of the pair, left to right, in place.
func mergePair(pieces []string, pair [2]string) []string {
	out := pieces[:0]
	for i := 0; i < len(pieces); i++ {
		if i+1 < len(pieces) && pieces[i] == pair[0] && pieces[i+1] == pair[1] {
			out = append(out, pair[0]+pair[1])
			i++
			continue
		}
		out = append(out, pieces[i])
	}
	return out
}
