package verify_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/bindings/llama/reference"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// rules are those of llama.cpp's quantizer that changed after January 2026. Those of quant/mix are the older ones.
type rules struct {
	fusedAsValues bool      // attn_qkv gets what attn_v would get in its place
	unfilled      gguf.Type // in place of q2_K and q3_K where their blocks do not fill a row
	iq3Weighed    bool      // iq3_xxs needs an importance matrix, but for outputs and embeddings
}

var olderRules = rules{unfilled: gguf.IQ4_NL}

// linkedRules asks the linked llama.cpp for its rules. The Go module's are the older ones; an installed one's may be.
func linkedRules(t *testing.T) rules {
	t.Helper()
	typeOf := func(s source, mixName, tensor string) (gguf.Type, error) {
		m, err := mix.Get(mixName)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "asked.gguf")
		if err := reference.Quantize(s.write(t, nil), out, m.FileType, false, nil); err != nil {
			return 0, err
		}
		x, err := openFile(t, out).Tensor(tensor)
		if err != nil {
			t.Fatal(err)
		}
		return x.Type, nil
	}
	var r rules
	// of q4_k_s the first values are q5_K, and what is fused is no exception
	fused, err := typeOf(byHand("phi3", 9, 8, 4, 0, "attn_qkv.weight"), "q4_k_s", "blk.0.attn_qkv.weight")
	if err != nil {
		t.Fatal(err)
	}
	r.fusedAsValues = fused == gguf.Q5_K
	odd := func(s *synth.Spec) { s.Embd, s.FF = 96, 160 }
	if r.unfilled, err = typeOf(ofArch(t, "llama", odd), "q3_k_s", "blk.0.attn_q.weight"); err != nil {
		t.Fatal(err)
	}
	_, err = typeOf(byHand("llama", 9, 8, 4, 0, "attn_q.weight"), "iq3_xs", "blk.0.attn_q.weight")
	r.iq3Weighed = err != nil && strings.Contains(err.Error(), "requires an imatrix")
	if err != nil && !r.iq3Weighed {
		t.Fatal(err)
	}
	build, system, err := llama.System()
	if err != nil {
		t.Fatal(err)
	}
	if !system && r != olderRules {
		t.Fatalf("the Go module's quantizer has the rules %+v, want those of quant/mix, %+v", r, olderRules)
	}
	t.Logf("llama.cpp %+v: %+v", build, r)
	return r
}

// choose has each tensor get the type that llama.cpp gives it by its rules.
func (r rules) choose(t *testing.T, f *gguf.File, c quant.Choice) quant.Choice {
	t.Helper()
	if r == olderRules {
		return c
	}
	m, err := mix.ModelOf(f)
	if err != nil {
		t.Fatal(err)
	}
	m.Importance = c.Importance != nil
	tensors := slices.Clone(f.Tensors)
	for i := range tensors {
		if r.fusedAsValues {
			tensors[i].Name = strings.Replace(tensors[i].Name, "attn_qkv.weight", "attn_v.weight", 1)
		}
	}
	c.Tensors = map[string]gguf.Type{}
	for i, p := range mix.Places(tensors, m) {
		if p.Kept {
			continue
		}
		to := c.Mix.Of(p)
		if (to == gguf.Q2_K || to == gguf.Q3_K) && p.Row()%int64(to.BlockSize()) != 0 {
			to = r.unfilled
		}
		c.Tensors[f.Tensors[i].Name] = to
	}
	return c
}

// refuses says whether llama.cpp refuses by a rule that quant does not have.
func (r rules) refuses(p *quant.Plan, c quant.Choice) bool {
	return r.iq3Weighed && c.Importance == nil && slices.ContainsFunc(p.Changes, func(x quant.Change) bool {
		return x.To == gguf.IQ3_XXS && x.Tensor.Name != "output.weight" && x.Tensor.Name != "token_embd.weight"
	})
}
