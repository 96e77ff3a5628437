package vectors

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
)

// A Hit is one of the vectors that were searched.
type Hit struct {
	Index int
	Score float64 // its product with the query: the cosine, of vectors of length 1
}

// better orders hits: the higher score first, of equal ones the earlier vector.
func better(a, b Hit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), a.Index-b.Index) }

// Nearest gives the k vectors of m that have the highest products with query, best first, or all where there are fewer.
// Every vector is looked at but those that skip names; nil skips none.
func (m Matrix) Nearest(query []float32, k int, skip func(i int) bool) []Hit {
	// A heap with the worst of the kept hits on top.
	kept := make([]Hit, 0, max(0, min(k, m.Len())))
	for i := range m.Len() {
		if cap(kept) == 0 {
			break
		}
		if skip != nil && skip(i) {
			continue
		}
		h := Hit{i, Dot(query, m.Row(i))}
		switch {
		case len(kept) < cap(kept):
			kept = append(kept, h)
			rise(kept)
		case better(h, kept[0]) < 0:
			kept[0] = h
			sink(kept)
		}
	}
	slices.SortFunc(kept, better)
	return kept
}

// rise brings the last hit of a heap to its place.
func rise(h []Hit) {
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if better(h[i], h[up]) <= 0 {
			return
		}
		h[i], h[up], i = h[up], h[i], up
	}
}

// sink brings the first hit of a heap to its place.
func sink(h []Hit) {
	for i := 0; ; {
		worst := i
		for _, below := range []int{2*i + 1, 2*i + 2} {
			if below < len(h) && better(h[below], h[worst]) > 0 {
				worst = below
			}
		}
		if worst == i {
			return
		}
		h[i], h[worst], i = h[worst], h[i], worst
	}
}

// Search is Nearest of each of many queries, on as many processors as Go may use. skip, unless it is nil, is asked of a
// query and a vector, from several goroutines at once. tell, unless it is nil, is told how many queries are done, one
// call at a time. On cancel it gives context.Cause(ctx).
func (m Matrix) Search(ctx context.Context, queries Matrix, k int, skip func(query, i int) bool,
	tell func(done int)) ([][]Hit, error) {
	out := make([][]Hit, queries.Len())
	var wg sync.WaitGroup
	var mu sync.Mutex
	next, done := 0, 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	finish := func() {
		mu.Lock()
		defer mu.Unlock()
		if done++; tell != nil {
			tell(done)
		}
	}
	for range min(runtime.GOMAXPROCS(0), queries.Len()) {
		wg.Go(func() {
			for q := take(); q < queries.Len() && ctx.Err() == nil; q = take() {
				var not func(int) bool
				if skip != nil {
					not = func(i int) bool { return skip(q, i) }
				}
				out[q] = m.Nearest(queries.Row(q), k, not)
				finish()
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}
