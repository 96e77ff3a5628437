package gguf

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// What llama.cpp asserts, or worse, is refused before it in words that name the place and what was expected.
func TestCheckRuns(t *testing.T) {
	number := func(key string, v uint32) func(*Writer) { return func(w *Writer) { w.SetUint32("llama."+key, v) } }
	float := func(key string, v float64) func(*Writer) {
		return func(w *Writer) { w.SetFloat32("llama."+key, float32(v)) }
	}
	add := func(name string, typ Type, shape ...int64) func(*Writer) {
		return func(w *Writer) {
			size, err := typ.Size(shape)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.AddBytes(name, typ, shape, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	experts := func(n, used, groups, inUse uint32) func(*Writer) {
		return func(w *Writer) {
			number("expert_count", n)(w)
			number("expert_used_count", used)(w)
			number("expert_group_count", groups)(w)
			number("expert_group_used_count", inUse)(w)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*Writer)
		want   string // "": it is accepted
	}{
		{"sound", func(*Writer) {}, ""},
		{"no layer", number("block_count", 0), `"llama.block_count" is 0, expected 1 to 512`},
		{"too many layers", number("block_count", 513), "expected 1 to 512"},
		{"no context", number("context_length", 0), `"llama.context_length" is 0`},
		{"no width", number("embedding_length", 0), `"llama.embedding_length" is 0`},
		{"experts", experts(8, 2, 4, 2), ""},
		{"too many experts", experts(513, 2, 0, 0), `"llama.expert_count" is 513, expected 0 to 512`},
		{"more experts used than there are", experts(2, 3, 0, 0),
			`"llama.expert_used_count" is 3 of 2 experts, expected 1 to 2`},
		{"no expert used", experts(2, 0, 0, 0), `"llama.expert_used_count" is 0 of 2`},
		{"experts used of none", experts(0, 2, 0, 0), `"llama.expert_used_count" is 2 of 0`},
		{"groups of none", experts(0, 0, 2, 1), `"llama.expert_group_count" is 2 of 0`},
		{"as many groups as experts", experts(4, 1, 4, 1), `"llama.expert_group_count" is 4 of 4`},
		{"groups that do not divide", experts(8, 1, 3, 1), "does not divide 8"},
		{"all groups in use", experts(8, 1, 4, 4), `"llama.expert_group_used_count" is 4 of 4 groups, expected 1 to 3`},
		{"eps NaN", float("attention.layer_norm_rms_epsilon", math.NaN()),
			`"llama.attention.layer_norm_rms_epsilon" is NaN`},
		{"eps below 0", float("attention.layer_norm_rms_epsilon", -1), "is -1, expected a small positive number"},
		{"eps without an end", float("attention.layer_norm_epsilon", math.Inf(1)), "is +Inf"},
		{"another float NaN", float("rope.freq_base", math.NaN()), `"llama.rope.freq_base" is NaN`},
		{"rope scaling", func(w *Writer) { w.SetString("llama.rope.scaling.type", "spiral") },
			`"llama.rope.scaling.type" is "spiral"; known: none, linear, yarn, longrope`},
		{"an odd rotary size", number("rope.dimension_count", 3),
			"is 3, expected an even number up to the head size 16"},
		{"a rotary size beyond the head", number("rope.dimension_count", 18), "is 18, expected"},
		{"heads without number", number("attention.head_count", 1<<31), `"llama.attention.head_count" is 2147483648`},
		{"integers as weights", add("blk.0.ffn_up.weight", I32, 32, 32),
			`tensor "blk.0.ffn_up.weight" is storage type i32, which is no weight type`},
		{"activations as weights", add("blk.0.ffn_up.weight", Q8_K, 256, 2), "storage type q8_K"},
		{"f64 weights", add("blk.0.ffn_up.weight", F64, 32, 2), "storage type f64"},
		{"a norm of another type", add("blk.0.attn_norm.weight", Q8_0, 32),
			`tensor "blk.0.attn_norm.weight" is storage type q8_0; norms`},
		{"a bias of another type", add("blk.0.attn_q.bias", F16, 32),
			`tensor "blk.0.attn_q.bias" is storage type f16; norms`},
		{"quantized weights", add("blk.0.ffn_up.weight", Q4_K, 256, 2), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var w Writer
			w.SetString("general.architecture", "llama")
			w.SetUint32("llama.block_count", 1)
			w.SetUint32("llama.embedding_length", 32)
			w.SetUint32("llama.context_length", 64)
			w.SetUint32("llama.attention.head_count", 2)
			add("token_embd.weight", F32, 32, 4)(&w)
			tc.change(&w)
			path := filepath.Join(t.TempDir(), "m.gguf")
			if err := w.WriteFile(t.Context(), nil, path); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			switch err := f.CheckRuns(); {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" &&
				(err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), path)):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
