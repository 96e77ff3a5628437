package data

import "bytes"

// A nanFilter takes NaN, Infinity and -Infinity out of JSON that is read in pieces: Python's json module writes such
// numbers, and JSON has none. In their place stands nothing, an empty string or null, with spaces up to the same
// length, so that offsets stay as they are.
type nanFilter struct {
	text   bool   // within a string
	escape bool   // behind a backslash there
	rest   string // what is still to be put in the place of a word under way
}

// filter changes p in place.
func (f *nanFilter) filter(p []byte) {
	for i, c := range p {
		switch {
		case f.rest != "":
			p[i], f.rest = f.rest[0], f.rest[1:]
		case f.escape:
			f.escape = false
		case f.text:
			f.escape, f.text = c == '\\', c != '"'
		case c == '"':
			f.text = true
		case c == 'N' && begins(p[i:], "NaN"):
			p[i], f.rest = '"', `" `
		case c == 'I' && begins(p[i:], "Infinity"):
			p[i], f.rest = 'n', "ull    "
			if i > 0 && p[i-1] == '-' {
				p[i-1] = ' '
			}
		}
	}
}

// begins says whether p is the word and no longer one, as far as p goes.
func begins(p []byte, word string) bool {
	n := min(len(p), len(word))
	if string(p[:n]) != word[:n] {
		return false
	}
	return len(p) <= len(word) || bytes.IndexByte([]byte(",]} \t\r\n"), p[len(word)]) >= 0
}

// withoutNaN is the filter for a whole text, of which it makes a copy where it changes something.
func withoutNaN(p []byte) []byte {
	if !bytes.Contains(p, []byte("NaN")) && !bytes.Contains(p, []byte("Infinity")) {
		return p
	}
	p = bytes.Clone(p)
	new(nanFilter).filter(p)
	return p
}
