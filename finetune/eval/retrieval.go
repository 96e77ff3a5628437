package eval

import (
	"context"
	"runtime"
	"sync"

	"github.com/ggtune/ggtune/finetune/vectors"
)

// RankAll makes the rankings of n queries, each with rank, on as many processors as Go may use. On cancel it gives
// context.Cause(ctx).
func RankAll(ctx context.Context, n int, rank func(query int) Ranking) ([]Ranking, error) {
	out := make([]Ranking, n)
	var wait sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wait.Go(func() {
			for q := w; q < n && ctx.Err() == nil; q += workers {
				out[q] = rank(q)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
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
