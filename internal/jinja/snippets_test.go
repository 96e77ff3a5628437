package jinja_test

import (
	"encoding/json"
	"testing"

	"github.com/ggtune/ggtune/internal/jinja"
)

// TestSnippets compares the language piece by piece with jinja2 (scripts/record_templates.py): the same text, or an
// error where jinja2 has one.
func TestSnippets(t *testing.T) {
	var sources []string
	readJSON(t, "testdata/snippets.json", &sources)
	var recorded struct {
		Vars  json.RawMessage
		Texts []*string
	}
	readJSON(t, "testdata/rendered.json", &recorded)
	if len(sources) != len(recorded.Texts) {
		t.Fatalf("%d snippets, %d recordings; run scripts/record_templates.py", len(sources), len(recorded.Texts))
	}
	for i, source := range sources {
		want := recorded.Texts[i]
		v, err := jinja.FromJSON(recorded.Vars, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := render(source, v.(*jinja.Dict), jinja.Limits{})
		switch {
		case err != nil && want != nil:
			t.Errorf("%s\ngot error %v\nwant %q", source, err, *want)
		case err == nil && want == nil:
			t.Errorf("%s\ngot %q\nwant an error", source, got)
		case err == nil && got != *want:
			t.Errorf("%s\ngot  %q\nwant %q", source, got, *want)
		}
	}
}

func render(source string, vars *jinja.Dict, limits jinja.Limits) (string, error) {
	tmpl, err := jinja.Parse("test", source)
	if err != nil {
		return "", err
	}
	pieces, err := tmpl.Render(vars, now, limits)
	return text(pieces), err
}
