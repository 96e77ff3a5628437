package data

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzParseObject compares the fields of an object with what encoding/json makes of it.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, ` { "a\n" : [ {"b": "}\""} , 2 ] ,"c":-1.5e3, "d" : null } `,
		`{"a": "\\"}`, `[1]`, `{"a":1}{`, `{"a":tru`, `"s"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if !utf8.Valid(doc) {
			t.Skip("records are checked to be UTF-8 before")
		}
		fields, err := parseObject(doc)
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(doc, &want)
		if err != nil {
			return // also where encoding/json accepts: a name twice
		}
		if wantErr != nil {
			t.Fatalf("%q: got %v, want the error %v", doc, fields, wantErr)
		}
		if len(fields) != len(want) {
			t.Fatalf("%q: got %d fields, want %d", doc, len(fields), len(want))
		}
		for _, f := range fields {
			if string(want[f.Name]) != string(f.Value) {
				t.Fatalf("%q: field %q: got %q, want %q", doc, f.Name, f.Value, want[f.Name])
			}
			if s, ok := asText(f.Value); ok && f.Value[0] == '"' {
				var w string
				if err := json.Unmarshal(f.Value, &w); err != nil || w != s {
					t.Fatalf("%q: field %q: got %q, want %q", doc, f.Name, s, w)
				}
			}
		}
	})
}
