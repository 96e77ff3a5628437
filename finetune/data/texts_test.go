package data_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestTexts: texts of which vectors are made, under the names that they have.
func TestTexts(t *testing.T) {
	for name, c := range map[string]struct {
		format, content string
		want            data.Want
		examples        []string
	}{
		"pairs": {"text-groups", `{"anchor": "a", "positive": "b"}
{"query": "c", "answer": "d"}
{"sentence1": "e", "sentence2": "f"}
{"question": "g", "document": {"title": "T", "text": "h"}}`, data.WantGroups,
			[]string{`"a" and "b"`, `"c" and "d"`, `"e" and "f"`, `"g" and "T\n\nh"`}},
		"negatives": {"text-groups", `{"anchor": "a", "positive": "b", "negative": "c"}
{"query": "d", "pos": ["e", "f"], "neg": ["g", "h"]}
{"anchor": "i", "positive": "j", "negative_1": "k", "negative_2": "l"}
{"anchor": "m", "positive": "n", "negative_1": null, "negative_2": " "}`, data.WantGroups,
			[]string{`"a" and "b" not "c"`, `"d" and "e" not "g" "h"`, `"d" and "f" not "g" "h"`,
				`"i" and "j" not "k" "l"`, `"m" and "n"`}},
		"sets": {"text-sets", `{"set": ["a", "b", "c"]}`, data.WantGroups, []string{`"a" and "b"`, `"b" and "c"`}},
		"scores": {"text-scores", `{"sentence1": "a", "sentence2": "b", "score": 0.5}
{"sentence_A": "c", "sentence_B": "d", "relatedness_score": "4.5"}
{"text1": "e", "text2": "e", "label": true}`, data.WantLikenesses,
			[]string{`"a" and "b": 0.5`, `"c" and "d": 4.5`, `"e" and "e": 1`}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, data.Options{Want: c.want}, write(t, "a.jsonl", c.content))
			checkChoices(t, d, c.format, c.examples)
		})
	}
}

// TestTextsDropped: what would teach nothing, or the wrong thing, is left out and counted.
func TestTextsDropped(t *testing.T) {
	d := open(t, data.Options{Want: data.WantGroups}, write(t, "a.jsonl", `{"anchor": "a", "positive": "b"}
{"anchor": "a", "positive": "a"}
{"anchor": "a", "positive": " "}
{"anchor": "a", "positive": "b", "negatives": ["c", "b"]}
{"anchor": "a", "positive": []}`))
	var got []string
	for _, drop := range d.Stats().Dropped {
		got = append(got, drop.Reason)
	}
	if diff := cmp.Diff([]string{"the two texts are equal", "empty text", "the positive is among the negatives",
		"no text that belongs to the anchor"}, got); diff != "" || d.Len() != 1 {
		t.Errorf("%d left; -want +got:\n%s", d.Len(), diff)
	}
	d = open(t, data.Options{Want: data.WantGroups}, write(t, "b.jsonl", `{"set": ["a", "b"]}`+"\n"+`{"set": ["c"]}`))
	if n := len(d.Stats().Dropped); n != 1 || d.Len() != 1 {
		t.Errorf("%d of a set of one left out, %d left", n, d.Len())
	}
}

// TestTextsRefused: data of which no such texts can be made, and such texts where others are wanted.
func TestTextsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		content, fault string
		want           data.Want
	}{
		"one text":  {`{"text": "a"}`, `found texts alone, and this needs texts that belong together`, data.WantGroups},
		"scores":    {`{"sentence1": "a", "sentence2": "b", "score": 1}`, "cosent and cosine learn", data.WantGroups},
		"no scores": {`{"anchor": "a", "positive": "b"}`, "mnrl learns from these", data.WantLikenesses},
		"not a score": {`{"text1": "a", "text2": "b", "label": "entailment"}`, "expected a number",
			data.WantLikenesses},
		"an object": {`{"anchor": "a", "positive": {"body": "b"}}`, `expected "text"`, data.WantGroups},
		"answers": {`{"sentence1": "a", "sentence2": "b"}`, "read them so with --method mnrl; to read one of",
			data.WantAnswers},
		"pairs of answers": {`{"sentence1": "a", "sentence2": "b", "score": 1}`, "of which vectors are learned",
			data.WantPairs},
	} {
		_, err := data.Open(t.Context(), []string{write(t, "a.jsonl", c.content)}, data.Options{Want: c.want})
		if err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "a.jsonl:1") {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}

// TestGroupMargins: a teacher's scores are read as margins, one for each negative, where they are asked for; a group
// with a number is not two texts with a score.
func TestGroupMargins(t *testing.T) {
	const group = `{"anchor": "a", "positive": "b", "negatives": ["c", "d"], `
	for _, tc := range []struct {
		row  string
		want []float64
		err  string
	}{
		{group + `"scores": [3, 1.5]}`, []float64{3, 1.5}, ""},
		{group + `"label": "[3, 1.5, -2]"}`, []float64{1.5, 5}, ""},
		{`{"anchor": "a", "positive": "b", "negative": "c", "label": 0.5}`, []float64{0.5}, ""},
		{group + `"label": 3}`, nil, `field "label" has 1 numbers for a positive and 2 negatives`},
		{group + `"margin": [3, "much"]}`, nil, `field "margin" has a string, "much"; expected a number`},
		{group + `"origin": 3}`, nil, `the fields are "anchor", "positive", "negatives", "origin"; expected "scores"`},
		{`{"anchor": "a", "positives": ["b", "c"], "negative": "d", "score": 1}`, nil, "there are 2 positives"},
	} {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(path, []byte(tc.row), 0o666); err != nil {
			t.Fatal(err)
		}
		ds, err := data.Open(t.Context(), []string{path}, data.Options{Want: data.WantGroups, Margins: true})
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, want %q", tc.row, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.row, err)
			continue
		}
		defer ds.Close()
		if x, err := ds.At(0); err != nil || !slices.Equal(x.Margins, tc.want) {
			t.Errorf("%s: got %v, %v, want %v", tc.row, x.Margins, err, tc.want)
		}
	}
}
