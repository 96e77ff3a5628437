package data

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A BEIR is a test of retrieval as the folders of BEIR have it (Thakur et al. 2021): documents in corpus.jsonl, queries
// in queries.jsonl, and in qrels/ a table of which answer which.
type BEIR struct {
	Documents, Queries []Named
	// Judged has, of each query that has any, the grades of documents by their numbers.
	Judged []map[int]float64
	Split  string // the file of grades
	// Unjudged is how many queries of the folder have no document that answers them, and are left out.
	Unjudged int
}

// A Named is a text with a name of its own.
type Named struct {
	Source Source
	ID     string
	Text   string
}

// The files of such a folder; of the last the first that is there is read.
const beirDocuments, beirQueries = "corpus.jsonl", "queries.jsonl"

var beirSplits = []string{"test.tsv", "dev.tsv", "train.tsv"}

// IsBEIR says whether a path names such a folder.
func IsBEIR(path string) bool {
	for _, name := range []string{beirDocuments, beirQueries, "qrels"} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// OpenBEIR reads such a folder.
func OpenBEIR(ctx context.Context, dir string, opts Options) (*BEIR, error) {
	d := &Dataset{opts: opts.withDefaults()}
	defer d.Close()
	b := &BEIR{}
	documents, queries := map[string]int{}, map[string]int{}
	err := d.named(ctx, filepath.Join(dir, beirDocuments), documents, func(t Named) {
		b.Documents = append(b.Documents, t)
	})
	if err != nil {
		return nil, err
	}
	var all []Named
	err = d.named(ctx, filepath.Join(dir, beirQueries), queries, func(t Named) { all = append(all, t) })
	if err != nil {
		return nil, err
	}
	grades, err := d.judgements(ctx, dir, b, documents, queries)
	if err != nil {
		return nil, err
	}
	for i, q := range all {
		answered := false
		for _, grade := range grades[i] {
			answered = answered || grade > 0
		}
		if !answered {
			b.Unjudged++
			continue
		}
		b.Queries, b.Judged = append(b.Queries, q), append(b.Judged, grades[i])
	}
	if len(b.Queries) == 0 {
		return nil, fmt.Errorf("%s: of %d queries none has a document that answers it in %s: there is nothing to "+
			"search for", dir, len(all), b.Split)
	}
	return b, nil
}

// each reads the records of a file.
func (d *Dataset) each(ctx context.Context, name string, use func(r *Record) error) error {
	f, err := openFile(name, &d.opts, &room{o: &d.opts}, func() error { return context.Cause(ctx) })
	if err != nil {
		return err
	}
	d.files = append(d.files, f)
	n := 0
	err = f.box.scan(func(p place, raw []byte) error {
		n++
		r, err := d.record(f, p, raw)
		if err == nil {
			err = use(r)
		}
		return err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: the file holds no records", name)
	}
	return err
}

// named reads texts with names, and numbers these.
func (d *Dataset) named(ctx context.Context, path string, number map[string]int, add func(Named)) error {
	return d.each(ctx, path, func(r *Record) error {
		if !r.Has("_id", "text") {
			return r.errorf("the fields are %s; expected \"_id\" and \"text\", and \"title\" if there is one",
				quoted(r.Names()))
		}
		id, err := r.Text("_id")
		if err != nil {
			return err
		}
		if _, twice := number[id]; twice {
			return r.errorf("the name %q is taken by a text before it; expected names that differ", id)
		}
		number[id] = len(number)
		v, err := json.Marshal(map[string]json.RawMessage{"title": valueOf(r, "title"), "text": valueOf(r, "text")})
		if err != nil {
			return r.errorf("%v", err)
		}
		text, err := documentText(r, v)
		if err != nil {
			return err
		}
		if strings.TrimSpace(text) == "" {
			return r.errorf("the text is empty; remove it, or give it a text")
		}
		add(Named{r.Source, id, text})
		return nil
	})
}

// valueOf is a field's value; of one that is absent, or null, an empty text.
func valueOf(r *Record, name string) json.RawMessage {
	if v, ok := r.Get(name); ok && string(v) != "null" {
		return v
	}
	return json.RawMessage(`""`)
}

// judgements reads the table of grades, by the numbers of queries and documents.
func (d *Dataset) judgements(ctx context.Context, dir string, b *BEIR, documents, queries map[string]int) (
	map[int]map[int]float64, error) {
	out := map[int]map[int]float64{}
	for _, name := range beirSplits {
		if _, err := os.Stat(filepath.Join(dir, "qrels", name)); err == nil {
			b.Split = filepath.Join(dir, "qrels", name)
			break
		}
	}
	if b.Split == "" {
		return nil, fmt.Errorf("%s: qrels holds none of %s; expected a table of which documents answer which "+
			"queries", dir, strings.Join(beirSplits, ", "))
	}
	return out, d.each(ctx, b.Split, func(r *Record) error {
		const query, document, score = "query-id", "corpus-id", "score"
		if !r.Has(query, document, score) {
			return r.errorf("the columns are %s; expected %q, %q and %q", quoted(r.Names()), query, document, score)
		}
		var cell [3]string
		for i, name := range []string{query, document, score} {
			var err error
			if cell[i], err = r.Text(name); err != nil {
				return err
			}
		}
		q, ok := queries[cell[0]]
		if !ok {
			return r.errorf("the query %q is not in %s", cell[0], beirQueries)
		}
		doc, ok := documents[cell[1]]
		if !ok {
			return r.errorf("the document %q, which answers query %q, is not in %s: it could not be found by "+
				"anything; give the whole corpus", cell[1], cell[0], beirDocuments)
		}
		grade, err := strconv.ParseFloat(cell[2], 64)
		if err != nil || grade-grade != 0 {
			return r.errorf("the score is %q; expected a number, 0 where the document does not answer the "+
				"query", cell[2])
		}
		if out[q] == nil {
			out[q] = map[int]float64{}
		}
		out[q][doc] = grade
		return nil
	})
}
