package data

import (
	"bytes"
	"unicode/utf16"
)

// loneSurrogate finds an escape in JSON text that is half of a surrogate pair, as \ud83d without its other half: no
// character, and what becomes of it depends on the program. It gives the offset of its backslash, -1 where there is
// none.
func loneSurrogate(doc []byte) int {
	for i := 0; ; {
		k := bytes.IndexByte(doc[i:], '\\')
		if k < 0 || i+k+1 >= len(doc) {
			return -1
		}
		i += k
		r, ok := escapedUnit(doc[i:])
		switch {
		case !ok:
			i += 2
		case !utf16.IsSurrogate(r):
			i += 6
		default:
			low, _ := escapedUnit(doc[i+6:])
			if utf16.DecodeRune(r, low) == '\uFFFD' {
				return i
			}
			i += 12
		}
	}
}

// escapedUnit reads \uXXXX at the beginning of s.
func escapedUnit(s []byte) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range s[2:6] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r |= rune(c|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

func surrogateError(doc []byte, at int) error {
	return &syntaxError{int64(at) + 1, "the escape " + string(doc[at:at+6]) + " is half of a surrogate pair, " +
		"which is no character; write the " +
		"other half beside it, or let it be replaced (--replace-invalid)"}
}

// replaceSurrogates puts U+FFFD in the place of halves of surrogate pairs.
func replaceSurrogates(doc []byte) []byte {
	at := loneSurrogate(doc)
	if at < 0 {
		return doc
	}
	doc = bytes.Clone(doc)
	for ; at >= 0; at = loneSurrogate(doc) {
		copy(doc[at:], `\ufffd`)
	}
	return doc
}
