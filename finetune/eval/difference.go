package eval

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
)

// A Predict gives a model's logits of the whole vocabulary for each counted token of a row, one after the other. They
// are valid until its next call.
type Predict func(ctx context.Context, row engine.Row) ([]float32, error)

// Predictor is the Predict of an engine, with the sets of a choice in force.
func Predictor(e Engine, apply engine.Choice) Predict {
	return func(ctx context.Context, row engine.Row) ([]float32, error) {
		out, err := e.Forward(ctx, &engine.Batch{Rows: []engine.Row{row}},
			engine.Options{Want: []*engine.Output{engine.Logits}, Apply: apply})
		return out[engine.Logits], err
	}
}

// A Difference is how far a model's predictions are from those of its reference on the same tokens: of a merged model
// from the base with its adapter, of a quantized one from its source.
type Difference struct {
	Loss float64 // nats per counted token
	// KL is KL(reference‖model) of the predictions, in nats: the mean; KL99 is what 99 % of them stay below.
	KL, KL99 float64
	// Top is the share of predictions whose likeliest token is the reference's.
	Top float64
}

// Perplexity is e to the loss.
func (d Difference) Perplexity() float64 { return math.Exp(d.Loss) }

// Differences are those of several models from one reference.
type Differences struct {
	Tokens int     // predictions compared
	Loss   float64 // the reference's, nats per counted token
	Models []Difference
}

// differenceFloats bounds the logits of a pass: 64 MB. Rows with more are read several times.
const differenceFloats = 1 << 24

// Compare measures models against their reference on every counted token of items. On cancel it returns
// context.Cause(ctx). progress is called with the items done.
func Compare(ctx context.Context, reference Predict, models []Predict, vocab int, items []encode.Item,
	progress func(done int)) (Differences, error) {
	c := comparison{Differences: Differences{Models: make([]Difference, len(models))}, vocab: vocab,
		kl: make([][]float64, len(models))}
	for i := range items {
		row := RowOf(&items[i])
		for part := range slices.Chunk(row.Counted, max(1, differenceFloats/vocab)) {
			if row.Counted = part; ctx.Err() != nil {
				return Differences{}, context.Cause(ctx)
			}
			if err := c.add(context.WithoutCancel(ctx), row, reference, models); err != nil {
				return Differences{}, err
			}
		}
		progress(i + 1)
	}
	return c.result()
}

// RowOf is an item as a row of its own.
func RowOf(it *encode.Item) engine.Row {
	row := engine.Row{Tokens: it.Tokens, Segments: it.Segments, Since: it.Since}
	for t, counted := range it.Counted {
		if counted {
			row.Counted = append(row.Counted, int32(t))
		}
	}
	return row
}

// A comparison is Compare at work: sums until the end.
type comparison struct {
	Differences
	vocab int
	kl    [][]float64 // of each model, by prediction
}

func (c *comparison) add(ctx context.Context, row engine.Row, reference Predict, models []Predict) error {
	p, err := reference(ctx, row)
	if err != nil {
		return err
	}
	p = slices.Clone(p) // a model may be the same engine, which then overwrites it
	c.Tokens += len(row.Counted)
	for i, predict := range models {
		q, err := predict(ctx, row)
		if err != nil {
			return err
		}
		if len(p) != len(row.Counted)*c.vocab || len(q) != len(p) {
			return errors.New("models with vocabularies of different sizes cannot be compared")
		}
		for _, s := range c.predictions(row, p, q) {
			m := &c.Models[i]
			m.Loss += s.loss
			c.kl[i] = append(c.kl[i], s.kl)
			if s.same {
				m.Top++
			}
			if i == 0 {
				c.Loss += s.reference
			}
		}
	}
	return nil
}

// A prediction compares two models' at one token.
type prediction struct {
	reference, loss, kl float64
	same                bool
}

// predictions compares all of a row, on all cores: with a large vocabulary it takes as long as a pass.
func (c *comparison) predictions(row engine.Row, p, q []float32) []prediction {
	out := make([]prediction, len(row.Counted))
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wait.Go(func() {
			for i := w; i < len(out); i += workers {
				a, b := p[i*c.vocab:(i+1)*c.vocab], q[i*c.vocab:(i+1)*c.vocab]
				za, zb := logSum(a), logSum(b)
				token := row.Tokens[row.Counted[i]]
				out[i] = prediction{reference: za - float64(a[token]), loss: zb - float64(b[token]),
					kl: divergenceOf(a, b, za, zb), same: likeliest(a) == likeliest(b)}
			}
		})
	}
	wait.Wait()
	return out
}

func likeliest(logits []float32) int {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return best
}

// result divides the sums. A figure that is no number is an error: the models are not compared then.
func (c *comparison) result() (Differences, error) {
	if c.Tokens == 0 {
		return Differences{}, errors.New("no token of the text counts: there is nothing to compare predictions on")
	}
	n := float64(c.Tokens)
	c.Loss /= n
	sum := c.Loss
	for i := range c.Models {
		m := &c.Models[i]
		m.Loss, m.Top, m.KL = m.Loss/n, m.Top/n, mean(c.kl[i])
		slices.Sort(c.kl[i])
		m.KL99 = c.kl[i][(99*c.Tokens-1)/100]
		sum += m.Loss + m.KL
	}
	if sum-sum != 0 {
		return Differences{}, errors.New("the models' predictions are no numbers; look at them with ggtune check")
	}
	return c.Differences, nil
}
