// Package visible shows the characters that are none and change how those around them are shown. It knows no place
// where text is shown.
package visible

import (
	"fmt"
	"strings"
	"unicode"
)

// Escape writes format characters (Unicode's class Cf: U+202E, which turns the text after it round, and its kin) as Go
// does in strings. Two of them belong to the spelling of words and emoji and stay.
func Escape(s string) string {
	if !strings.ContainsFunc(s, misleads) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if misleads(r) {
			fmt.Fprintf(&b, escape(r), r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// escape is the way of writing a character, as long as it needs.
func escape(r rune) string {
	if r > 0xffff {
		return `\U%08x`
	}
	return `\u%04x`
}

func misleads(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r > unicode.MaxASCII && unicode.Is(unicode.Cf, r) && r != nonJoiner && r != joiner
}

// Excerpt quotes the beginning of a text for a message.
func Excerpt(text string) string {
	const most = 60 // letters: a message is read on a line
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
