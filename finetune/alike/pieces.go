package alike

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// A Part is one part of a text. Parts are compared with parts in the same place only, 0 to Places-1: what is asked is
// not what is answered.
type Part struct {
	Place int
	Text  string
}

// Places is the number of places. A piece has its place in its lowest bits.
const (
	Places    = 1 << placeBits
	placeBits = 2
)

// length is how many letters make a piece, as the book advises for short texts: a changed word touches some ten pieces,
// so that of twenty words one may be another.
const length = 5

// eachPiece calls use with the hash of every piece of the parts. White space and punctuation count as one space, and
// letters' case not at all. A part shorter than a piece is one. It stops where use says so.
func eachPiece(parts []Part, use func(piece uint64) bool) {
	const base = 0x9e3779b97f4a7c15 // odd, as a polynomial modulo 2^64 needs it
	top := uint64(1)                // base^length
	for range length {
		top *= base
	}
	for _, p := range parts {
		place := uint64(p.Place)
		var window [length]rune
		n, sum, space := 0, uint64(0), false
		put := func(r rune) bool {
			at := n % length
			out := window[at]
			window[at] = r
			sum = sum*base + uint64(r)
			n++
			if n > length {
				sum -= uint64(out) * top
			}
			return n < length || use(mix(sum)<<placeBits|place)
		}
		for _, r := range p.Text {
			if r = plain(r); r == ' ' {
				space = n > 0 // none at the beginning or the end
				continue
			}
			if space && !put(' ') || !put(r) {
				return
			}
			space = false
		}
		if n > 0 && n < length && !use(mix(sum)<<placeBits|place) {
			return
		}
	}
}

// plain is what of a character counts.
func plain(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
		return r
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case r < utf8.RuneSelf && !unicode.IsSymbol(r):
		return ' '
	case unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.S):
		return unicode.ToLower(r)
	}
	return ' '
}

// mix spreads the bits of x (the finalizer of SplitMix64, Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// pieces gives the pieces that a text is compared by, each as often as it stands there, in memory that the next call
// overwrites.
func (x *Index) pieces(parts []Part) []uint64 {
	x.all, x.rest = x.all[:0], x.rest[:0]
	eachPiece(parts, func(p uint64) bool {
		x.all = append(x.all, p)
		if len(x.common) > 0 && !x.common[p] {
			x.rest = append(x.rest, p)
		}
		return true
	})
	if len(x.common) > 0 && isShell(len(x.all), len(x.rest)) {
		return x.rest
	}
	return x.all
}

// setOf makes a set of pieces, ascending.
func setOf(pieces []uint64) []uint64 {
	set := slices.Clone(pieces)
	slices.Sort(set)
	return slices.Compact(set)
}

// whole is how many pieces a part must have to be like another that is not the same: in an answer of a few words each
// of them matters.
const whole = 32

// alike compares two sets of pieces: as a whole, and place by place.
func alike(a, b []uint64) bool {
	var both, one, other [Places]int
	for _, p := range a {
		one[p%Places]++
	}
	for _, p := range b {
		other[p%Places]++
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			both[a[i]%Places]++
			i, j = i+1, j+1
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	all := 0
	for p := range both {
		all += both[p]
		least := 1.0
		if min(one[p], other[p]) >= whole {
			least = Threshold
		}
		if similarity(both[p], one[p], other[p]) < least {
			return false
		}
	}
	return similarity(all, len(a), len(b)) >= Threshold
}

// similarity is the Jaccard similarity of two sets of n and m pieces that share some; of two empty ones 1.
func similarity(shared, n, m int) float64 {
	if n+m == 0 {
		return 1
	}
	return float64(shared) / float64(n+m-shared)
}
