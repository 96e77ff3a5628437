package adapter_test

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

func TestSaveLoad(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	want, err := adapter.New(net,
		config(func(c *adapter.Config) { c.RSLoRA, c.Targets = true, []string{"attn_q", "output", "token_embd"} }))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Pairs {
		for j := range want.Pairs[i].B {
			want.Pairs[i].B[j] = float32(i) - float32(j)/8
		}
	}
	want.Info["method"] = "sft"
	want.Purpose = adapter.Purpose{TaskName: "haiku", PromptPrefix: "Write: ", Invocation: []int32{7, 0, 7}}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := want.Save(context.Background(), atomicfile.OS, path); err != nil {
		t.Fatal(err)
	}
	got, err := adapter.Load(path, net)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read back otherwise (-written +read):\n%s", d)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if alpha, err := f.Float32("adapter.lora.alpha"); err != nil || alpha != 16 { // 8·√4
		t.Errorf("the file's alpha is %g (%v), want 16", alpha, err)
	}
	if v, err := f.Value("adapter.alora.invocation_tokens"); err != nil || v.TypeName() != "array of 3 uint32" {
		t.Errorf("the file's invocation is %s (%v), want an array of uint32, as llama.cpp demands", v.TypeName(), err)
	}
}

// A half is one tensor of an adapter file, all zero.
type half struct {
	name  string
	shape []int64
}

func TestLoadRefuses(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32)) // n_embd 64, two key heads of four
	const q = "blk.0.attn_q.weight"
	pair := []half{{q + ".lora_a", []int64{64, 4}}, {q + ".lora_b", []int64{4, 64}}}
	keep := func(*gguf.Writer) {}
	alpha := func(x float64) func(w *gguf.Writer) {
		return func(w *gguf.Writer) { w.SetFloat32("adapter.lora.alpha", float32(x)) }
	}
	for name, tt := range map[string]struct {
		change func(w *gguf.Writer)
		halves []half
		want   []string
	}{
		"a key of adapters that is not known": {func(w *gguf.Writer) { w.SetString("adapter.alora.what", "x") }, pair,
			[]string{"adapter.alora.what", "not known"}},
		"an invocation of another model": {func(w *gguf.Writer) {
			w.Set("adapter.alora.invocation_tokens", gguf.NumbersValue([]uint32{1, 1 << 20}))
		}, pair, []string{"token 1048576", "another model"}},
		"an invocation of no tokens": {func(w *gguf.Writer) {
			w.Set("adapter.alora.invocation_tokens", gguf.NumbersValue([]int64{-1}))
		}, pair, []string{"-1 is no token's number"}},
		"a task name that is none": {func(w *gguf.Writer) { w.SetUint32("adapter.lora.task_name", 1) }, pair,
			[]string{"adapter.lora.task_name", "expected string"}},
		"no tensors": {keep, nil, []string{"holds no LoRA pair", ".lora_a"}},
		"A alone":    {keep, pair[:1], []string{q + ".lora_b", "no such tensor"}},
		"B alone":    {keep, pair[1:], []string{q + ".lora_b", "no half of a LoRA pair"}},
		"another tensor": {keep, append([]half{{"blk.0.attn_q.weight", []int64{64, 64}}}, pair...),
			[]string{"no half of a LoRA pair"}},
		"alpha missing": {func(w *gguf.Writer) { w.Delete("adapter.lora.alpha") }, pair,
			[]string{"adapter.lora.alpha", "missing"}},
		"alpha 0":        {alpha(0), pair, []string{"adapter.lora.alpha is 0", "above 0"}},
		"alpha below 0":  {alpha(-2), pair, []string{"adapter.lora.alpha is -2"}},
		"alpha NaN":      {alpha(math.NaN()), pair, []string{"adapter.lora.alpha is NaN"}},
		"alpha infinite": {alpha(math.Inf(1)), pair, []string{"adapter.lora.alpha is +Inf"}},
		"a model": {func(w *gguf.Writer) { w.SetString("general.type", "model") }, pair,
			[]string{"a model, not an adapter"}},
		"another type": {func(w *gguf.Writer) { w.SetString("adapter.type", "loha") }, pair,
			[]string{`"loha"`, "only lora"}},
		"another arch": {func(w *gguf.Writer) { w.SetString("general.architecture", "qwen2") }, pair,
			[]string{`"qwen2"`, `"llama"`}},
		"another width": {keep, []half{{q + ".lora_a", []int64{32, 4}}, {q + ".lora_b", []int64{4, 64}}},
			[]string{"[32 4]", "[64 4]", "another model"}},
		"another height": {keep, []half{{q + ".lora_a", []int64{64, 4}}, {q + ".lora_b", []int64{4, 32}}},
			[]string{"[4 32]", "[4 64]", "another model"}},
		"ranks that differ": {keep, []half{{q + ".lora_a", []int64{64, 4}}, {q + ".lora_b", []int64{2, 64}}},
			[]string{"[64 4]", "[64 2]"}},
		"a vector": {keep, []half{{q + ".lora_a", []int64{64}}, {q + ".lora_b", []int64{1, 64}}},
			[]string{"expected matrices"}},
		"a layer too many": {keep,
			[]half{{"blk.2.attn_q.weight.lora_a", []int64{64, 4}}, {"blk.2.attn_q.weight.lora_b", []int64{4, 64}}},
			[]string{"blk.2.attn_q.weight", "another model"}},
		"a pair on a norm": {keep,
			[]half{{"blk.0.attn_norm.weight.lora_a", []int64{64, 4}}, {"blk.0.attn_norm.weight.lora_b", []int64{4, 1}}},
			[]string{"no linear tensor"}},
	} {
		t.Run(name, func(t *testing.T) {
			var w gguf.Writer
			w.SetString("general.type", "adapter")
			w.SetString("general.architecture", "llama")
			w.SetString("adapter.type", "lora")
			w.SetFloat32("adapter.lora.alpha", 8)
			tt.change(&w)
			for _, h := range tt.halves {
				n := int64(1)
				for _, d := range h.shape {
					n *= d
				}
				if err := w.AddFloats(h.name, h.shape, make([]float32, n)); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "adapter.gguf")
			if err := w.WriteFile(context.Background(), atomicfile.OS, path); err != nil {
				t.Fatal(err)
			}
			_, err := adapter.Load(path, net)
			refused(t, err, append(tt.want, path)...)
		})
	}
}

// TestLoadRefusesTiedEmbeddings: what New refuses, a file from elsewhere may hold.
func TestLoadRefusesTiedEmbeddings(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	ad, err := adapter.New(net, config(func(c *adapter.Config) { c.Targets = []string{"token_embd"} }))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := ad.Save(context.Background(), atomicfile.OS, path); err != nil {
		t.Fatal(err)
	}
	net.TiedOutput = true
	if _, err := adapter.Load(path, net); err == nil || !strings.Contains(err.Error(), "both uses") {
		t.Errorf("got error %v, want one that says the tensor has both uses", err)
	}
}
