package llama_test

import (
	"context"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestApplyAdapters: what is read while adapters are not applied is the base's, what comes behind is the adapter's over
// it, and a switch in the middle changes neither what has been read nor, where nothing is read between, what follows.
func TestApplyAdapters(t *testing.T) {
	m, err := llama.OpenModel(synth.Temp(t, synth.Tiny("llama", gguf.F32)), llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := newContext(t, m, llama.VerifyContextOptions(32, 1))
	defer c.Close()
	lora := newLoRA("blk.0.attn_k.weight", 64, 3, 32, 1)
	a, err := m.LoadAdapter(writeAdapter(t, "llama", 12, nil, lora))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	tokens := []int32{5, 6, 7, 8, 9, 10, 11, 12}
	const border = 4 // as many tokens before as behind: llama.cpp would use one graph for both
	read := func(switches func(at int)) (out [][]float32) {
		t.Helper()
		if err := c.Truncate(0); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(tokens); at += border {
			switches(at)
			if err := c.MoreLogits(context.Background(), tokens[at:at+border], []int{0, 1, 2, 3},
				func(_ int, row []float32) error {
					out = append(out, slices.Clone(row))
					return nil
				}); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	apply := func(on bool) {
		t.Helper()
		if err := c.ApplyAdapters(on); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func(int) {}
	base := read(nothing)
	if err := c.SetAdapters([]*llama.Adapter{a}, []float32{1}); err != nil {
		t.Fatal(err)
	}
	with := read(nothing)
	late := read(func(at int) { apply(at > 0) })
	early := read(func(at int) { apply(at == 0) })
	for i := range tokens {
		want := map[bool][2][]float32{true: {base[i], with[i]}, false: {nil, nil}}[i < border]
		switch {
		case i < border && !slices.Equal(late[i], want[0]):
			t.Errorf("token %d, read before the adapter is applied, is not the base's", i)
		case i < border && !slices.Equal(early[i], want[1]):
			t.Errorf("token %d, read while the adapter is applied, is not the adapter's", i)
		case i >= border && (slices.Equal(late[i], base[i]) || slices.Equal(late[i], with[i])):
			t.Errorf("token %d, behind the switch, is as without one", i)
		case i >= border && (slices.Equal(early[i], base[i]) || slices.Equal(early[i], with[i])):
			t.Errorf("token %d, behind the switch off, is as without one", i)
		}
	}
	apply(false)
	if again := read(nothing); !slices.EqualFunc(again, base, slices.Equal) {
		t.Error("with adapters not applied it does not read as the base")
	}
	to := read(func(at int) { apply(false); apply(true) })
	if !slices.EqualFunc(to, with, slices.Equal) {
		t.Error("switched off and on again it does not read as before")
	}
	if err := c.SetAdapters([]*llama.Adapter{a}, []float32{1}); err != nil {
		t.Fatal(err)
	}
	if again := read(nothing); !slices.EqualFunc(again, with, slices.Equal) {
		t.Error("adapters that are set anew are not applied")
	}
}
