package eval

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
)

// TestCompare: against a reference that predicts all tokens alike, one that prefers token 1, and the reference itself.
func TestCompare(t *testing.T) {
	m := &twoMinds{}
	done := 0
	d, err := Compare(t.Context(), Predictor(m, engine.Only()),
		[]Predict{Predictor(m, engine.Choice{}), Predictor(m, engine.Only())}, 4,
		[]encode.Item{general(41), general(5)}, func(n int) { done = n })
	if err != nil {
		t.Fatal(err)
	}
	// Of 44 counted tokens 11 are token 1. KL of 1/4 each from 1/2, 1/6, 1/6, 1/6.
	loss, kl := (11*math.Log(2)+33*math.Log(6))/44, (math.Log(0.25/0.5)+3*math.Log(0.25*6))/4
	const close = 1e-6 // logits are float32 numbers
	tuned, same := d.Models[0], d.Models[1]
	if d.Tokens != 44 || done != 2 || !near(d.Loss, math.Log(4), close) || !near(tuned.Loss, loss, close) ||
		!near(tuned.KL, kl, close) || !near(tuned.KL99, kl, close) || tuned.Top != 0 ||
		!near(tuned.Perplexity(), math.Exp(loss), 1e-5) {
		t.Errorf("got %+v, want a loss of %g, KL %g, and no likeliest token alike (0 of a tie, and 1)", d, loss, kl)
	}
	if same.KL != 0 || same.KL99 != 0 || same.Top != 1 || same.Loss != d.Loss {
		t.Errorf("of the reference itself: %+v", same)
	}
}

// TestCompareQuantile: 99 % of 200 predictions stay below what two of them exceed.
func TestCompareQuantile(t *testing.T) {
	c := comparison{Differences: Differences{Tokens: 200, Models: make([]Difference, 1)}, kl: [][]float64{nil}}
	for i := range 200 {
		c.kl[0] = append(c.kl[0], float64(200-i))
	}
	d, err := c.result()
	if err != nil || d.Models[0].KL99 != 198 || d.Models[0].KL != 100.5 {
		t.Errorf("got %+v, %v; want 198, and a mean of 100.5", d, err)
	}
}

// TestCompareStops: a stop is heeded between passes, predictions that are no numbers are an error, and so is a text
// without any.
func TestCompareStops(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errStop)
	m := Predictor(&twoMinds{}, engine.Only())
	if _, err := Compare(ctx, m, []Predict{m}, 4, []encode.Item{general(5)}, nil); !errors.Is(err, errStop) {
		t.Errorf("got %v, want the cause", err)
	}
	nan := func(_ context.Context, row engine.Row) ([]float32, error) {
		x := make([]float32, 4*len(row.Counted))
		x[1] = float32(math.NaN())
		return x, nil
	}
	for name, tc := range map[string]struct {
		model Predict
		items []encode.Item
		vocab int
	}{"no numbers": {nan, []encode.Item{general(5)}, 4}, "no text": {m, nil, 4},
		"another vocabulary": {m, []encode.Item{general(5)}, 5}} {
		if _, err := Compare(t.Context(), m, []Predict{tc.model}, tc.vocab, tc.items, func(int) {}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
