// Package embed makes vectors of texts with a model, many at a time, and writes them to files. It knows tokens, and not
// where texts come from or what their vectors are for.
package embed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/vectors"
)

// An Engine computes vectors; engine.Session is one.
type Engine interface {
	Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error)
}

// Options say how vectors are made.
type Options struct {
	Pooling arch.Pooling  // 0: what the model's file says
	Apply   engine.Choice // the sets in force
	// Progress is told how many texts are done; nil: nobody asks.
	Progress func(done int)
}

// passTokens is how many tokens of short texts a pass reads together: enough for products to be as fast as they get,
// and few enough for a pass to take little memory.
const passTokens = 1024

// All gives the vector of each text, of tokens, as it comes: who compares directions normalises it. Texts share passes,
// and do not see each other. On cancel it gives context.Cause(ctx).
func All(ctx context.Context, e Engine, texts [][]int32, o Options) (vectors.Matrix, error) {
	order := make([]int, len(texts))
	for i, t := range texts {
		if order[i] = i; len(t) == 0 {
			return vectors.Matrix{}, fmt.Errorf("text %d has no token, and no vector", i+1)
		}
	}
	if len(texts) == 0 {
		return vectors.Matrix{}, errors.New("there is no text to make a vector of")
	}
	// Those alike in length share a pass, so that no pass waits for one long text.
	slices.SortStableFunc(order, func(a, b int) int { return len(texts[b]) - len(texts[a]) })
	var out vectors.Matrix
	for at := 0; at < len(order); {
		if ctx.Err() != nil {
			return vectors.Matrix{}, context.Cause(ctx)
		}
		row, n := rowOf(texts, order[at:])
		got, err := e.Forward(context.WithoutCancel(ctx), &engine.Batch{Rows: []engine.Row{row}},
			engine.Options{Want: []*engine.Output{engine.Pooled}, Pooling: o.Pooling, Apply: o.Apply})
		if err != nil {
			return vectors.Matrix{}, err
		}
		numbers := got[engine.Pooled]
		if out.Data == nil {
			width := len(numbers) / n
			out = vectors.Matrix{Width: width, Data: make([]float32, width*len(texts))}
		}
		for k, i := range order[at : at+n] {
			v := numbers[k*out.Width : (k+1)*out.Width]
			if s := vectors.Norm(v); math.IsNaN(s) || math.IsInf(s, 0) {
				return vectors.Matrix{}, fmt.Errorf("the vector of text %d is no number; look at the model with "+
					"ggtune check", i+1)
			}
			copy(out.Row(i), v)
		}
		if at += n; o.Progress != nil {
			o.Progress(at)
		}
	}
	return out, nil
}

// rowOf packs the first of the texts into a row, at least one, and says how many.
func rowOf(texts [][]int32, order []int) (row engine.Row, n int) {
	for _, i := range order {
		t := texts[i]
		if n > 0 && len(row.Tokens)+len(t) > passTokens {
			break
		}
		row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: len(t), Parent: -1})
		row.Tokens = append(row.Tokens, t...)
		row.Pooled = append(row.Pooled, int32(n))
		n++
	}
	return row, n
}
