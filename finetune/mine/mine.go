// Package mine chooses hard negatives: documents that a model takes for an answer to a query and that are none. It
// knows vectors, and no text or model.
package mine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/ggtune/ggtune/finetune/vectors"
	"github.com/ggtune/ggtune/internal/registry"
)

// Options say which documents are taken. The names are those of sentence-transformers' mine_hard_negatives, as far as
// it has them.
type Options struct {
	// Negatives is how many each pair gets, at least 1.
	Negatives int
	// From and To are the ranks, from 1, between which negatives lie, the relevant documents left out.
	From, To int
	// Margin is by how much a negative's cosine must be below that of the pair's own document; 0: not at all.
	Margin float64
	// RelativeMargin is the same as a share of that cosine, below 1. What is nearer is taken for an answer that nobody
	// marked: of those tried, 0.05 made the best negatives (Moreira et al. 2024, NV-Retriever, TopK-PercPos).
	RelativeMargin float64
	// Sampling says which of several are taken: see Samplings.
	Sampling string
	// Seed draws, where they are drawn.
	Seed uint64
}

// Samplings lists them: the hardest, or some at random.
func Samplings() []string { return []string{top, random} }

const top, random = "top", "random"

// Default gives the usual options.
func Default() Options {
	return Options{Negatives: 3, From: 1, To: 100, RelativeMargin: 0.05, Sampling: top, Seed: 1}
}

// Validate reports every fault of the options, under the names of the command line.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Negatives < 1 {
		bad("--negatives is %d; expected 1 or more", o.Negatives)
	}
	if o.From < 1 || o.To < o.From {
		bad("--range is %d-%d; expected ranks from 1 on, such as 1-100", o.From, o.To)
	} else if n := o.To - o.From + 1; n < o.Negatives {
		bad("--range %d-%d has %d ranks, and --negatives asks for %d; widen the one or lower the other", o.From,
			o.To, n, o.Negatives)
	}
	if !(o.Margin >= 0 && o.Margin <= 2) {
		bad("--absolute-margin is %g; expected 0 to 2, a difference of cosines", o.Margin)
	}
	if !(o.RelativeMargin >= 0 && o.RelativeMargin < 1) {
		bad("--relative-margin is %g; expected 0 to less than 1, a share of the positive's cosine", o.RelativeMargin)
	}
	if !slices.Contains(Samplings(), o.Sampling) {
		errs = append(errs, &registry.UnknownError{Kind: "--sampling", Name: o.Sampling, Known: Samplings()})
	}
	return errors.Join(errs...)
}

// A Pair is a query with a document that answers it, by their numbers.
type Pair struct{ Query, Document int }

// Counts say what became of the pairs, each of which is whole, short or bare, and of the documents in the range of each
// of them, which were too near, taken, or left over.
type Counts struct {
	Pairs int `json:"pairs"`
	// Whole are pairs with as many negatives as were asked for, Short those with fewer, but some, Bare those with none.
	Whole int `json:"whole"`
	Short int `json:"short"`
	Bare  int `json:"without"`
	// InRange is how many documents lie in the ranges of all pairs, Near how many of these were left out for the
	// margin, Negatives how many were taken, and Over the rest. A document counts for each pair.
	InRange   int `json:"in_range"`
	Near      int `json:"too_near"`
	Negatives int `json:"negatives"`
	Over      int `json:"left_over"`
	// Positive, Negative and Hardest are mean cosines with the query: of the pairs' documents, of all negatives, of
	// each pair's nearest.
	Positive float64 `json:"positive_cosine"`
	Negative float64 `json:"negative_cosine"`
	Hardest  float64 `json:"hardest_cosine"`
}

// Mine gives for each pair documents that are near its query and answer it nowhere among the pairs, the nearest first.
// queries and documents have length 1, and every document is looked at. tell, unless it is nil, is told how many
// queries are searched for. On cancel it gives context.Cause(ctx).
func Mine(ctx context.Context, queries, documents vectors.Matrix, pairs []Pair, o Options, tell func(done int)) (
	[][]vectors.Hit, Counts, error) {
	if err := o.Validate(); err != nil {
		return nil, Counts{}, err
	}
	relevant := map[Pair]bool{}
	for _, p := range pairs {
		relevant[p] = true
	}
	found, err := documents.Search(ctx, queries, o.To, func(q, d int) bool { return relevant[Pair{q, d}] }, tell)
	if err != nil {
		return nil, Counts{}, err
	}
	c := Counts{Pairs: len(pairs)}
	out := make([][]vectors.Hit, len(pairs))
	for i, p := range pairs {
		own := vectors.Dot(queries.Row(p.Query), documents.Row(p.Document))
		c.Positive += own / float64(len(pairs))
		hits := found[p.Query][min(o.From-1, len(found[p.Query])):]
		far := sort.Search(len(hits), func(k int) bool { return hits[k].Score <= o.most(own) })
		out[i] = o.some(hits[far:], uint64(i))
		c.add(out[i], len(hits), far, o.Negatives)
	}
	c.Negative /= float64(max(c.Negatives, 1))
	c.Hardest /= float64(max(c.Pairs-c.Bare, 1))
	return out, c, nil
}

// most is the highest cosine that a negative may have, of a pair with that cosine.
func (o *Options) most(own float64) float64 {
	most := math.Inf(1)
	if o.Margin > 0 {
		most = own - o.Margin
	}
	if o.RelativeMargin > 0 {
		most = min(most, own-o.RelativeMargin*math.Abs(own))
	}
	return most
}

// some takes as many of the hits as are asked for, for the pair of that number.
func (o *Options) some(hits []vectors.Hit, pair uint64) []vectors.Hit {
	n := min(o.Negatives, len(hits))
	if o.Sampling == top {
		return hits[:n]
	}
	which := rand.New(rand.NewPCG(o.Seed, pair)).Perm(len(hits))[:n]
	slices.Sort(which)
	out := make([]vectors.Hit, n)
	for i, w := range which {
		out[i] = hits[w]
	}
	return out
}

// add counts what a pair got of the documents in its range.
func (c *Counts) add(got []vectors.Hit, inRange, near, asked int) {
	c.InRange, c.Near = c.InRange+inRange, c.Near+near
	c.Negatives, c.Over = c.Negatives+len(got), c.Over+inRange-near-len(got)
	for _, h := range got {
		c.Negative += h.Score
	}
	switch {
	case len(got) == 0:
		c.Bare++
	case len(got) < asked:
		c.Short++
	default:
		c.Whole++
	}
	if len(got) > 0 {
		c.Hardest += got[0].Score
	}
}
