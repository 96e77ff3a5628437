package eval

import (
	"context"

	"github.com/ggtune/ggtune/finetune/vectors"
)

// RankAll makes the rankings of n queries, each with rank, on as many processors as Go may use. On cancel it gives
// context.Cause(ctx).
func RankAll(ctx context.Context, n int, rank func(query int) Ranking) ([]Ranking, error) {
	out := make([]Ranking, n)
	if err := vectors.Each(ctx, n, func(q int) { out[q] = rank(q) }); err != nil {
		return nil, err
	}
	return out, nil
}

// Cosines gives those of a query with all documents, where all have length 1.
func Cosines(query []float32, documents vectors.Matrix) []float64 {
	out := make([]float64, documents.Len())
	for d := range out {
		out[d] = vectors.Dot(query, documents.Row(d))
	}
	return out
}
