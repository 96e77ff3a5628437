package reward

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestIFEval: what lm-evaluation-harness's checks of IFEval say, recorded by scripts/record_ifeval.py.
func TestIFEval(t *testing.T) {
	b, err := os.ReadFile("testdata/ifeval.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Answers []string
		Cases   []struct {
			ID, Followed string
			Kwargs       json.RawMessage
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[float64]bool{}
	for _, c := range file.Cases {
		r, err := Open([]string{"constraints"}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		row := map[string]json.RawMessage{"instruction_id_list": json.RawMessage(fmt.Sprintf("[%q]", c.ID)),
			"kwargs": json.RawMessage("[" + string(c.Kwargs) + "]")}
		if seen[c.ID] == nil {
			seen[c.ID] = map[float64]bool{}
		}
		for i, answer := range file.Answers {
			s, err := r.Score(t.Context(), []Sample{{Answer: answer, Row: row}})
			if err != nil {
				t.Fatalf("%s: %v", c.ID, err)
			}
			want := float64(c.Followed[i] - '0')
			seen[c.ID][want] = true
			if s.Total[0] != want {
				t.Errorf("%s %s of %q: got %g, want %g", c.ID, c.Kwargs, answer, s.Total[0], want)
			}
		}
	}
	for id := range instructions {
		if len(seen[id]) != 2 {
			t.Errorf("%s: no answer that follows it, or none that does not, is recorded", id)
		}
	}
}

// TestConstraints: shares, what IFEval does not have, and rows that are none of its.
func TestConstraints(t *testing.T) {
	row := func(ids, kwargs string) string {
		return fmt.Sprintf(`{"instruction_id_list": %s, "kwargs": %s}`, ids, kwargs)
	}
	two := row(`["punctuation:no_comma", "length_constraints:number_words"]`,
		`[{}, {"relation": "exactly", "num_words": 3, "keyword": null}]`)
	schema := row(`["detectable_format:json_format"]`, `[{"schema": {"required": ["a"]}}]`)
	for _, tc := range []struct {
		spec, answer, row string
		want              float64
		err               string
	}{
		{"constraints", "one two three", two, 1, ""},
		{"constraints", "one, two three", two, 0.5, ""},
		{"constraints=all", "one, two three", two, 0, ""},
		{"constraints=all", "one two three", two, 1, ""},
		{"constraints", `{"a": 1}`, schema, 1, ""},
		{"constraints", `{"b": 1}`, schema, 0, ""},
		{"constraints", "a b", row(`"[\"length_constraints:number_words\"]"`,
			`"[{\"relation\": \"at most\", \"num_words\": 2}]"`), 1, ""}, // a table's cells
		{"constraints", "", `{"kwargs": []}`, 0, `the row has no column "instruction_id_list"`},
		{"constraints", "", row(`["a"]`, `3`), 0, `the column "kwargs" is no list`},
		{"constraints", "", row(`[]`, `[]`), 0, "expected one for each, and at least one"},
		{"constraints", "", row(`["punctuation:no_comma"]`, `[]`), 0, "expected one for each"},
		{"constraints", "", row(`["punctuation:no_coma"]`, `[{}]`), 0, `nearest: "punctuation:no_comma"`},
		{"constraints", "", row(`["language:response_language"]`, `[{"language": "de"}]`), 0, "unknown instruction"},
		{"constraints", "", row(`["punctuation:no_comma"]`, `[7]`), 0, `the "kwargs" of punctuation:no_comma`},
		{"constraints", "", row(`["length_constraints:number_words"]`, `[{"relation": "less than"}]`), 0,
			"num_words is missing"},
		{"constraints", "", row(`["length_constraints:number_words"]`, `[{"num_words": 3}]`), 0, `the relation is ""`},
		{"constraints", "", row(`["keywords:existence"]`, `[{}]`), 0, "keywords is missing"},
		{"constraints", "", row(`["detectable_format:json_format"]`, `[{"schema": {"type": 3}}]`), 0, "no JSON Schema"},
	} {
		r, err := Open([]string{tc.spec}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		samples := []Sample{sample(t, tc.answer, tc.row)}
		err = r.Check(samples)
		got, err2 := r.Score(t.Context(), samples)
		if tc.err != "" {
			if err == nil || err2 == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, %v, want %q", tc.row, err, err2, tc.err)
			}
			continue
		}
		if err != nil || err2 != nil || got.Total[0] != tc.want {
			t.Errorf("%s of %q: got %v (%v, %v), want %g", tc.spec, tc.answer, got.Total, err, err2, tc.want)
		}
	}
	if _, err := Open([]string{"constraints=some"}, nil, Options{}); err == nil {
		t.Error("constraints=some is accepted")
	}
}
