package arch

import "fmt"

// A Hub is how Hugging Face's transformers calls and lays out what files of an architecture hold. In what order it has
// the rows of heads is in Part.PairedHeads.
type Hub struct {
	ModelType string // model_type of its config.json
	Class     string // the class that has an output head, the first of config.json's architectures
	Layers    string // the module that holds the layers, by number
	// Modules are the modules' names by role: of a layer's below the layer, of the others as a whole. A tensor's name
	// is its module's with the part's suffix. A role that only GGUF has, being a setting there, has none.
	Modules map[Role]string
	// Conv1D says that the layers' matrices lie as [n_in, n_out] (transformers' Conv1D); PEFT calls it fan_in_fan_out.
	Conv1D bool
}

// Module gives the name of the module whose weight or bias p is, in layer il or, below 0, outside the layers; "" if it
// has none.
func (h Hub) Module(p Part, il int) string {
	name := h.Modules[p.Role]
	if name == "" || il < 0 {
		return name
	}
	return fmt.Sprintf("%s.%d.%s", h.Layers, il, name)
}

// Hub gives that of the model's architecture.
func (n *Net) Hub() Hub {
	a, err := Get(n.Arch)
	if err != nil {
		panic(err) // Of has found it
	}
	return a.Hub
}

// decoderModules are those of llama, and of what came after it.
func decoderModules() map[Role]string {
	return map[Role]string{
		TokenEmbd: "model.embed_tokens", OutputNorm: "model.norm", Output: "lm_head",
		AttnNorm: "input_layernorm", AttnQ: "self_attn.q_proj", AttnK: "self_attn.k_proj", AttnV: "self_attn.v_proj",
		AttnQNorm: "self_attn.q_norm", AttnKNorm: "self_attn.k_norm", AttnOutput: "self_attn.o_proj",
		FFNNorm: "post_attention_layernorm", FFNGate: "mlp.gate_proj", FFNUp: "mlp.up_proj", FFNDown: "mlp.down_proj",
	}
}
