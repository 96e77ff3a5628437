package llama_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

func halves(loras ...lora) (out []llama.Tensor) {
	for _, l := range loras {
		out = append(out, llama.Tensor{Name: l.name + ".lora_a", Values: l.a},
			llama.Tensor{Name: l.name + ".lora_b", Values: l.b})
	}
	return out
}

// An adapter that is overwritten in place computes, to the bit, what a file of the same numbers computes, for one token
// as for many: llama.cpp keeps the graph of a computation of the same size.
func TestOverwriteEqualsFile(t *testing.T) {
	pairs := func(seed uint64) []lora {
		return []lora{
			newLoRA("blk.0.attn_q.weight", 64, 4, 64, seed), newLoRA("blk.1.ffn_down.weight", 128, 4, 64, seed+1),
			newLoRA("output.weight", 64, 4, 320, seed+2),
		}
	}
	tokens := []int32{1, 20, 30, 40, 300, 5, 6, 7, 8, 9}
	m, err := llama.OpenModel(synth.Temp(t, synth.Tiny("llama", gguf.F32)), llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	logits := func(c *llama.Context) []float32 {
		t.Helper()
		out, err := c.Logits(t.Context(), tokens, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Truncate(0); err != nil {
			t.Fatal(err)
		}
		for _, id := range tokens[:3] { // as generation does
			one, err := c.Logits(t.Context(), []int32{id}, nil)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, one...)
		}
		return out
	}
	load := func(loras []lora) *llama.Context {
		t.Helper()
		a, err := m.LoadAdapter(writeAdapter(t, "llama", 8, nil, loras...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		c := newContext(t, m, llama.VerifyContextOptions(32, 1))
		if err := c.SetAdapters([]*llama.Adapter{a}, []float32{1}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load(pairs(1))
	last := logits(c)
	for seed := uint64(10); seed < 40; seed += 10 {
		if err := c.Overwrite(t.Context(), halves(pairs(seed)...)); err != nil {
			t.Fatal(err)
		}
		if n := c.Len(); n != 0 {
			t.Errorf("the context still holds %d tokens, computed with other numbers", n)
		}
		got, want := logits(c), logits(load(pairs(seed)))
		if d := maxDiff(got, want); d != 0 {
			t.Errorf("seed %d: logits differ from those of the file by %g, want 0", seed, d)
		}
		if d := maxDiff(got, last); d < 0.1 {
			t.Errorf("seed %d: other numbers change the logits by no more than %g", seed, d)
		}
		last = got
	}
}

func TestOverwriteRefusals(t *testing.T) {
	m, err := llama.OpenModel(synth.Temp(t, synth.Tiny("llama", gguf.F32)), llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l := newLoRA("blk.0.attn_q.weight", 64, 4, 64, 1)
	a, err := m.LoadAdapter(writeAdapter(t, "llama", 8, nil, l))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := newContext(t, m, llama.VerifyContextOptions(32, 1))
	if err := c.Overwrite(t.Context(), halves(l)); err == nil || !strings.Contains(err.Error(), "0 adapters") {
		t.Errorf("without an adapter: got %v", err)
	}
	if err := c.SetAdapters([]*llama.Adapter{a}, []float32{1}); err != nil {
		t.Fatal(err)
	}
	want, err := c.Logits(t.Context(), []int32{1, 2, 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("told to stop")
	cancel(cause)
	if err := c.Overwrite(stopped, halves(l)); !errors.Is(err, cause) {
		t.Errorf("when told to stop: got %v, want the cause", err)
	}
	other := newLoRA(l.name, 64, 4, 64, 9)
	short := halves(other)
	short[1].Values = short[1].Values[1:]
	for _, x := range []struct {
		name, says string
		tensors    []llama.Tensor
	}{
		{"one half", "lora_b", halves(other)[:1]},
		{"none", "lora_a", nil},
		{"twice", "twice", append(halves(other), halves(other)...)},
		{"another tensor", "blk.1.attn_q",
			append(halves(other), halves(newLoRA("blk.1.attn_q.weight", 64, 4, 64, 1))...)},
		{"too few numbers", "255 numbers", short},
	} {
		if err := c.Overwrite(t.Context(), x.tensors); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: got %v, want an error that says %q", x.name, err, x.says)
		}
	}
	got, err := c.Logits(t.Context(), []int32{1, 2, 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := maxDiff(got, want); d != 0 {
		t.Errorf("a refused overwrite changed the logits by %g", d)
	}
}

// However many threads compute, the logits are the same, to the bit, also after a new adapter.
func TestSetThreads(t *testing.T) {
	m, err := llama.OpenModel(synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)), llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := newContext(t, m, llama.VerifyContextOptions(32, 3))
	tokens := []int32{1, 20, 30, 40, 300, 5, 6, 7, 8, 9}
	var want []float32
	for i, n := range []int{3, 1, 2, 3} {
		if err := c.SetThreads(n); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if err := c.SetAdapters(nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.Logits(t.Context(), tokens, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if d := maxDiff(got, want); d != 0 {
			t.Errorf("%d threads: logits differ by %g", n, d)
		}
	}
	for _, n := range []int{0, 4} {
		if err := c.SetThreads(n); err == nil {
			t.Errorf("%d of 3 threads: no error", n)
		}
	}
}
