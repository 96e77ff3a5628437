package data

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	// Unjudged are the places of the folder's queries that have no document which answers them, and are left out.
	Unjudged []Source
}

// A Named is a text with a name of its own.
type Named struct {
	Source Source
	ID     string
	Text   string
}

// The files of such a folder.
const beirDocuments, beirQueries = "corpus.jsonl", "queries.jsonl"

// Tables of such a folder, of which the first that is there is read: to measure by, to learn from, and to measure by
// what is learned there.
var (
	BEIRMeasured = []string{"test.tsv", "dev.tsv", "train.tsv"}
	BEIRLearned  = []string{"train.tsv"}
	BEIRHeld     = []string{"dev.tsv", "test.tsv"}
)

// IsBEIR says whether a path names such a folder, be it without its tables.
func IsBEIR(path string) bool {
	for _, name := range []string{beirDocuments, beirQueries} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// OpenBEIR reads such a folder, with the first of the tables that it has.
func OpenBEIR(ctx context.Context, dir string, tables []string, opts Options) (*BEIR, error) {
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
	grades, err := d.judgements(ctx, dir, tables, b, documents, queries)
	if err != nil {
		return nil, err
	}
	for i, q := range all {
		answered := false
		for _, grade := range grades[i] {
			answered = answered || grade > 0
		}
		if !answered {
			b.Unjudged = append(b.Unjudged, q.Source)
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

// OpenBEIRDocuments reads the documents of such a folder alone.
func OpenBEIRDocuments(ctx context.Context, dir string, opts Options) (documents []Named, err error) {
	d := &Dataset{opts: opts.withDefaults()}
	defer d.Close()
	err = d.named(ctx, filepath.Join(dir, beirDocuments), map[string]int{}, func(t Named) {
		documents = append(documents, t)
	})
	return documents, err
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
func (d *Dataset) judgements(ctx context.Context, dir string, tables []string, b *BEIR,
	documents, queries map[string]int) (map[int]map[int]float64, error) {
	out := map[int]map[int]float64{}
	for _, name := range tables {
		if _, err := os.Stat(filepath.Join(dir, "qrels", name)); err == nil {
			b.Split = filepath.Join(dir, "qrels", name)
			break
		}
	}
	if b.Split == "" {
		why := ""
		if slices.Equal(tables, BEIRLearned) {
			why = "; what is measured by test.tsv is not learned from"
		}
		return nil, fmt.Errorf("%s has %s and %s, and no qrels/%s: expected a table of which documents answer which "+
			"queries%s", dir, beirDocuments, beirQueries, strings.Join(tables, " or qrels/"), why)
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

// addBEIR reads such a folder into the index: of each query that has an answer a record, at its place in the file of
// queries, with all documents that answer it, and those that were judged to answer it not.
func (d *Dataset) addBEIR(ctx context.Context, dir string, rm *room, h hash.Hash) error {
	tables := BEIRLearned
	if d.opts.Held {
		tables = BEIRHeld
	}
	b, err := OpenBEIR(ctx, dir, tables, Options{ReplaceInvalid: d.opts.ReplaceInvalid})
	if err != nil {
		return err
	}
	w := &spool{room: rm}
	f := &file{path: filepath.Join(dir, beirQueries), close: w.discard}
	d.files = append(d.files, f)
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	line := 1
	for i, q := range b.Queries {
		for ; line < q.Source.Line; line++ {
			buf.WriteByte('\n') // an error stays, and is Flush's
		}
		var x struct {
			Query     string   `json:"query"`
			Positives []string `json:"positives"`
			Negatives []string `json:"negatives,omitempty"`
		}
		x.Query = q.Text
		for _, doc := range slices.Sorted(maps.Keys(b.Judged[i])) {
			to := &x.Negatives
			if b.Judged[i][doc] > 0 {
				to = &x.Positives
			}
			*to = append(*to, b.Documents[doc].Text)
		}
		if err := enc.Encode(x); err != nil {
			return fmt.Errorf("%s: %w", q.Source, err)
		}
		line++
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("%s: putting queries and documents together: %w", dir, err)
	}
	f.in, f.size = w.readerAt(), w.size
	f.box = &linesBox{f: f, o: &d.opts}
	d.stats.Judged = append(d.stats.Judged, b.Split)
	for _, at := range b.Unjudged {
		d.stats.Remarks = note(d.stats.Remarks, "a query that nothing answers in "+b.Split+" is left out", at)
	}
	return d.scan(f, h)
}
