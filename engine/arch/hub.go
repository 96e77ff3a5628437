package arch

import (
	"fmt"
	"slices"
	"strings"
)

// A Hub is how Hugging Face's transformers calls and lays out what files of an architecture hold. In what order it has
// the rows of heads is in Part.PairedHeads.
type Hub struct {
	ModelType string // model_type of its config.json
	Class     string // the class that has an output head, the first of config.json's architectures
	// Also are other classes, of models that are computed in the same way.
	Also   []string
	Layers string // the module that holds the layers, by number
	// Roots are the modules below which models with a head have this one (base_model_prefix), where Layers does not
	// begin with it.
	Roots []string
	// Padded are those of the classes whose table of positions begins behind the padding token's number: rows up to it
	// are of no position (fairseq).
	Padded []string
	// Left are beginnings of the names of tensors that make nothing of what the graphs give.
	Left []string
	// Modules are the modules' names by role: of a layer's below the layer, of the others as a whole. A tensor's name
	// is its module's with the part's suffix. A role that only GGUF has, being a setting there, has none.
	Modules map[Role]string
	// Conv1D says that the layers' matrices lie as [n_in, n_out] (transformers' Conv1D); PEFT calls it fan_in_fan_out.
	Conv1D bool
	// Tied says that the output head is the token embedding where config.json does not say (tie_word_embeddings).
	Tied bool
	// Settings are those of config.json that become metadata, in the order in which llama.cpp's converter writes them.
	// Without any, adapters alone are carried over, and no models.
	Settings []HubSetting
	// Biases say which matrices of the layers have one: all of some roles, or none.
	Biases []HubBias
	// Must are settings that the graphs know in one way only, with what they may be, beside absent or null.
	Must map[string][]any
}

// A HubSetting is one of config.json that becomes metadata.
type HubSetting struct {
	Key     string   // below the architecture's name
	Names   []string // in config.json; the first that is there counts
	Float   bool     // a number of f32, else a u32
	Missing any      // a number, HubPerHead or HubFourWide; nil: it must be there
	// Optional says that the key is not written where no name is there.
	Optional bool
}

// A HubBias is a setting of config.json by which the matrices of roles have biases; without a name they always have.
type HubBias struct {
	Setting string
	Roles   []Role
}

// Models says that folders of models are read, and not adapters alone.
func (h Hub) Models() bool { return len(h.Settings) > 0 }

// Folders says that they are written too: those of encoders are not.
func (h Hub) Folders() bool {
	return h.Models() && !slices.ContainsFunc(h.Settings, func(s HubSetting) bool { return s.Key == HubEncoder })
}

// Leaves says whether a tensor is one that is left.
func (h Hub) Leaves(name string) bool {
	return slices.ContainsFunc(h.Left, func(begin string) bool { return strings.HasPrefix(name, begin) })
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

// expertModules are those of llama's family with experts: below block, router chooses them.
func expertModules(block, router string) map[Role]string {
	m := decoderModules()
	for _, dense := range []Role{FFNGate, FFNUp, FFNDown} {
		delete(m, dense)
	}
	m[FFNGateInp], m[FFNDownExps] = block+"."+router, block+".experts.down_proj"
	m[FFNGateExps], m[FFNUpExps] = block+".experts.gate_up_proj:gate", block+".experts.gate_up_proj:up"
	return m
}

// Parted says that transformers has a role's matrix in one module with others, of which no pair stands beside it alone.
func (h Hub) Parted(r Role) bool { return strings.Contains(h.Modules[r], ":") }

// HubRope is the key at whose place stand rope_theta and how positions are stretched: settings of several forms.
const HubRope = "rope"

// HubEncoder is the key at whose place stands that tokens see each other both ways.
const HubEncoder = "encoder"

// HubContext is the key of how many positions there are.
const HubContext = "context_length"

// HubFileType is the key at whose place stands general.file_type.
const HubFileType = "file_type"

// What a setting is where it is missing, if no number.
const (
	HubPerHead  = "hidden_size/num_attention_heads" // as transformers has it
	HubFourWide = "4*n_embd"
)

// decoderSettings are those of llama, and of what came after it.
func decoderSettings(more ...HubSetting) []HubSetting {
	out := []HubSetting{
		{Key: "block_count", Names: []string{"num_hidden_layers"}},
		{Key: HubContext, Names: []string{"max_position_embeddings"}},
		{Key: "embedding_length", Names: []string{"hidden_size"}},
		{Key: "feed_forward_length", Names: []string{"intermediate_size"}},
		{Key: "attention.head_count", Names: []string{"num_attention_heads"}},
		{Key: "attention.head_count_kv", Names: []string{"num_key_value_heads", "num_attention_heads"}},
		{Key: HubRope},
		{Key: "attention.layer_norm_rms_epsilon", Names: []string{"rms_norm_eps"}, Float: true},
	}
	return append(out, more...)
}

// decoderMust are what readDecoder's graphs know.
func decoderMust() map[string][]any {
	return map[string][]any{"hidden_act": {"silu"}, "use_sliding_window": {false}, "partial_rotary_factor": {1.0}}
}

// Paired puts the rows of heads, of which transformers has all first halves of the rotated pairs before the second
// ones, into GGUF's order: one pair behind the other. row is a row's length; with no heads x stays as it is.
func Paired(x []float32, heads int, row int64) []float32 { return reorder(x, heads, row, true) }

// Unpaired is Paired backwards.
func Unpaired(x []float32, heads int, row int64) []float32 { return reorder(x, heads, row, false) }

func reorder(x []float32, heads int, row int64, pair bool) []float32 {
	if heads == 0 {
		return x
	}
	out := make([]float32, len(x))
	head := int64(len(x)) / int64(heads)
	half := head / row / 2
	for h := range int64(heads) {
		from, to := x[h*head:(h+1)*head], out[h*head:(h+1)*head]
		for i := range half {
			for j := range int64(2) {
				halves, pairs := (j*half+i)*row, (2*i+j)*row
				if pair {
					copy(to[pairs:pairs+row], from[halves:halves+row])
				} else {
					copy(to[halves:halves+row], from[pairs:pairs+row])
				}
			}
		}
	}
	return out
}
