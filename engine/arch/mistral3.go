package arch

import (
	"errors"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
)

// Mistral3 is Ministral 3 (llama.cpp's src/models/mistral3.cpp): as llama, with positions stretched by a YaRN that says
// all of its settings, and scores that have a temperature by the query's position.
var Mistral3 = register(Arch{
	Name: "mistral3",
	Example: Example{Keys: map[string]any{"rope.scaling.type": "yarn", "rope.scaling.factor": float32(4),
		"rope.scaling.original_context_length": 16, "rope.scaling.yarn_beta_fast": float32(8),
		"rope.scaling.yarn_log_multiplier": float32(1), "attention.temperature_scale": float32(0.125)}},
	Read: func(f Metadata) (*Net, error) {
		t := traits{Stretch: []string{yarnBetaFast, yarnBetaSlow, yarnLogMul}}
		return readDecoder(f, t, func(m *family) {
			m.Layer.Biases = biases{QKV: true, Output: true, FFN: true}
			m.Layer.Attn.Rope.Temp, m.Layer.Attn.Rope.TempLen = m.temperature(), m.Layer.Attn.Rope.CtxOrig
		})
	},
	Hub: Hub{ModelType: "ministral3", Class: "Ministral3ForCausalLM", Layers: "model.layers",
		Modules: decoderModules()},
})

// temperature reads by how much the scores of later positions are multiplied, 0 being nothing.
func (k *keys) temperature() float64 {
	name := k.arch + ".attention.temperature_scale"
	v, err := k.f.Float32(name)
	switch x := float64(v); {
	case errors.Is(err, gguf.ErrNoKey):
	case err != nil:
		k.faults = append(k.faults, err)
	case x < 0 || math.IsNaN(x) || math.IsInf(x, 0):
		k.fail("metadata key %q is %g, expected 0 or a positive number", name, x)
	default:
		return x
	}
	return 0
}
