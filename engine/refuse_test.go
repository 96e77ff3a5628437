package engine_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// says checks that err says every one of the parts.
func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, expected an error with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestBatchesRefused(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.F32), nil) // 320 tokens
	segs := func(s ...engine.Segment) []engine.Segment { return s }
	root := segs(engine.Segment{Len: 4, Parent: -1})
	ids := []int32{5, 6, 7, 8}
	for name, tt := range map[string]struct {
		row  engine.Row
		want []string
	}{
		"token beyond": {engine.Row{Tokens: []int32{5, 6, 320, 8}, Segments: root, Counted: []int32{1}},
			[]string{"token 320 at index 2", "vocabulary of 320"}},
		"token below 0": {engine.Row{Tokens: []int32{-1, 6, 7, 8}, Segments: root, Counted: []int32{1}},
			[]string{"token -1 at index 0"}},
		"no segments": {engine.Row{Tokens: ids, Counted: []int32{1}}, []string{"cover 0 of 4"}},
		"tokens left over": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 3, Parent: -1}),
			Counted: []int32{1}}, []string{"cover 3 of 4"}},
		"segment beyond": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 5, Parent: -1}),
			Counted: []int32{1}}, []string{"segment 0", "length 5", "4 tokens"}},
		"length below 0": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: -1, Parent: -1}),
			Counted: []int32{1}}, []string{"segment 0", "length -1"}},
		"a gap": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 1, Parent: -1},
			engine.Segment{Start: 2, Len: 2}), Counted: []int32{1}}, []string{"segment 1", "start 2"}},
		"an overlap": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 2, Parent: -1},
			engine.Segment{Start: 1, Len: 3}), Counted: []int32{1}}, []string{"segment 1", "start 1"}},
		"its own parent": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 4, Parent: 0}),
			Counted: []int32{1}}, []string{"segment 0", "parent 0"}},
		"a later parent": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 2, Parent: 1},
			engine.Segment{Start: 2, Len: 2, Parent: -1}), Counted: []int32{1}}, []string{"segment 0", "parent 1"}},
		"parent below -1": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 4, Parent: -2}),
			Counted: []int32{1}}, []string{"parent -2"}},
		"first token counted": {engine.Row{Tokens: ids, Segments: root, Counted: []int32{0, 1}},
			[]string{"counted token 0", "root", "nothing predicts it"}},
		"second root's first": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Len: 2, Parent: -1},
			engine.Segment{Start: 2, Len: 2, Parent: -1}), Counted: []int32{1, 2}},
			[]string{"counted token 2", "nothing predicts it"}},
		"after an empty root": {engine.Row{Tokens: ids, Segments: segs(engine.Segment{Parent: -1},
			engine.Segment{Len: 4}), Counted: []int32{0}}, []string{"counted token 0", "nothing predicts it"}},
		"counted beyond": {engine.Row{Tokens: ids, Segments: root, Counted: []int32{4}},
			[]string{"counted token 4", "below 4"}},
		"counted below 0": {engine.Row{Tokens: ids, Segments: root, Counted: []int32{-1}},
			[]string{"counted token -1"}},
		"counted twice": {engine.Row{Tokens: ids, Segments: root, Counted: []int32{2, 2}},
			[]string{"counted token 2 after 2", "ascending"}},
		"nothing counted": {engine.Row{Tokens: ids, Segments: root}, []string{"no counted token"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Forward(context.Background(), batch(tt.row), engine.Options{})
			says(t, err, tt.want...)
			_, err = r.Forward(context.Background(), batch(chain(ids), tt.row), engine.Options{})
			if len(tt.row.Counted) > 0 { // the other row counts tokens enough
				says(t, err, append(tt.want, "row 1")...)
			} else if err != nil {
				t.Errorf("a row without counted tokens beside another: %v", err)
			}
		})
	}
	_, err := r.Forward(context.Background(), &engine.Batch{}, engine.Options{})
	says(t, err, "0 rows", "no counted token")
}

// An empty segment passes its parent's last token on.
func TestEmptySegmentsPassOn(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.F32), nil)
	ids := tokens(1, 6, 320)
	plain := chain(ids)
	holed := chain(ids)
	holed.Segments = []engine.Segment{{Len: 3, Parent: -1}, {Start: 3}, {Start: 3, Len: 3, Parent: 1}}
	want, got := r.forward(batch(plain), engine.Options{}), r.forward(batch(holed), engine.Options{})
	if d := relative(got[engine.LogP], want[engine.LogP]); d > 1e-6 {
		t.Errorf("with an empty segment log-probabilities differ by %g of their size", d)
	}
}

