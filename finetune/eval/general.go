package eval

import (
	"context"
	_ "embed"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
)

// GeneralText is what forgetting is measured on: prose, dialogue, instructions, a letter and a program, written for
// this purpose, so that no model has learned it by heart. It does not change: figures of different runs are compared.
//
//go:embed general.txt
var GeneralText string

// GeneralWindow is the most tokens of GeneralText that are read at once. It is fixed, because a token's loss depends on
// what is read before it.
const GeneralWindow = 256

// General is what training did to text that it had nothing to do with.
type General struct {
	Before, After float64 // nats per token, of the base and of the tuned model
	Tokens        int     // counted
	// KL is how far the tuned model's predictions are from the base's, KL(base‖tuned), in nats, the mean over KLTokens
	// predictions.
	KL       float64
	KLTokens int
}

// The divergence needs the logits of the whole vocabulary, of both models at once. It is taken at so many tokens of
// each window, evenly spaced, and fewer where the logits would take more than klFloats numbers: 16 MB.
const (
	klTokens = 32
	klFloats = 1 << 22
)

// GeneralReads is how often MeasureGeneral reads its items: for losses and for predictions, each with and without what
// is trained.
const GeneralReads = 4

// GeneralBytes is what MeasureGeneral takes for logits: as the engine computes them, and those of both models on Go's
// heap.
func GeneralBytes(vocab int) (computed, heap int64) {
	n := 4 * int64(max(min(klTokens, klFloats/vocab), 1)) * int64(vocab)
	return n, 2 * n
}

// MeasureGeneral measures GeneralText, encoded as items for a model with that vocabulary, with what e trains and
// without. Each item is read GeneralReads times. On cancel it returns context.Cause(ctx). progress is called with the
// items done.
func MeasureGeneral(ctx context.Context, e Engine, vocab int, items []encode.Item, progress func(done int)) (General,
	error) {
	var g General
	for i := range items {
		if err := g.add(ctx, e, vocab, &items[i]); err != nil {
			return General{}, err
		}
		progress(i + 1)
	}
	g.Before, g.After, g.KL = g.Before/float64(g.Tokens), g.After/float64(g.Tokens), g.KL/float64(g.KLTokens)
	return g, nil
}

// Finite says whether all figures are numbers.
func (g *General) Finite() bool { x := g.Before + g.After + g.KL; return x-x == 0 }

// add adds sums over an item.
func (g *General) add(ctx context.Context, e Engine, vocab int, it *encode.Item) error {
	row := RowOf(it)
	if len(row.Counted) == 0 {
		return nil
	}
	before, after, err := bothModels(ctx, e, row, engine.LogP)
	if err != nil {
		return err
	}
	for i := range before {
		g.Before -= float64(before[i])
		g.After -= float64(after[i])
	}
	g.Tokens += len(row.Counted)
	return g.addKL(ctx, e, row, vocab)
}

// addKL adds the divergences at some of the row's counted tokens.
func (g *General) addKL(ctx context.Context, e Engine, row engine.Row, vocab int) error {
	all := row.Counted
	row.Counted = make([]int32, min(max(min(klTokens, klFloats/vocab), 1), len(all)))
	for i := range row.Counted {
		row.Counted[i] = all[i*len(all)/len(row.Counted)]
	}
	before, after, err := bothModels(ctx, e, row, engine.Logits)
	if err != nil {
		return err
	}
	for at := 0; at < len(before); at += vocab {
		g.KL += divergence(before[at:at+vocab], after[at:at+vocab])
		g.KLTokens++
	}
	return nil
}

// bothModels gives an output of the base and of what is trained.
func bothModels(ctx context.Context, e Engine, row engine.Row, o *engine.Output) (before, after []float32, err error) {
	b := &engine.Batch{Rows: []engine.Row{row}}
	pass := func(apply engine.Choice) ([]float32, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out, err := e.Forward(context.WithoutCancel(ctx), b, engine.Options{Want: []*engine.Output{o}, Apply: apply})
		return out[o], err
	}
	if before, err = pass(engine.Only()); err != nil {
		return nil, nil, err
	}
	before = slices.Clone(before) // the next pass may overwrite it
	after, err = pass(engine.Choice{})
	return before, after, err
}

// divergence is KL(p‖q) of the predictions that logits give, in nats.
func divergence(p, q []float32) float64 { return divergenceOf(p, q, logSum(p), logSum(q)) }

// divergenceOf is divergence of logits whose logSum is known.
func divergenceOf(p, q []float32, zp, zq float64) float64 {
	kl := 0.0
	for i := range p {
		lp, lq := float64(p[i])-zp, float64(q[i])-zq
		kl += math.Exp(lp) * (lp - lq)
	}
	return kl
}

// logSum is the logarithm of the sum of exponentials.
func logSum(x []float32) float64 {
	top := float64(slices.Max(x))
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}
