package jinja_test

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/ggtune/ggtune/internal/jinja"
)

// FuzzTemplate parses and renders whatever it is given: no panic, every fault an *Error, and marks change no text.
func FuzzTemplate(f *testing.F) {
	b, err := os.ReadFile("testdata/snippets.json")
	if err != nil {
		f.Fatal(err)
	}
	var sources []string
	if err := json.Unmarshal(b, &sources); err != nil {
		f.Fatal(err)
	}
	for _, s := range sources {
		f.Add(s)
	}
	vars := func(origin int) *jinja.Dict {
		d := jinja.NewDict()
		v, err := jinja.FromJSON([]byte(`{"a": "A ", "b": 2, "c": [{"n": "ß"}, null, 1.5]}`), origin)
		if err != nil {
			f.Fatal(err)
		}
		d.Set("d", v)
		d.Set("s", jinja.Marked(" größe\n", origin))
		return d
	}
	limits := jinja.Limits{Steps: 20_000, Bytes: 1 << 20, Output: 1 << 18}
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := jinja.Parse("fuzz", source)
		var e *jinja.Error
		if err != nil {
			if !errors.As(err, &e) || e.Message == "" || e.Line < 1 {
				t.Fatalf("parsing gives the error %v", err)
			}
			return
		}
		plain, err1 := tmpl.Render(vars(0), now, limits)
		marked, err2 := tmpl.Render(vars(7), now, limits)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("without marks %v, with marks %v", err1, err2)
		}
		if err1 != nil {
			if !errors.As(err1, &e) {
				t.Fatalf("rendering gives the error %v", err1)
			}
			return
		}
		if text(plain) != text(marked) {
			t.Fatalf("without marks %q, with marks %q", text(plain), text(marked))
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, 2.5, 1e400, 123456789012345678901, "ü\ud83d\ude00", null, true], "a": {}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := jinja.FromJSON(doc, 1)
		if err != nil {
			return
		}
		again, err := jinja.FromJSON([]byte(jinja.ToJSON(v)), 1)
		if err != nil {
			return // NaN and Infinity, which Python writes and JSON does not know
		}
		if a, b := jinja.ToJSON(v), jinja.ToJSON(again); a != b {
			t.Fatalf("got %s, then %s", a, b)
		}
	})
}