// gpt2 has a table of positions; a row may be longer if none of its sequences is.
func TestLearnedPositionsEnd(t *testing.T) {
	r := newRig(t, synth.Tiny("gpt2", gguf.F32), nil)
	const most = 128
	r.forward(batch(chain(tokens(1, most, 320))), engine.Options{})
	_, err := r.Forward(context.Background(), batch(chain(tokens(1, most+1, 320))), engine.Options{})
	says(t, err, "sequence of 129 tokens", "128 learned positions", "--seq-len 128")
	row := chain(tokens(1, most+40, 320))
	row.Segments = []engine.Segment{{Len: 100, Parent: -1}, {Start: 100, Len: 28}, {Start: 128, Len: 28},
		{Start: 156, Len: 12, Parent: -1}}
	row.Counted = []int32{1, 127, 128, 155, 157}
	r.forward(batch(row), engine.Options{})
	row.Segments[1].Len, row.Segments[2] = 27, engine.Segment{Start: 127, Len: 29}
	_, err = r.Forward(context.Background(), batch(row), engine.Options{})
	says(t, err, "sequence of 129 tokens")
}

func TestBackwardRefused(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.F32), nil)
	ctx, b := context.Background(), batch(chain(tokens(1, 5, 320)))
	grad := engine.Outputs{engine.LogP: make([]float32, 4)}
	without := "without a forward pass"
	says(t, r.Backward(ctx, grad, nil), without)
	r.forward(b, engine.Options{})
	says(t, r.Backward(ctx, grad, nil), without)
	r.forward(b, engine.Options{Backward: true})
	for _, n := range []int{0, 3, 5} {
		says(t, r.Backward(ctx, engine.Outputs{engine.LogP: make([]float32, n)}, nil), "gradients for 4 counted tokens")
	}
	if err := r.Backward(ctx, grad, nil); err != nil { // a refusal before did not use the pass up
		t.Fatal(err)
	}
	says(t, r.Backward(ctx, grad, nil), without)
	r.forward(b, engine.Options{Backward: true})
	_, err := r.Forward(ctx, &engine.Batch{}, engine.Options{Backward: true})
	says(t, err, "no counted token")
	says(t, r.Backward(ctx, grad, nil), without)
	_, err = r.Forward(ctx, b, engine.Options{Backward: true, Want: []*engine.Output{engine.Logits}})
	says(t, err, "from output logits")
	_, err = r.Forward(ctx, b, engine.Options{Want: []*engine.Output{engine.LogP, engine.LogP}})
	says(t, err, "logp is asked for twice")
}

func TestNothingToTrain(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.F32), func(_ *setup, ac *adapter.Config) { ac.Rank = 0 })
	_, err := r.Forward(context.Background(), batch(chain(tokens(1, 5, 320))), engine.Options{Backward: true})
	says(t, err, "trains nothing")
}

func TestSessionConfigRefused(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.F32), nil)
	for _, d := range []float64{-0.1, 1, math.NaN(), math.Inf(1)} {
		_, err := engine.NewSession(r.model, engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Dropout: d}}})
		says(t, err, "dropout is", "0 to below 1")
		_, err = engine.NewSession(r.model, engine.SessionConfig{Threads: 1, ModelDropout: d})
		says(t, err, "dropout of the model is", "0 to below 1")
	}
	_, err := engine.NewSession(r.model, engine.SessionConfig{Threads: 0})
	says(t, err, "thread")
	other := newRig(t, synth.Tiny("qwen3", gguf.F32), nil) // its heads are larger
	_, err = engine.NewSession(r.model, engine.SessionConfig{Threads: 1,
		Sets: []engine.Set{{Adapter: other.adapter()}}})
	says(t, err, "blk.0.attn_q.weight", "another model")
}

// After Close nothing runs, and the adapter keeps the numbers that it was given last.
func TestUseAfterClose(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.F32), nil)
	ctx, b := context.Background(), batch(chain(tokens(1, 5, 320)))
	r.forward(b, engine.Options{Backward: true})
	trained := numbers(t, r.Params()[1].Value)
	trained[0] = 42
	upload(t, r.Params()[1].Value, trained)
	pair := &r.Config().Sets[0].Adapter.(*adapter.Adapter).Pairs[0]
	if pair.B[0] == 42 {
		t.Error("the session writes into the adapter it was given, unasked")
	}
	if r.adapter(); !slices.Equal(pair.B, trained) {
		t.Error("the adapter has not the trained numbers")
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.Forward(ctx, b, engine.Options{})
	backward := r.Backward(ctx, engine.Outputs{engine.LogP: make([]float32, 4)}, nil)
	if !errors.Is(err, engine.ErrClosed) || !errors.Is(backward, engine.ErrClosed) {
		t.Errorf("closed session: forward says %v, backward %v; expected ErrClosed", err, backward)
	}
	if n := len(r.Params()); n != 0 {
		t.Errorf("a closed session gives %d parameters, whose memory is gone", n)
	}
	if _, err := r.Set(""); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("closed session: set says %v; expected ErrClosed", err)
	}
	if !slices.Equal(pair.B, trained) {
		t.Error("the adapter lost its numbers when the session closed")
	}
}

