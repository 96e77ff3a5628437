package eval

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/internal/setting"
)

// A ruler gives every counted token a log-probability of minus a tenth of its number.
type ruler struct{ opts []engine.Options }

func (r *ruler) Forward(_ context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	r.opts = append(r.opts, o)
	out := engine.Outputs{}
	for _, row := range b.Rows {
		for _, c := range row.Counted {
			out[engine.LogP] = append(out[engine.LogP], -0.1*float32(row.Tokens[c]))
		}
	}
	return out, nil
}

func loader(t *testing.T) *encode.Loader { t.Helper(); return loaderOf(t, false) }

// loaderOf gives three rows, of whole texts or not.
func loaderOf(t *testing.T, whole bool) *encode.Loader {
	t.Helper()
	d, err := encode.NewDataset(method.Answers, encode.Limits{SeqLen: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, tokens := range [][]int32{{1, 2, 3}, {4, 5}, {6, 7, 8, 9}} {
		counted := make([]bool, len(tokens))
		counted[len(counted)-1] = true
		d.Add(encode.Item{Source: data.Source{File: "x", Line: 1}, Tokens: tokens, Counted: counted, Whole: whole,
			Segments: []engine.Segment{{Len: len(tokens), Parent: -1}}})
	}
	l, err := encode.NewLoader(d, encode.LoadOptions{Window: 8, Packing: encode.Unpacked, Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRun(t *testing.T) {
	figure := func(coupled bool) *method.Method {
		return &method.Method{Name: "halves", Unit: "pair", Coupled: coupled,
			Loss: func(in *method.Inputs, _ setting.Values) (method.Result, error) {
				n := float64(len(in.LogP))
				sum := 0.0
				for _, lp := range in.LogP {
					sum -= lp
				}
				return method.Result{Sum: sum, Units: n / 2, Grad: make([]float64, len(in.LogP)),
					Metrics: []method.Metric{{Name: "n", Sum: n, Weight: 1}}}, nil
			}}
	}
	for _, tc := range []struct {
		m       *method.Method
		loss    float64
		metrics float64 // weight of the first
	}{{method.SFT, 1.7 / 3, 0}, {figure(false), 1.7 / 1.5, 2}, {figure(true), 1.7 / 1.5, 1}} {
		r := &ruler{}
		rows := 0
		got, err := Run(t.Context(), r, loader(t), tc.m, Options{NoAdapter: true, Progress: func(n int) { rows = n }})
		if err != nil {
			t.Fatal(err)
		}
		// Log-probabilities are float32 numbers.
		if math.Abs(got.Loss-tc.loss) > 1e-6 || math.Abs(got.NLL-1.7/3) > 1e-6 || got.Tokens != 9 || got.Counted != 3 ||
			rows != 3 {
			t.Errorf("%s: got %+v after %d rows, want loss %g of 9 tokens, 3 counted", tc.m.Name, got, rows, tc.loss)
		}
		if math.Abs(got.Perplexity()-math.Exp(1.7/3)) > 1e-5 {
			t.Errorf("%s: perplexity %g", tc.m.Name, got.Perplexity())
		}
		if tc.metrics > 0 && (len(got.Metrics) != 1 || got.Metrics[0].Sum != 3 || got.Metrics[0].Weight != tc.metrics) {
			t.Errorf("%s: figures %+v", tc.m.Name, got.Metrics)
		}
		for _, o := range r.opts {
			if o.Backward || o.Dropout || !o.Apply.None() {
				t.Errorf("%s: forward pass with %+v", tc.m.Name, o)
			}
		}
	}
}

// TestBitsPerByte: the bits of what is counted over its bytes, for whole texts alone; a control token has bits and no
// bytes.
func TestBitsPerByte(t *testing.T) {
	bytes := func(token int32) int { return map[int32]int{3: 2, 5: 0, 9: 4}[token] } // those counted
	for _, tc := range []struct {
		whole bool
		want  []method.Metric
	}{{false, nil}, {true, []method.Metric{{Name: BitsPerByte, Sum: 1.7 / math.Ln2, Weight: 6}}}} {
		got, err := Run(t.Context(), &ruler{}, loaderOf(t, tc.whole), method.SFT, Options{Bytes: bytes})
		if err != nil || len(got.Metrics) != len(tc.want) {
			t.Fatalf("whole texts %v: %+v, %v", tc.whole, got.Metrics, err)
		}
		for i, want := range tc.want {
			m := got.Metrics[i]
			if m.Name != want.Name || m.Weight != want.Weight || math.Abs(m.Sum-want.Sum) > 1e-6 {
				t.Errorf("whole texts %v: got %+v, want %+v", tc.whole, m, want)
			}
		}
	}
}

func TestRunStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	if _, err := Run(ctx, &ruler{}, loader(t), method.SFT, Options{Progress: func(int) { cancel(stop) }}); err != stop {
		t.Errorf("got %v, want %v", err, stop)
	}
}

func TestBest(t *testing.T) {
	var b Best
	for i, tc := range []struct {
		loss           float64
		better, giveUp bool
	}{{3, true, false}, {2, true, false}, {2, false, false}, {2.5, false, true}, {1, true, false},
		{math.NaN(), false, false}} {
		if got := b.Add(10*i, tc.loss); got != tc.better || b.Stop(2) != tc.giveUp || b.Stop(0) {
			t.Errorf("evaluation %d: better %v, stop %v, want %v, %v", i, got, b.Stop(2), tc.better, tc.giveUp)
		}
	}
	if b.Step != 40 || b.Loss != 1 {
		t.Errorf("got %+v", b)
	}
}
