package data_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
)

// beir writes a folder of BEIR's with changes to its files.
func beir(t *testing.T, change map[string]string) string {
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
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBEIR(t *testing.T) {
	dir := beir(t, nil)
	b, err := data.OpenBEIR(t.Context(), dir, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !data.IsBEIR(dir) || data.IsBEIR(t.TempDir()) || len(b.Documents) != 2 || len(b.Queries) != 1 ||
		b.Documents[0].Text != "Cows\n\nThey eat hay." || b.Documents[1].Text != "Fish swim." ||
		b.Judged[0][0] != 2 || b.Unjudged != 1 {
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
		_, err := data.OpenBEIR(t.Context(), beir(t, map[string]string{tc.file: tc.text}), data.Options{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %q: got %v, want %q", tc.file, tc.text, err, tc.want)
		}
	}
}
