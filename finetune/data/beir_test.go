package data_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/finetune/data"
)

// beir writes a folder of BEIR's with changes to its files, and to their names.
func beir(t *testing.T, change, rename map[string]string) string {
	t.Helper()
	files := map[string]string{
		"corpus.jsonl": `{"_id": "d1", "title": "Cows", "text": "They eat hay.", "metadata": {}}` + "\n" +
			`{"_id": "d2", "title": "", "text": "Fish swim."}` + "\n",
		"queries.jsonl":  `{"_id": "q1", "text": "what do cows eat?"}` + "\n" + `{"_id": "q2", "text": "who?"}` + "\n",
		"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t0\n",
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "qrels"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if other, ok := change[name]; ok {
			text = other
		}
		if to, ok := rename[name]; ok {
			name = to
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBEIR(t *testing.T) {
	dir := beir(t, nil, nil)
	b, err := data.OpenBEIR(t.Context(), dir, data.BEIRMeasured, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !data.IsBEIR(dir) || data.IsBEIR(t.TempDir()) || len(b.Documents) != 2 || len(b.Queries) != 1 ||
		b.Documents[0].Text != "Cows\n\nThey eat hay." || b.Documents[1].Text != "Fish swim." ||
		b.Judged[0][0] != 2 || len(b.Unjudged) != 1 {
		t.Errorf("got %+v", b)
	}
	for _, tc := range []struct{ file, text, want string }{
		{"corpus.jsonl", `{"id": "d1"}`, `corpus.jsonl:1: the fields are "id"; expected "_id" and "text"`},
		{"corpus.jsonl", `{"_id": "d1", "text": "a"}` + "\n" + `{"_id": "d1", "text": "b"}`,
			`corpus.jsonl:2: the name "d1" is taken`},
		{"corpus.jsonl", `{"_id": "d1", "text": " "}`, "corpus.jsonl:1: the text is empty"},
		{"corpus.jsonl", `{"_id": "d2", "text": "a"}`, `test.tsv:2: the document "d1", which answers query "q1"`},
		{"queries.jsonl", `{"_id": "q2", "text": "a"}`, `test.tsv:2: the query "q1" is not in queries.jsonl`},
		{"qrels/test.tsv", "query\tdocument\nq1\td1\n", `test.tsv:2: the columns are "query", "document"; expected`},
		{"qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tyes\n", `test.tsv:2: the score is "yes"`},
		{"qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t0\n", "of 2 queries none has a document"},
	} {
		_, err := data.OpenBEIR(t.Context(), beir(t, map[string]string{tc.file: tc.text}, nil), data.BEIRMeasured,
			data.Options{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %q: got %v, want %q", tc.file, tc.text, err, tc.want)
		}
	}
}

// TestBEIRRefused: where such a folder's judgements mean nothing it is refused, and the file of its texts is named.
func TestBEIRRefused(t *testing.T) {
	dir := beir(t, nil, nil)
	for _, want := range []data.Want{data.WantAnswers, data.WantPairs, data.WantPrompts, data.WantLikenesses} {
		_, err := data.Open(t.Context(), []string{dir}, data.Options{Want: want})
		if err == nil || !strings.Contains(err.Error(), "name their file: "+filepath.Join(dir, "corpus.jsonl")) {
			t.Errorf("%v: got %v", want, err)
		}
	}
}

// TestBEIRLearned: of each query with an answer there is an example for each answer, at the query's place, with what
// was judged to be none; held-out ones are those of dev.tsv or test.tsv.
func TestBEIRLearned(t *testing.T) {
	const table = "qrels/test.tsv"
	queries := `{"_id": "q2", "text": "who?"}` + "\n\n" + `{"_id": "q1", "text": "what do cows eat?"}` + "\n"
	dir := beir(t, map[string]string{"queries.jsonl": queries}, map[string]string{table: "qrels/train.tsv"})
	ds, err := data.Open(t.Context(), []string{dir}, data.Options{Want: data.WantGroups, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	tried[ds.Format()] = true
	x, err := ds.At(0)
	if err != nil {
		t.Fatal(err)
	}
	want := data.Example{Kind: data.KindGroup,
		Source: data.Source{File: filepath.Join(dir, "queries.jsonl"), Line: 3},
		Texts:  []string{"what do cows eat?", "Cows\n\nThey eat hay.", "Fish swim."}}
	if d := cmp.Diff(x, want, cmpopts.IgnoreUnexported(data.Example{})); d != "" || ds.Len() != 1 {
		t.Errorf("%d examples, got − want +:\n%s", ds.Len(), d)
	}
	if r := ds.Stats().Remarks; len(r) != 1 || r[0].Count != 1 || !strings.HasSuffix(r[0].First[0], "queries.jsonl:1") {
		t.Errorf("remarks %+v", r)
	}
	bare := beir(t, nil, nil)
	if err := os.RemoveAll(filepath.Join(bare, "qrels")); err != nil {
		t.Fatal(err)
	}
	_, err = data.Open(t.Context(), []string{bare}, data.Options{Want: data.WantGroups})
	if want := bare + " has corpus.jsonl and queries.jsonl, and no qrels/train.tsv"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("without tables: %v", err)
	}
	for _, held := range []bool{false, true} {
		_, err := data.Open(t.Context(), []string{beir(t, nil, nil)}, data.Options{Want: data.WantGroups, Held: held})
		if held != (err == nil) || err != nil && !strings.Contains(err.Error(), "no qrels/train.tsv: expected") {
			t.Errorf("held out %v, of a folder with test.tsv: %v", held, err)
		}
	}
}
