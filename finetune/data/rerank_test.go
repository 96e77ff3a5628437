package data_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestRerank: documents under a query, in all their forms, as verdicts and as pairs.
func TestRerank(t *testing.T) {
	const q = `user "q" train false `
	for name, c := range map[string]struct {
		format, content string
		verdicts, pairs []string
	}{
		"one": {"rerank", `{"query": "q", "document": "d", "relevant": true}
{"query": "q", "passage": "e", "label": 0}
{"query": "q", "document": {"title": "T", "text": "f"}, "label": "1"}`,
			[]string{q + `+ assistant "d"`, q + `- assistant "e"`, q + `+ assistant "T\n\nf"`}, nil},
		"lists": {"rerank-lists", `{"query": "q", "pos": ["a", {"text": "b"}], "neg": ["c"]}`,
			[]string{q + `+ assistant "a"`, q + `+ assistant "b"`, q + `- assistant "c"`},
			[]string{q + `+ assistant "a" - assistant "c"`, q + `+ assistant "b" - assistant "c"`}},
		"triplet": {"rerank-lists", `{"anchor": "q", "positive": "a", "negative": "b"}`,
			[]string{q + `+ assistant "a"`, q + `- assistant "b"`}, []string{q + `+ assistant "a" - assistant "b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "a.jsonl", c.content)
			checkChoices(t, open(t, data.Options{Want: data.WantVerdicts}, path), c.format, c.verdicts)
			d, err := data.Open(t.Context(), []string{path}, data.Options{Want: data.WantPairs})
			if c.pairs == nil {
				if err == nil || !strings.Contains(err.Error(), "verdicts on single answers") {
					t.Errorf("as pairs: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			checkChoices(t, d, c.format, c.pairs)
			var weights []float64
			for i := range d.Len() {
				e, err := d.At(i)
				if err != nil {
					t.Fatal(err)
				}
				weights = append(weights, e.Weight)
			}
			if want := slices.Repeat([]float64{1 / float64(len(c.pairs))}, len(c.pairs)); !slices.Equal(weights, want) {
				t.Errorf("weights %v, want %v", weights, want)
			}
		})
	}
}

// TestRerankRefused: what is no document or no verdict is named, and who asks for plain answers is told what it is.
func TestRerankRefused(t *testing.T) {
	for name, c := range map[string]struct {
		content, fault string
		opts           data.Options
	}{
		"graded": {`{"query": "q", "document": "d", "relevant": 3}`, "expected true (relevant) or false",
			data.Options{Want: data.WantVerdicts}},
		"no text": {`{"query": "q", "document": {"body": "d"}, "relevant": 1}`, `expected "text"`,
			data.Options{Want: data.WantVerdicts}},
		"a list": {`{"query": "q", "document": [1], "relevant": 1}`, "a document is a list",
			data.Options{Want: data.WantVerdicts}},
		"plain wanted": {`{"query": "q", "document": "d", "relevant": true}`, "verdicts on answers", data.Options{}},
		"lists, plain": {`{"query": "q", "pos": "d", "neg": "e"}`, "choices between answers", data.Options{}},
		"margins": {`{"query": "q", "pos": "d", "neg": "e"}`, "--margin",
			data.Options{Want: data.WantPairs, Margins: true}},
	} {
		_, err := data.Open(t.Context(), []string{write(t, "a.jsonl", c.content)}, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}
