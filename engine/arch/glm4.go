package arch

import (
	"errors"

	"github.com/ggtune/ggtune/engine/gguf"
)

// GLM4 is GLM-4 of 0414 and the text part of GLM-4.1V (llama.cpp's src/models/glm4.cpp): norms before and after each
// half of a layer, gate and up of one matrix, rotary positions of a part of each head.
var GLM4 = register(Arch{
	Name: "glm4",
	Example: Example{Tokenizer: "llama-bpe", Keys: map[string]any{"rope.dimension_count": 8,
		"rope.dimension_sections": []int32{0, 0, 0, 0}}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{PartRope: true}, func(m *family) {
			a := &m.Layer.Attn
			m.square(*a)
			a.RopeFactors, a.SameOrder = false, true
			if m.sections(a.Rope.Dim) {
				a.Rope.Neox = true
				m.OwnOrder = "its rows of queries and keys are in an order of llama.cpp's own (rope.dimension_sections)"
			}
			m.Layer.Norms.AfterAttn, m.Layer.Norms.AfterFFN = AttnPostNorm, FFNPostNorm
			m.Layer.Biases, m.Layer.Sums = biases{QKV: true}, true
			m.Layer.FFN = gated{Embd: m.NEmbd, FF: m.FF, Fused: true}
		})
	},
	Hub: Hub{ModelType: "glm4", Class: "Glm4ForCausalLM", Layers: "model.layers", Modules: map[Role]string{
		TokenEmbd: "model.embed_tokens", OutputNorm: "model.norm", Output: "lm_head",
		AttnNorm: "input_layernorm", AttnQ: "self_attn.q_proj", AttnK: "self_attn.k_proj", AttnV: "self_attn.v_proj",
		AttnOutput: "self_attn.o_proj", AttnPostNorm: "post_self_attn_layernorm",
		FFNNorm: "post_attention_layernorm", FFNUp: "mlp.gate_up_proj", FFNDown: "mlp.down_proj",
		FFNPostNorm: "post_mlp_layernorm",
	}},
})

// sections says whether positions have sections: some of the rotated pairs turn by time, others by height and width,
// which are one and the same of text. The halves of a head are rotated then, not adjacent elements
// (llama_model_rope_type). dim is how many elements of a head are rotated.
func (k *keys) sections(dim int) bool {
	name := k.arch + ".rope.dimension_sections"
	s, err := k.f.Ints(name)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return false
	case err != nil:
		k.faults = append(k.faults, err)
		return false
	case len(s) != 4:
		k.fail("metadata key %q has %d numbers, expected 4: the pairs that turn by time, height, width and more", name,
			len(s))
		return false
	case s[0] == 0 && s[1] == 0 && s[2] == 0 && s[3] == 0:
		return false
	}
	switch sum := s[0] + s[1] + s[2] + s[3]; {
	case min(s[0], s[1]) <= 0 || s[2] < 0 || max(s[0], s[1], s[2]) > maxSize:
		k.fail("metadata key %q is %d, expected pairs that turn by time and by height, or all 0", name, s)
	case s[3] != 0:
		k.fail("metadata key %q is %d, expected no pairs in the fourth section: of text llama.cpp has them all at "+
			"position 0", name, s)
	case sum != int64(dim/2):
		k.fail("metadata key %q is %d, which makes %d pairs, expected those of the %d elements that are rotated: %d",
			name, s, sum, dim, dim/2)
	}
	return true
}
