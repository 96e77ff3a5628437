package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/bm25"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/vectors"
)

// MakesVectors says whether a model, with the adapter that a path names unless that is "", is measured by the vectors
// that it makes of texts: by the method that was chosen, or that the adapter is of, or by what the model's file says.
func MakesVectors(cfg *config.Config, adapterPath string, given func(option string) bool) bool {
	pools := func(name string) bool {
		how, err := method.New(name, nil, nil)
		return err == nil && how.Need.Pools()
	}
	if given("method") {
		return pools(cfg.Method)
	}
	if adapterPath != "" {
		path, err := checkpoint.FindAdapter(adapterPath)
		if err != nil {
			return false
		}
		made, err := origin.Read(path)
		return err == nil && pools(made.Method())
	}
	f, err := gguf.Open(cfg.Model)
	if err != nil {
		return false
	}
	defer f.Close()
	said, err := arch.PoolingIn(f)
	return err == nil && said.Pools()
}

// A VectorConfig says how vectors are measured.
type VectorConfig struct {
	// Dimensions are widths to which vectors are cut, as Matryoshka models can be, beside the whole ones.
	Dimensions []int
	// Corpus lists files of documents that are searched beside those of the data.
	Corpus []string
}

// Embedded is what `ggtune eval` finds out of a model that makes vectors.
type Embedded struct {
	Queries, Documents int // of retrieval
	Triplets           int // of them, a query with a document that answers it and one that does not
	Pairs              int // with scores
	Texts              int // of nothing else
	Widths             []AtWidth
	BM25               []Score // what is found by words alone; of retrieval
	Model, Adapter     string  // Adapter "" for the model alone
	Pooling            string
	// Loss is the method's, of the data's examples, where one was chosen or the adapter is of one; nil: there is none.
	Loss *Evaluation
}

// AtWidth is what vectors of a width are worth: the whole ones, or their first numbers.
type AtWidth struct {
	Width  int
	Scores []Score
	// Uniformity is eval.Uniformity's, and BaseUniformity the same without the adapter; nil without one.
	Uniformity     float64
	BaseUniformity *float64
}

func (w *AtWidth) put(m map[string]any) {
	for i := range w.Scores {
		w.Scores[i].put(m)
	}
	m["uniformity"] = finite(w.Uniformity)
	if w.BaseUniformity != nil {
		m["base_uniformity"] = finite(*w.BaseUniformity)
	}
}

// MarshalJSON writes the figures of whole vectors under their names, and those of others in a list.
func (e Embedded) MarshalJSON() ([]byte, error) {
	m := map[string]any{"model": e.Model, "adapter": nil, "pooling": e.Pooling, "loss": nil}
	if e.Adapter != "" {
		m["adapter"] = e.Adapter
	}
	if e.Loss != nil {
		m["loss"], m["method"] = finite(e.Loss.Loss), e.Loss.Method
		if e.Loss.BaseLoss != nil {
			m["base_loss"] = finite(*e.Loss.BaseLoss)
		}
		for name, x := range e.Loss.Figures {
			m[name] = finite(x)
		}
	}
	for name, n := range map[string]int{"queries": e.Queries, "documents": e.Documents, "triplets": e.Triplets,
		"pairs": e.Pairs, "texts": e.Texts} {
		if n > 0 {
			m[name] = n
		}
	}
	e.Widths[0].put(m)
	m["width"] = e.Widths[0].Width
	var cut []map[string]any
	for i := range e.Widths[1:] {
		w := map[string]any{"width": e.Widths[i+1].Width}
		e.Widths[i+1].put(w)
		cut = append(cut, w)
	}
	if cut != nil {
		m["dimensions"] = cut
	}
	if e.BM25 != nil {
		words := map[string]any{}
		for i := range e.BM25 {
			e.BM25[i].put(words)
		}
		m["bm25"] = words
	}
	return json.Marshal(m)
}

