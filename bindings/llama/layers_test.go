package llama_test

import (
	"fmt"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestAdapterOfAnyDepth: an adapter on every matrix is computed whatever the number of layers, and so are two at once.
// llama.cpp sizes its graphs by the number of the model's tensors alone; of 12 layers with factors of rope, and of 24,
// 26 and 28, the nodes that an adapter adds were too many.
func TestAdapterOfAnyDepth(t *testing.T) {
	for layers := 1; layers <= 40; layers++ {
		for _, factors := range []bool{false, true} {
			if testing.Short() && layers%12 != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d layers, factors %v", layers, factors), func(t *testing.T) {
				s := synth.Tiny("llama", gguf.Q8_0)
				s.Layers, s.RopeFactors = layers, factors
				m, err := llama.OpenModel(synth.Temp(t, s), llama.VerifyModelOptions())
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				var adapters []*llama.Adapter
				for seed := range uint64(2) {
					a, err := m.LoadAdapter(writeAdapter(t, "llama", 1, nil, everywhere(layers, seed)...))
					if err != nil {
						t.Fatal(err)
					}
					defer a.Close()
					adapters = append(adapters, a)
				}
				c := newContext(t, m, llama.VerifyContextOptions(32, 1))
				var last []float32
				for n := range 3 {
					if err := c.SetAdapters(adapters[:n], []float32{1, 1}[:n]); err != nil {
						t.Fatalf("%d adapters: %v", n, err)
					}
					got, err := c.Logits(t.Context(), []int32{1, 20, 30}, nil)
					if err != nil {
						t.Fatalf("%d adapters: %v", n, err)
					}
					if n > 0 && maxDiff(got, last) == 0 {
						t.Errorf("%d adapters: the logits are those of one less", n)
					}
					last = got
				}
			})
		}
	}
}

// everywhere is an adapter on every matrix of the tiny llama.
func everywhere(layers int, seed uint64) []lora {
	out := []lora{newLoRA("output.weight", 64, 1, 320, seed)}
	for il := range layers {
		for name, size := range map[string][2]int{"attn_q": {64, 64}, "attn_k": {64, 32}, "attn_v": {64, 32},
			"attn_output": {64, 64},
			"ffn_gate":    {64, 128}, "ffn_up": {64, 128}, "ffn_down": {128, 64}} {
			out = append(out, newLoRA(fmt.Sprintf("blk.%d.%s.weight", il, name), size[0], 1, size[1], seed+uint64(il)))
		}
	}
	return out
}
