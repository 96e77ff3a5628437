package mix

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/gguf"
)

// TestMixes walks the table: every mix chooses known types in every place, and no two say that they are the same.
func TestMixes(t *testing.T) {
	numbers := map[uint32]string{}
	for _, m := range mixes.All() {
		if m.Name != strings.ToLower(m.Name) || m.Written == (m.About == "") {
			t.Errorf("%q: written %v, about %q; want a name in small letters, and what it is good for where it is "+
				"written",
				m.Name, m.Written, m.About)
		}
		if other := numbers[m.FileType]; other != "" {
			t.Errorf("%s and %s are both file type %d", m.Name, other, m.FileType)
		}
		numbers[m.FileType] = m.Name
		for _, role := range []string{"token_embd", "output", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output",
			"ffn_up", "ffn_down", "new"} {
			for _, row := range []int64{256, 96, 44} {
				p := Place{Role: role, Layer: 3, NLayer: 22, Shape: []int64{row, 4}, GQA: 8}
				got := Fit(m.Of(p), row)
				if _, err := got.Size(p.Shape); err != nil {
					t.Errorf("%s: %s with rows of %d: %v", m.Name, role, row, err)
				}
			}
		}
	}
}

func TestGet(t *testing.T) {
	if m, err := Get("Q4_K_M"); err != nil || m.Name != "q4_k_m" || m.FileType != 15 {
		t.Errorf("got %q of file type %d, %v; want q4_k_m of 15", m.Name, m.FileType, err)
	}
	if _, err := Get("Q4_KM"); err == nil || !strings.Contains(err.Error(), `nearest: "q4_k_m"`) {
		t.Errorf("an unknown mix: got %v", err)
	}
}

func TestToWrite(t *testing.T) {
	if m, err := ToWrite("Q8_0"); err != nil || m.Name != "q8_0" {
		t.Errorf("capitals: got %v, %v", m.Name, err)
	}
	var names []string
	for _, m := range Written() {
		names = append(names, m.Name)
	}
	can := strings.Join(names, ", ")
	for name, want := range map[string]string{
		"q9_9":   "known: " + can,
		"iq4_xs": "storage type iq4_xs is read, but cannot be written; those that can: " + can,
		"q3_K":   "storage type q3_K is read, but cannot be written; those that can: " + can,
		"q1_K_M": `unknown storage type "q1_k_m"`,
	} {
		if m, err := ToWrite(name); err == nil || !strings.Contains(err.Error(), want) || m.Of != nil {
			t.Errorf("%s: got %q and %v, want %q", name, m.Name, err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	matrix := func(name string, out int64) gguf.TensorInfo {
		return gguf.TensorInfo{Name: name, Shape: []int64{64, out}}
	}
	tensors := []gguf.TensorInfo{
		matrix("token_embd.weight", 320), matrix("blk.0.attn_q.weight", 64), matrix("blk.0.attn_k.weight", 16),
		matrix("blk.0.attn_v.weight", 16),
		{Name: "blk.0.attn_q.bias", Shape: []int64{64}}, matrix("blk.11.attn_v.weight", 16),
		matrix("blk.x.odd.weight", 1),
	}
	got := Places(tensors)
	want := []Place{
		{Role: "token_embd", Layer: -1, GQA: 1}, {Role: "attn_q", GQA: 4}, {Role: "attn_k", GQA: 4},
		{Role: "attn_v", GQA: 4},
		{Role: "attn_q", GQA: 4}, {Role: "attn_v", Layer: 11, GQA: 1}, {Role: "blk", Layer: -1, GQA: 1},
	}
	for i := range want {
		want[i].NLayer, want[i].Tied, want[i].Shape = 12, true, tensors[i].Shape
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("places (-want +got):\n%s", d)
	}
	if !got[0].isOutput() || got[3].isOutput() {
		t.Error("the embedding is the output of a tied model, and nothing else is")
	}
	untied := Places(append(tensors, matrix("output.weight", 320)))
	if untied[0].isOutput() || !untied[len(tensors)].isOutput() {
		t.Error("the output of a model that is not tied is its output matrix")
	}
}