// EvaluateVectors measures the vectors that a model makes of cfg.Data, and without the adapter too: of texts that
// belong together how well what answers a query is found among all documents, of pairs with scores how the cosines
// agree with them, of texts alone, where the method learns from such, how evenly they are spread. Otherwise it is as
// Evaluate.
func EvaluateVectors(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool,
	vc VectorConfig, rep report.Reporter) (_ Embedded, err error) {
	m, err := openForVectors(ctx, &cfg, adapterPath, given, rep)
	if err != nil {
		return Embedded{}, err
	}
	loss, err := m.lossOfVectors(ctx, &cfg, given, rep)
	if err != nil {
		return Embedded{}, errors.Join(err, m.model.Close())
	}
	e, err := m.embedder(&cfg, rep)
	if err != nil {
		return Embedded{}, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out := Embedded{Model: cfg.Model, Adapter: e.Adapter(), Pooling: e.Pooling(), Loss: loss}
	width := e.m.model.HParams().NEmbd
	for _, w := range vc.Dimensions {
		if w < 1 || w >= width {
			return out, &config.Error{Err: fmt.Errorf("--dimensions has %d; expected 1 to %d, fewer than the "+
				"vectors have", w, width-1)}
		}
	}
	vc.Dimensions = append([]int{width}, vc.Dimensions...)
	r, err := corpus.ReadRetrieval(ctx, e.cfg, e.cfg.Data, vc.Corpus, data.BEIRMeasured)
	var unsuited *data.UnsuitedError
	switch {
	case err == nil:
		return out, e.retrieval(ctx, r, vc.Dimensions, &out)
	case errors.As(err, &unsuited) && unsuited.Gives == data.WantLikenesses && len(vc.Corpus) > 0:
		return out, errors.New("--corpus has documents to search, and the data has pairs with scores, which " +
			"nothing is searched for; leave it out")
	case errors.As(err, &unsuited) && unsuited.Gives == data.WantLikenesses:
		return out, e.likenesses(ctx, vc.Dimensions, &out)
	case errors.As(err, &unsuited) && unsuited.Gives == data.WantAnswers && loss != nil && len(vc.Corpus) == 0:
		return out, e.alone(ctx, vc.Dimensions, &out)
	}
	return out, err
}

// alone measures texts that a method learns from as they are: how evenly they are spread.
func (e *Embedder) alone(ctx context.Context, widths []int, out *Embedded) error {
	texts, _, err := corpus.ReadTexts(ctx, e.cfg, e.cfg.Data) // what was left out the loss's reading has said
	if err != nil {
		return err
	}
	out.Texts = len(texts)
	all, err := e.both(func(base bool) (vectors.Matrix, error) { return e.Documents(ctx, texts, base) })
	if err != nil {
		return err
	}
	for _, w := range widths {
		at := AtWidth{Width: w}
		at.uniform(all.cut(w), both{})
		out.Widths = append(out.Widths, at)
	}
	return nil
}

// lossOfVectors measures the loss of the method that was chosen, or that the adapter is of; nil where there is none, or
// where the data has no examples of it: of these there are figures all the same.
func (m *measured) lossOfVectors(ctx context.Context, cfg *config.Config, given func(option string) bool,
	rep report.Reporter) (*Evaluation, error) {
	if !m.made.Pools() && !given("method") || len(cfg.Data) == 1 && data.IsBEIR(cfg.Data[0]) {
		return nil, nil
	}
	e, err := m.evaluate(ctx, cfg, given, rep)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil:
		return &e, nil
	}
	var unsuited *data.UnsuitedError
	if !errors.As(err, &unsuited) && !errors.Is(err, data.ErrNoScores) {
		return nil, err
	}
	rep.Report(report.Notice{Text: fmt.Sprintf("the loss is not measured: %v", err)})
	return nil, nil
}

// both are vectors of the same texts, of the base where there is an adapter, and of what is measured.
type both struct{ base, tuned vectors.Matrix }

// of makes them.
func (e *Embedder) both(of func(base bool) (vectors.Matrix, error)) (b both, err error) {
	if e.m.adapter != "" {
		if b.base, err = of(true); err != nil {
			return b, err
		}
	}
	b.tuned, err = of(false)
	return b, err
}

// cut gives the first numbers of each, at length 1.
func (b both) cut(width int) both {
	for _, m := range []*vectors.Matrix{&b.base, &b.tuned} {
		if m.Data != nil && m.Width != width {
			*m = m.First(width)
			m.Normalize()
		}
	}
	return b
}

// scores gives a figure with its interval, and, unless base is nil, by how much it is above the base's.
func (e *Embedder) scores(name string, base, tuned []float64) Score {
	s := scored{name: name, base: base, tuned: tuned, seed: e.cfg.Seed}
	return s.score()
}

func (e *Embedder) retrieval(ctx context.Context, r *corpus.Retrieval, widths []int, out *Embedded) error {
	e.m.notes(r.Notes)
	which := r.Measured(e.cfg)
	out.Queries, out.Documents = len(which), len(r.Documents)
	queries, err := e.both(func(base bool) (vectors.Matrix, error) { return e.Queries(ctx, r.Queries, base) })
	if err != nil {
		return err
	}
	documents, err := e.both(func(base bool) (vectors.Matrix, error) { return e.Documents(ctx, r.Documents, base) })
	if err != nil {
		return err
	}
	for _, w := range widths {
		q, d := queries.cut(w), documents.cut(w)
		at := AtWidth{Width: w}
		values := func(q, d vectors.Matrix) (list []named, err error) {
			if q.Data == nil {
				return nil, nil
			}
			ranked, err := eval.RankAll(ctx, len(which), func(i int) eval.Ranking {
				return r.Rank(which[i], eval.Cosines(q.Row(which[i]), d))
			})
			if err != nil {
				return nil, err
			}
			return append(measuresOf(ranked), aboutPairs(r, q, d)...), nil
		}
		base, err := values(q.base, d.base)
		if err != nil {
			return err
		}
		tuned, err := values(q.tuned, d.tuned)
		if err != nil {
			return err
		}
		at.add(e, base, tuned)
		at.uniform(q, d)
		out.Widths = append(out.Widths, at)
	}
	out.Triplets = len(r.Triplets)
	return e.words(ctx, r, which, out)
}