// What Plan foretells is what a session then has allocated, within 5%.
func TestPlanForetellsMemory(t *testing.T) {
	for name, change := range map[string]func(*setup, *adapter.Config){
		"recomputed":    nil,
		"kept":          func(c *setup, _ *adapter.Config) { c.KeepBytes = 1 << 40 },
		"half kept":     func(c *setup, _ *adapter.Config) { c.KeepBytes = 1 << 20 },
		"fast, dropout": func(c *setup, _ *adapter.Config) { c.Exact, c.Dropout, c.ModelDropout = false, 0.1, 0.1 },
		"full":          func(c *setup, _ *adapter.Config) { c.Full = true },
		"one layer":     func(_ *setup, a *adapter.Config) { a.Layers = []int{1} },
	} {
		t.Run(name, func(t *testing.T) {
			eachArch(t, func(t *testing.T, spec synth.Spec) {
				var cfg engine.SessionConfig
				r := newRig(t, spec, func(c *setup, a *adapter.Config) {
					if change != nil {
						change(c, a)
					}
					cfg = c.SessionConfig
				})
				cfg.Sets = r.Config().Sets
				const rows, length = 3, 64
				b := batch()
				for i := range uint64(rows) {
					b.Rows = append(b.Rows, chain(tokens(i, length, 320)))
				}
				plan, err := engine.Plan(r.model, cfg,
					engine.Extent{Tokens: rows * length, Counted: rows * (length - 1), Row: length, Pooled: rows})
				if err != nil {
					t.Fatal(err)
				}
				r.pass(b, nil)
				got := float64(r.Bytes())
				if sum := float64(plan.Params + plan.Work + plan.Inputs + plan.Kept); math.Abs(sum/got-1) > 0.05 {
					t.Errorf("planned %.0f bytes (%+v), allocated %.0f", sum, plan, got)
				}
				if plan.Total() != plan.Params+plan.Work+plan.Inputs+plan.Kept || plan.AllKept < plan.Kept {
					t.Errorf("the plan contradicts itself: %+v", plan)
				}
				var trained int64
				for _, p := range r.Params() {
					trained += p.Len()
				}
				if plan.Trained != trained || plan.Weights != r.model.Bytes() || plan.Layers != spec.Layers {
					t.Errorf("planned %+v; trained are %d numbers, weights %d bytes, %d layers", plan, trained,
						r.model.Bytes(), spec.Layers)
				}
			})
		})
	}
}

// Files whose tensors are not those that the metadata makes of the architecture.
func TestTensorsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		tensor string
		shape  []int64 // in its place; nil: it is left out
		want   []string
	}{
		"no sinks":           {"blk.0.attn_sinks.weight", nil, []string{"is missing", `"gpt-oss" needs`}},
		"too few sinks":      {"blk.1.attn_sinks.weight", []int64{3}, []string{"[3]", "expected [4]"}},
		"no bias of experts": {"blk.0.ffn_down_exps.bias", nil, []string{"is missing"}},
		"biases of too few":  {"blk.0.ffn_up_exps.bias", []int64{128, 3}, []string{"[128 3]", "expected [128 4]"}},
		"too few experts": {"blk.1.ffn_gate_exps.weight", []int64{64, 128, 3},
			[]string{"[64 128 3]", "expected [64 128 4]"}},
		"experts of another size": {"blk.1.ffn_gate_exps.weight", []int64{64, 96, 4},
			[]string{"[64 96 4]", "expected [64 128 4]"}},
		"a norm before the feed-forward network": {"blk.0.ffn_norm.weight", []int64{64}, []string{"is none that"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := gguf.Open(synth.Temp(t, synth.Tiny("gpt-oss", gguf.F32)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var w gguf.Writer
			w.CopyMetadata(f)
			for i := range f.Tensors {
				if x := &f.Tensors[i]; x.Name != tt.tensor {
					err = errors.Join(err, w.AddFrom(f, x))
				}
			}
			if tt.shape != nil {
				n := int64(1)
				for _, d := range tt.shape {
					n *= d
				}
				err = errors.Join(err, w.AddFloats(tt.tensor, tt.shape, make([]float32, n)))
			}
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err = errors.Join(err, w.WriteFile(context.Background(), nil, path)); err != nil {
				t.Fatal(err)
			}
			m, err := engine.Open(path)
			if err == nil {
				m.Close()
			}
			says(t, err, append(tt.want, path, tt.tensor)...)
		})
	}
}
