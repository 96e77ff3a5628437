package corpus

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/internal/count"
)

// A Retrieval is queries and the documents that are searched for what answers them. Equal texts are one.
type Retrieval struct {
	Queries, Documents []Text
	// Relevant has, of each query, the grades of the documents that answer it, above 0, by their numbers.
	Relevant []map[int]float64
	// Pairs and Triplets are the data's own: a query and a document that answers it, and one that does not.
	Pairs    [][2]int
	Triplets [][3]int
	Notes    []string

	queries, documents map[string]int // by text
}

// ReadRetrieval reads texts that belong together as queries and documents, and others to be searched beside these:
// plain texts, or the documents of such data, of the paths in beside. Of a folder of BEIR's the first of the tables
// counts that it has.
func ReadRetrieval(ctx context.Context, cfg *config.Config, paths, beside, tables []string) (*Retrieval, error) {
	r := &Retrieval{queries: map[string]int{}, documents: map[string]int{}}
	if len(paths) == 1 && data.IsBEIR(paths[0]) {
		if err := r.judged(ctx, cfg, paths[0], tables); err != nil {
			return nil, err
		}
	} else if err := r.groups(ctx, cfg, paths, r.group); err != nil {
		return nil, err
	}
	own := len(r.Documents)
	if len(beside) > 0 {
		if err := r.addBeside(ctx, cfg, beside); err != nil {
			return nil, err
		}
		r.Notes = append(r.Notes, fmt.Sprintf("%s of --corpus searched beside the %d of the data",
			count.Of(len(r.Documents)-own, "document"), own))
	}
	if len(r.Documents) < 2 {
		return nil, fmt.Errorf("%s: there is one document only, %s, and nothing to tell it from; give more data, or "+
			"texts to search beside it (--corpus)", r.Documents[0].Source, r.Documents[0].Source)
	}
	return r, nil
}

// groups reads groups of texts and gives each to add.
func (r *Retrieval) groups(ctx context.Context, cfg *config.Config, paths []string, add func(x *data.Example)) error {
	ds, err := openData(ctx, cfg, paths, data.Options{Want: data.WantGroups})
	if err != nil {
		return err
	}
	defer ds.Close()
	for i := range ds.Len() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x, err := ds.At(i)
		if err != nil {
			return err
		}
		add(&x)
	}
	r.Notes = append(r.Notes, dropNotes(ds)...)
	return nil
}

// judged reads a folder of BEIR's.
func (r *Retrieval) judged(ctx context.Context, cfg *config.Config, dir string, tables []string) error {
	b, err := data.OpenBEIR(ctx, dir, tables, data.Options{ReplaceInvalid: cfg.ReplaceInvalid})
	if err != nil {
		return err
	}
	for _, d := range b.Documents {
		r.document(d.Source.String(), d.Text)
	}
	for i, q := range b.Queries {
		at, new := number(&r.Queries, r.queries, Text{q.Source.String(), q.Text})
		if new {
			r.Relevant = append(r.Relevant, map[int]float64{})
		}
		for _, d := range slices.Sorted(maps.Keys(b.Judged[i])) {
			if grade := b.Judged[i][d]; grade > 0 {
				doc := r.documents[b.Documents[d].Text]
				r.Relevant[at][doc] = max(grade, r.Relevant[at][doc])
				r.Pairs = append(r.Pairs, [2]int{at, doc})
			}
		}
	}
	r.Notes = append(r.Notes, "judged by "+b.Split)
	if n := len(b.Unjudged); n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("queries without a document that answers them there: %d, left out", n))
	}
	return nil
}

func (r *Retrieval) group(x *data.Example) {
	q, new := number(&r.Queries, r.queries, Text{x.Source.String(), x.Texts[0]})
	if new {
		r.Relevant = append(r.Relevant, map[int]float64{})
	}
	good := r.document(x.Source.String(), x.Texts[1])
	r.Relevant[q][good] = 1
	r.Pairs = append(r.Pairs, [2]int{q, good})
	for _, t := range x.Texts[2:] {
		r.Triplets = append(r.Triplets, [3]int{q, good, r.document(x.Source.String(), t)})
	}
}

func (r *Retrieval) document(source, text string) int {
	d, _ := number(&r.Documents, r.documents, Text{source, text})
	return d
}

// number gives the place of a text in a list, at whose end it is put where it is new.
func number(list *[]Text, at map[string]int, t Text) (place int, new bool) {
	if i, ok := at[t.Text]; ok {
		return i, false
	}
	at[t.Text] = len(*list)
	*list = append(*list, t)
	return len(*list) - 1, true
}

// addBeside adds documents that answer nothing.
func (r *Retrieval) addBeside(ctx context.Context, cfg *config.Config, paths []string) error {
	texts, notes, err := ReadTexts(ctx, cfg, paths)
	if err == nil {
		for _, t := range texts {
			r.document(t.Source, t.Text)
		}
		r.Notes = append(r.Notes, notes...)
		return nil
	}
	groups := r.groups(ctx, cfg, paths, func(x *data.Example) {
		for _, t := range x.Texts[1:] {
			r.document(x.Source.String(), t)
		}
	})
	switch {
	case groups == nil || ctx.Err() != nil:
		return groups
	case groups.Error() == err.Error(): // the file's fault, and not its fields'
		return fmt.Errorf("--corpus: %w", err)
	}
	return fmt.Errorf("--corpus has neither texts, for\n%w\nnor texts that belong together, for\n%w", err, groups)
}

// Likenesses are pairs of texts with what people said of how much they are alike.
type Likenesses struct {
	Texts  []Text // each once
	Pairs  [][2]int
	Scores []float64
	Notes  []string
}

// ReadLikenesses reads pairs of texts with scores.
func ReadLikenesses(ctx context.Context, cfg *config.Config) (*Likenesses, error) {
	ds, err := openData(ctx, cfg, cfg.Data, data.Options{Want: data.WantLikenesses})
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	l := &Likenesses{Notes: dropNotes(ds)}
	texts := map[string]int{}
	for _, i := range sample(ds.Len(), cfg) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		x, err := ds.At(i)
		if err != nil {
			return nil, err
		}
		var pair [2]int
		for k, t := range x.Texts {
			pair[k], _ = number(&l.Texts, texts, Text{x.Source.String(), t})
		}
		l.Pairs, l.Scores = append(l.Pairs, pair), append(l.Scores, x.Score)
	}
	for _, s := range l.Scores {
		if s != l.Scores[0] {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s: every score is %g: nothing can be correlated with it; give pairs with scores that "+
		"differ", ds.Source(0), l.Scores[0])
}

// Rank ranks the documents for a query by their scores. One that is the query itself answers nothing.
func (r *Retrieval) Rank(query int, scores []float64) eval.Ranking {
	itself, ok := r.documents[r.Queries[query].Text]
	if !ok {
		itself = -1
	}
	return eval.Rank(scores, r.Relevant[query], itself)
}

// Measured draws the queries that are measured: at most cfg.EvalRows, ascending.
func (r *Retrieval) Measured(cfg *config.Config) []int { return sample(len(r.Queries), cfg) }
