package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// A field is a name of an object and its value.
type field struct {
	name  string
	value any
}

// An object is one of JSON whose names keep their order. encoding/json sorts those of maps, and vocabularies are read
// by people in the order of their ids.
type object []field

// MarshalJSON refuses texts that are not UTF-8, for which encoding/json would write others.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // which would write "<s>" in another way
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if s, ok := f.value.(string); !utf8.ValidString(f.name) || ok && !utf8.ValidString(s) {
			return nil, fmt.Errorf("%q: %q is not UTF-8", f.name, s)
		}
		if err := e.Encode(f.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(f.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// pretty writes a file's JSON.
func pretty(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
