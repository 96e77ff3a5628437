package mix

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/engine/gguf"
)

// TestMixes walks the table: every mix chooses known types in every place, and no two say that they are the same. What
// they choose is held against llama.cpp's quantizer in engine/verify.
func TestMixes(t *testing.T) {
	numbers := map[uint32]string{}
	m := Model{Arch: "llama", Layers: 22, Heads: 8, KVHeads: 1}
	for _, mix := range All() {
		if mix.Name != strings.ToLower(mix.Name) || mix.About == "" {
			t.Errorf("%q: about %q; want a name in small letters, and what it is good for", mix.Name, mix.About)
		}
		if other := numbers[mix.FileType]; other != "" {
			t.Errorf("%s and %s are both file type %d", mix.Name, other, mix.FileType)
		}
		numbers[mix.FileType] = mix.Name
		var tensors []gguf.TensorInfo
		for _, role := range []string{"token_embd", "output", "blk.3.attn_q", "blk.3.attn_k", "blk.3.attn_v",
			"blk.3.attn_qkv", "blk.3.attn_output", "blk.3.ffn_gate", "blk.3.ffn_up", "blk.3.ffn_down", "blk.3.new"} {
			for _, row := range []int64{256, 96, 44} {
				tensors = append(tensors, gguf.TensorInfo{Name: role + ".weight", Shape: []int64{row, 4}})
			}
		}
		for i, p := range Places(tensors, m) {
			got := Fit(mix.Of(p), p.Row())
			if _, err := got.Size(p.Shape); err != nil {
				t.Errorf("%s: %s with rows of %d: %v", mix.Name, tensors[i].Name, p.Row(), err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	if m, err := Get("Q4_K_M"); err != nil || m.Name != "q4_k_m" || m.FileType != 15 {
		t.Errorf("got %q of file type %d, %v; want q4_k_m of 15", m.Name, m.FileType, err)
	}
	if _, err := Get("Q4_KM"); err == nil || !strings.Contains(err.Error(), `nearest: "q4_k_m"`) {
		t.Errorf("an unknown mix: got %v", err)
	}
	for short, want := range map[string]string{"q4_K": "q4_k_m", "Q3_K": "q3_k_m", "IQ4_XS": "iq4_xs"} {
		if m, err := ToWrite(short); err != nil || m.Name != want {
			t.Errorf("%s: got %q, %v, want %s", short, m.Name, err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	matrix := func(name string, out int64) gguf.TensorInfo {
		return gguf.TensorInfo{Name: name, Shape: []int64{64, out}}
	}
	tensors := []gguf.TensorInfo{
		matrix("token_embd.weight", 320), matrix("blk.11.attn_v.weight", 16), matrix("blk.0.attn_q.weight", 64),
		matrix("blk.0.attn_v.weight", 16), {Name: "blk.0.attn_q.bias", Shape: []int64{64}},
		matrix("blk.x.odd.weight", 2), matrix("blk.0.ffn_gate_inp.weight", 8), matrix("position_embd.weight", 99),
		{Name: "blk.0.attn_norm.weight", Shape: []int64{64, 1}},
		matrix("blk.1.shortconv.in_proj.weight", 192), matrix("blk.1.shortconv.conv.weight", 64),
		matrix("blk.1.ffn_up.3.weight", 64),
	}
	m := Model{Arch: "llama", Layers: 12, Heads: 8, KVHeads: 2}
	got := Places(tensors, m)
	want := []Place{
		{Role: "token_embd", Layer: -1}, {Role: "attn_v", Layer: 11, kind: value, nth: 1},
		{Role: "attn_q", kind: query}, {Role: "attn_v", kind: value}, {Role: "attn_q", Kept: true},
		{Role: "blk", Layer: -1, nth: 1}, {Role: "ffn_gate_inp", Kept: true, kind: gate},
		{Role: "position_embd", Layer: -1, Kept: true},
		{Role: "attn_norm", Kept: true},
		{Role: "shortconv.in_proj", Layer: 1, nth: 2}, {Role: "shortconv.conv", Layer: 1, Kept: true},
		{Role: "ffn_up", Layer: 1, kind: up},
	}
	for i := range want {
		want[i].Model, want[i].Tied, want[i].Shape, want[i].values = &m, true, tensors[i].Shape, 2
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Place{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("places (-want +got):\n%s", d)
	}
	if !got[0].isOutput() || got[3].isOutput() {
		t.Error("the embedding is the output of a tied model, and nothing else is")
	}
	untied := Places(append(tensors, matrix("output.weight", 320)), m)
	if untied[0].isOutput() || !untied[len(tensors)].isOutput() {
		t.Error("the output of a model that is not tied is its output matrix")
	}
	if got, want := Roles(got), []string{"token_embd", "attn_v", "attn_q", "blk", "shortconv.in_proj",
		"ffn_up"}; !slices.Equal(got, want) {
		t.Errorf("roles: got %v, want %v", got, want)
	}
}

func TestModelOf(t *testing.T) {
	var w gguf.Writer
	w.SetString("general.architecture", "nemo")
	w.SetUint32("nemo.block_count", 3)
	w.Set("nemo.attention.head_count", gguf.NumbersValue([]int32{8, 4, 4}))
	w.SetUint32("nemo.expert_count", 8)
	if err := w.AddFloats("output_norm.weight", []int64{1}, []float32{1}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := ModelOf(f)
	if err != nil {
		t.Fatal(err)
	}
	// A number for each layer: the first counts. As many key heads as heads, where nothing else is said.
	if want := (Model{Arch: "nemo", Layers: 3, Heads: 8, KVHeads: 8, Experts: 8}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
