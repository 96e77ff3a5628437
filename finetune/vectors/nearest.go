package vectors

import (
	"cmp"
	"container/heap"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// A Hit is one of the vectors that were searched.
type Hit struct {
	Index int
	Score float64 // its product with the query: the cosine, of vectors of length 1
}

// better orders hits: the higher score first, of equal ones the earlier vector.
func better(a, b Hit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), a.Index-b.Index) }

// worstFirst is a heap of hits with the worst on top.
type worstFirst []Hit

func (h worstFirst) Len() int           { return len(h) }
func (h worstFirst) Less(i, k int) bool { return better(h[i], h[k]) > 0 }
func (h worstFirst) Swap(i, k int)      { h[i], h[k] = h[k], h[i] }
func (h *worstFirst) Push(x any)        { *h = append(*h, x.(Hit)) }
func (h *worstFirst) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// Nearest gives the k vectors of m that have the highest products with query, best first, or all where there are fewer.
// Every vector is looked at but those that skip names; nil skips none.
func (m Matrix) Nearest(query []float32, k int, skip func(i int) bool) []Hit {
	kept := make(worstFirst, 0, max(0, min(k, m.Len())))
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
			heap.Push(&kept, h)
		case better(h, kept[0]) < 0:
			kept[0] = h
			heap.Fix(&kept, 0)
		}
	}
	slices.SortFunc(kept, better)
	return kept
}

// Search is Nearest of each of many queries, on as many processors as Go may use. skip, unless it is nil, is asked of a
// query and a vector, from several goroutines at once. tell, unless it is nil, is told how many queries are done, one
// call at a time. On cancel it gives context.Cause(ctx).
func (m Matrix) Search(ctx context.Context, queries Matrix, k int, skip func(query, i int) bool,
	tell func(done int)) ([][]Hit, error) {
	out := make([][]Hit, queries.Len())
	var mu sync.Mutex
	done := 0
	err := Each(ctx, len(out), func(q int) {
		var not func(int) bool
		if skip != nil {
			not = func(i int) bool { return skip(q, i) }
		}
		out[q] = m.Nearest(queries.Row(q), k, not)
		mu.Lock()
		defer mu.Unlock()
		if done++; tell != nil {
			tell(done)
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Each calls do with the numbers from 0 to below n, on as many processors as Go may use. On cancel it gives
// context.Cause(ctx), once no call is under way.
func Each(ctx context.Context, n int, do func(i int)) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
