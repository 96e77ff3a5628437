package adapter_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// ofKind is an adapter of a kind with numbers that are no beginnings.
func ofKind(t *testing.T, net *arch.Net, kind adapter.Kind) *adapter.Adapter {
	t.Helper()
	a, err := adapter.New(net, config(func(c *adapter.Config) { c.Kind, c.Targets = kind, nil }))
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range a.Deltas() {
		for k, x := range d.Values {
			for j := range x {
				x[j] = float32(i+k+1) - float32(j)/16
			}
		}
	}
	return a
}

// TestKindsSaveLoad: what kinds leave as reads back as it was: LoRA where that is what it is, with more numbers than
// were trained, or a file of our own, which is refused where no model is at hand and by llama.cpp's checks.
func TestKindsSaveLoad(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	for _, kind := range adapter.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			a := ofKind(t, net, kind)
			path := filepath.Join(t.TempDir(), "adapter.gguf")
			if err := a.Save(context.Background(), nil, path); err != nil {
				t.Fatal(err)
			}
			got, err := adapter.Load(path, net)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a.Leaving(), got); d != "" {
				t.Errorf("read back otherwise (-written +read):\n%s", d)
			}
			n := int64(0)
			for _, d := range got.Deltas() {
				for _, x := range d.Values {
					n += int64(len(x))
				}
			}
			if a.Size() != n {
				t.Errorf("its size is %d, its file holds %d", a.Size(), n)
			}
			f, err := gguf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			_, alone := adapter.Read(path)
			peft := a.SavePEFT(context.Background(), nil, filepath.Join(t.TempDir(), "peft"), net)
			for what, err := range map[string]error{"without a model": alone, "for llama.cpp": f.CheckAdapterRuns(),
				"for PEFT": peft} {
				if refused := err != nil && strings.Contains(err.Error(), "ggtune merge"); refused != kind.Merged() {
					t.Errorf("%s: got error %v", what, err)
				}
			}
		})
	}
}

// TestKindsLoadRefuses: a file of our own that a stranger has changed is refused by name.
func TestKindsLoadRefuses(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32)) // n_embd 64
	const q, down = "blk.0.attn_q.weight", "blk.0.ffn_down.weight"
	dora := []half{{q + ".lora_a", []int64{64, 2}}, {q + ".lora_b", []int64{2, 64}},
		{q + ".lora_magnitude", []int64{64}}, {q + ".lora_norm", []int64{64}}}
	for name, tt := range map[string]struct {
		kind    string
		tensors []half
		want    string
	}{
		"no magnitudes":     {"dora", dora[:2], "lora_magnitude"},
		"no A":              {"dora", dora[1:], "lora_a"},
		"other rank":        {"dora", append([]half{{q + ".lora_a", []int64{64, 3}}}, dora[1:]...), "another model"},
		"an endless rank":   {"dora", []half{dora[0], {q + ".lora_b", []int64{1 << 20, 1}}}, "at most 1024"},
		"a vector too long": {"ia3", []half{{q + ".ia3", []int64{65}}}, "another model"},
		"a matrix":          {"ia3", []half{{q + ".ia3", []int64{64, 1, 2}}}, "another model"},
		"nothing":           {"ia3", nil, "no tensor of type ia3"},
		"a pair":            {"ia3", []half{{q + ".lora_a", []int64{64, 2}}}, "no part of a ia3 adapter"},
		"outside":           {"ia3", []half{{"output.weight.ia3", []int64{64}}}, "no matrix"},
		"unknown":           {"vera", []half{{down + ".vera_a", []int64{64, 2}}}, "only lora, dora and ia3"},
	} {
		t.Run(name, func(t *testing.T) {
			var w gguf.Writer
			w.SetString("general.type", "adapter")
			w.SetString("general.architecture", "llama")
			w.SetString("adapter.type", tt.kind)
			w.SetFloat32("adapter.lora.alpha", 4)
			for _, x := range tt.tensors {
				n := int64(1)
				for _, d := range x.shape {
					n *= d
				}
				if err := w.AddFloats(x.name, x.shape, make([]float32, n)); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "adapter.gguf")
			if err := w.WriteFile(context.Background(), nil, path); err != nil {
				t.Fatal(err)
			}
			if _, err := adapter.Load(path, net); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestKindsTargets: where a kind may stand, and what (IA)³ stands beside unless told otherwise.
func TestKindsTargets(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	a := ofKind(t, net, adapter.IA3)
	roles := map[arch.Role]int{}
	for _, p := range a.Pairs {
		roles[p.Role]++
	}
	if want := (map[arch.Role]int{"attn_k": net.NLayer, "attn_v": net.NLayer, "ffn_up": net.NLayer}); cmp.Diff(want,
		roles) != "" {
		t.Errorf("(IA)³ stands beside %v, want %v", roles, want)
	}
	gpt2 := sizes(t, synth.Tiny("gpt2", gguf.F32))
	for _, tt := range []struct {
		net     *arch.Net
		kind    adapter.Kind
		targets []string
		want    string
	}{
		{net, adapter.DoRA, []string{"output"}, "layers only"},
		{net, adapter.VeRA, []string{"token_embd"}, "layers only"},
		{gpt2, adapter.IA3, nil, "choose --targets"},
		{gpt2, adapter.IA3, []string{"attn_qkv"}, ""},
	} {
		_, err := adapter.New(tt.net, config(func(c *adapter.Config) { c.Kind, c.Targets = tt.kind, tt.targets }))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s at %v: got error %v, want one with %q", tt.kind, tt.targets, err, tt.want)
		}
	}
}

// TestKindsSum: those that are no sum cannot be scaled, nor stand beside another at a tensor.
func TestKindsSum(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	lora, dora, ia3 := ofKind(t, net, adapter.LoRA), ofKind(t, net, adapter.DoRA), ofKind(t, net, adapter.IA3)
	for name, tt := range map[string]struct {
		list []adapter.Scaled
		want string
	}{
		"half a dora":        {[]adapter.Scaled{{Adapter: dora, Scale: 0.5}}, "scaled by 0.5"},
		"an ia3 taken away":  {[]adapter.Scaled{{Adapter: ia3, Scale: -1}}, "scaled by -1"},
		"a dora behind lora": {[]adapter.Scaled{{Adapter: lora, Scale: 1}, {Adapter: dora, Scale: 1}}, "merge one"},
		"a lora behind ia3":  {[]adapter.Scaled{{Adapter: ia3, Scale: 1}, {Adapter: lora, Scale: 1}}, "merge one"},
		"two doras":          {[]adapter.Scaled{{Adapter: dora, Scale: 1}, {Adapter: dora, Scale: 1}}, "merge one"},
		"switched off":       {[]adapter.Scaled{{Adapter: dora, Scale: 0}, {Adapter: lora, Scale: 1}}, ""},
	} {
		_, err := adapter.NewSum(tt.list...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, tt.want)
		}
	}
}