// words measures what BM25 finds.
func (e *Embedder) words(ctx context.Context, r *corpus.Retrieval, which []int, out *Embedded) error {
	texts := make([]string, len(r.Documents))
	for i, d := range r.Documents {
		texts[i] = d.Text
	}
	index := bm25.New(texts)
	ranked, err := eval.RankAll(ctx, len(which), func(i int) eval.Ranking {
		return r.Rank(which[i], index.Scores(r.Queries[which[i]].Text))
	})
	if err != nil {
		return err
	}
	for _, n := range measuresOf(ranked) {
		out.BM25 = append(out.BM25, e.scores(n.name, nil, n.values))
	}
	return nil
}

// named are the values of a figure, one for each thing that it is the mean of.
type named struct {
	name   string
	values []float64
}

func measuresOf(ranked []eval.Ranking) (out []named) {
	for _, m := range eval.Measures() {
		n := named{name: m.Name}
		for _, r := range ranked {
			n.values = append(n.values, m.Of(r))
		}
		out = append(out, n)
	}
	return out
}

// aboutPairs are the figures of the data's pairs and triplets: how often the document that answers is nearer than the
// one that does not, ties counting half, and how far the former is.
func aboutPairs(r *corpus.Retrieval, q, d vectors.Matrix) (out []named) {
	if len(r.Triplets) > 0 {
		n := named{name: "triplet_accuracy"}
		for _, t := range r.Triplets {
			lead := vectors.Dot(q.Row(t[0]), d.Row(t[1])) - vectors.Dot(q.Row(t[0]), d.Row(t[2]))
			n.values = append(n.values, eval.Side(lead))
		}
		out = append(out, n)
	}
	n := named{name: "alignment"}
	for _, p := range r.Pairs {
		n.values = append(n.values, eval.Distance2(q.Row(p[0]), d.Row(p[1])))
	}
	return append(out, n)
}

func (w *AtWidth) add(e *Embedder, base, tuned []named) {
	for i, n := range tuned {
		var before []float64
		if base != nil {
			before = base[i].values
		}
		w.Scores = append(w.Scores, e.scores(n.name, before, n.values))
	}
}

// uniform says how evenly queries and documents together are spread.
func (w *AtWidth) uniform(q, d both) {
	join := func(a, b vectors.Matrix) vectors.Matrix {
		return vectors.Matrix{Width: a.Width, Data: append(append([]float32{}, a.Data...), b.Data...)}
	}
	w.Uniformity = eval.Uniformity(join(q.tuned, d.tuned))
	if q.base.Data != nil {
		u := eval.Uniformity(join(q.base, d.base))
		w.BaseUniformity = &u
	}
}

func (e *Embedder) likenesses(ctx context.Context, widths []int, out *Embedded) error {
	l, err := corpus.ReadLikenesses(ctx, e.cfg)
	if err != nil {
		return err
	}
	e.m.notes(l.Notes)
	out.Pairs = len(l.Pairs)
	all, err := e.both(func(base bool) (vectors.Matrix, error) { return e.Queries(ctx, l.Texts, base) })
	if err != nil {
		return err
	}
	for _, w := range widths {
		b := all.cut(w)
		var lists [][]float64
		for _, m := range []vectors.Matrix{b.base, b.tuned} {
			if m.Data == nil {
				continue
			}
			list := make([]float64, len(l.Pairs))
			for i, p := range l.Pairs {
				list[i] = vectors.Dot(m.Row(p[0]), m.Row(p[1]))
			}
			lists = append(lists, list)
		}
		at := AtWidth{Width: w}
		for _, c := range eval.Correlates() {
			each, change := c.Correlate(l.Scores, e.cfg.Seed, lists...)
			s := Score{Name: c.Name, Share: each[len(each)-1], Change: change}
			if math.IsNaN(s.Share.Value) || len(each) > 1 && math.IsNaN(each[0].Value) {
				return fmt.Errorf("%s: all cosines are equal: nothing can be correlated with them; look at the "+
					"model with ggtune check", out.Model)
			}
			if change != nil {
				s.Base = &each[0]
			}
			at.Scores = append(at.Scores, s)
		}
		at.uniform(b, both{})
		out.Widths = append(out.Widths, at)
	}
	return nil
}
