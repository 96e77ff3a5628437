package eval

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
)

// A twoMinds is a model of 4 tokens: its base predicts all alike, and what is trained beside it prefers token 1.
type twoMinds struct {
	stop   context.CancelCauseFunc // called in the third pass
	passes int
}

var errStop = errors.New("stop")

func (m *twoMinds) Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	if ctx.Err() != nil {
		return nil, errors.New("a pass under way was broken off")
	}
	if m.passes++; m.passes == 3 && m.stop != nil {
		m.stop(errStop)
	}
	prefer := float32(math.Log(3)) // of 1/2 to 1/6
	if o.Apply.None() {
		prefer = 0
	}
	out := engine.Outputs{}
	z := math.Log(math.Exp(float64(prefer)) + 3)
	for _, c := range b.Rows[0].Counted {
		logits := []float32{0, prefer, 0, 0}
		if o.Want[0] == engine.LogP {
			out[engine.LogP] = append(out[engine.LogP], float32(float64(logits[b.Rows[0].Tokens[c]])-z))
		} else {
			out[engine.Logits] = append(out[engine.Logits], logits...)
		}
	}
	return out, nil
}

func general(n int) encode.Item {
	it := encode.Item{Source: data.Source{File: "x", Line: 1}, Segments: []engine.Segment{{Len: n, Parent: -1}}}
	for i := range n {
		it.Tokens, it.Counted = append(it.Tokens, int32(i%4)), append(it.Counted, i > 0)
	}
	return it
}

func TestMeasureGeneral(t *testing.T) {
	done := 0
	g, err := MeasureGeneral(t.Context(), &twoMinds{}, 4, []encode.Item{general(41), general(5)},
		func(n int) { done = n })
	if err != nil {
		t.Fatal(err)
	}
	// Of 44 counted tokens 11 are token 1. KL of 1/4 each from 1/2, 1/6, 1/6, 1/6.
	before, after := math.Log(4), (11*math.Log(2)+33*math.Log(6))/44
	kl := (math.Log(0.25/0.5) + 3*math.Log(0.25*6)) / 4
	const close = 1e-6 // logits are float32 numbers
	if math.Abs(g.Before-before) > close || math.Abs(g.After-after) > close || math.Abs(g.KL-kl) > close ||
		!g.Finite() {
		t.Errorf("got %+v, want %g before, %g after, KL %g", g, before, after, kl)
	}
	if g.Tokens != 44 || g.KLTokens != klTokens+4 || done != 2 {
		t.Errorf("got %+v after %d items, want 44 tokens and %d predictions of 2", g, done, klTokens+4)
	}
}

// TestMeasureGeneralStops: a stop is heeded between two passes.
func TestMeasureGeneralStops(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	m := &twoMinds{stop: stop}
	_, err := MeasureGeneral(ctx, m, 4, []encode.Item{general(41), general(5)}, func(int) {})
	if !errors.Is(err, errStop) || m.passes != 3 {
		t.Errorf("got %v after %d passes, want the cause after 3", err, m.passes)
	}
}

// TestGeneralText: it is long enough to tell something, and short enough to be read in seconds.
func TestGeneralText(t *testing.T) {
	if n := len(strings.Fields(GeneralText)); n < 600 || n > 1000 {
		t.Errorf("%d words", n)
	}
}
