package reward

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzAnswers: a model writes anything. Every kind gives it a finite number from -1 to 1.
func FuzzAnswers(f *testing.F) {
	for _, w := range worth {
		f.Add(w.answer)
	}
	for _, text := range []string{`{"name": "x", "age": 1e-999999999}`, `[1e1000000]`, `\boxed{\boxed{`, "$-.5",
		"\xff<think>"} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "schema.json")
	schema := `{"properties": {"age": {"multipleOf": 0.01, "maximum": 9, "format": "date"}, "name": {"pattern": "(a+)+$"}},
		"items": {"enum": [1, "x"]}, "uniqueItems": true, "type": ["object", "array"]}`
	if err := os.WriteFile(path, []byte(schema), 0o666); err != nil {
		f.Fatal(err)
	}
	specs := []string{"exact", "exact=:", `exact=\boxed`, "number", "number=a", "regex=(a+)+$", "length=3", "length=2-",
		"repetition", "format", "format=a,b", "json", "json=" + path, "constraints", "constraints=all"}
	known := map[string]bool{}
	for _, spec := range specs {
		name, _, _ := strings.Cut(spec, "=")
		known[name] = true
	}
	for _, name := range Names() {
		if !known[name] {
			f.Errorf("reward %s is not tried: add it", name)
		}
	}
	r, err := Open(specs, nil, Options{})
	if err != nil {
		f.Fatal(err)
	}
	var ids, kwargs []string
	for id := range instructions {
		ids = append(ids, `"`+id+`"`)
		kwargs = append(kwargs, `{"keywords": ["a"], "keyword": "a", "forbidden_words": ["a"], `+
			`"relation": "at least", "frequency": 1, "letter": "a", "let_relation": "exactly", `+
			`"let_frequency": 1, "num_sentences": 1, `+
			`"num_paragraphs": 1, "num_words": 1, "nth_paragraph": 1, "first_word": "a", "num_placeholders": 1, `+
			`"postscript_marker": "P.S.", "num_bullets": 1, "num_highlights": 1, "section_spliter": "a", `+
			`"num_sections": 1, "prompt_to_repeat": "a", "end_phrase": "a", "capital_relation": "at most", `+
			`"capital_frequency": 1}`)
	}
	row := map[string]json.RawMessage{"answer": json.RawMessage(`"1"`),
		"instruction_id_list": json.RawMessage("[" + strings.Join(ids, ",") + "]"),
		"kwargs":              json.RawMessage("[" + strings.Join(kwargs, ",") + "]")}
	f.Fuzz(func(t *testing.T, answer string) {
		s, err := r.Score(t.Context(), []Sample{{Answer: answer, Tokens: len(answer), Row: row}})
		if err != nil {
			t.Fatal(err)
		}
		for k, part := range s.Parts {
			if !(part[0] >= -1 && part[0] <= 1) {
				t.Errorf("%s of %q is %g", specs[k], answer, part[0])
			}
		}
	})
}

// FuzzCommandLine: whatever a program prints is a number or an error.
func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{"1", " -0.5e3\r\n", "NaN", `{"reward": 1}`, `{"reward": null}`, "null", "", "1e999",
		"01", `{"reward": {"reward": 1}}`, "{", "true", `"1"`, "1 2"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		x, err := parseReward(line)
		if err == nil && x-x != 0 {
			t.Errorf("%q gives %g", line, x)
		}
	})
}
