package mix

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A Model is what mixes ask of a model as a whole.
type Model struct {
	Arch    string
	Layers  int // block_count
	Heads   int64
	KVHeads int64 // of the first layer, like Heads; 0: it has no attention
	Experts int64
	// Importance says that an importance matrix weighs the rounding: llama.cpp's mixes then spend less on what needed
	// more without.
	Importance bool
}

// ModelOf reads what mixes ask of a model from its metadata; what is missing is what llama.cpp takes it for.
func ModelOf(f *gguf.File) (Model, error) {
	var m Model
	var errs []error
	get := func(key string, missing int64) int64 {
		key = m.Arch + "." + key
		if n, err := f.Int(key); err == nil {
			return n
		} else if errors.Is(err, gguf.ErrNoKey) {
			return missing
		}
		each, err := f.Ints(key) // one number for each layer
		if err != nil {
			errs = append(errs, err)
		}
		if len(each) == 0 {
			return missing
		}
		return each[0]
	}
	var err error
	if m.Arch, err = f.Architecture(); err != nil {
		return m, err
	}
	m.Layers = int(get("block_count", 0))
	m.Heads = get("attention.head_count", 0)
	m.KVHeads = get("attention.head_count_kv", m.Heads)
	m.Experts = get("expert_count", 0)
	return m, errors.Join(errs...)
}

// grouped says that at least four heads share a key head: their keys and values are small.
func (m *Model) grouped() bool { return m.KVHeads > 0 && m.Heads/m.KVHeads >= 4 }

// huge says that llama.cpp takes the model for one of 70 billion weights, whose values are small beside the rest
// (load_hparams in llama-model.cpp).
func (m *Model) huge() bool {
	switch m.Arch {
	case "llama":
		return m.Layers == 80 && m.Heads != m.KVHeads && m.Experts != 8
	case "deci", "qwen2", "qwen2vl", "olmo":
		return m.Layers == 80
	}
	return false
}

// A kind is what llama.cpp's quantizer knows a matrix by: a part of its name. Roles that are of one kind (a dense
// feed-forward matrix, those of experts, a shared one) are treated alike.
type kind string

const (
	value   kind = "attn_v.weight"
	key     kind = "attn_k.weight"
	query   kind = "attn_q.weight"
	down    kind = "ffn_down"
	attnOut kind = "attn_output.weight"
	fused   kind = "attn_qkv.weight" // queries, keys and values
	gate    kind = "ffn_gate"
	up      kind = "ffn_up"
)

// kinds in the order in which names are looked at.
var kinds = []kind{value, key, query, down, attnOut, fused, gate, up}

// A Place is where a tensor stands in its model.
type Place struct {
	*Model
	Role  string // of the tensor, by its name: "attn_v", "ffn_down", "token_embd"
	Layer int    // -1 outside the layers
	Shape []int64
	Tied  bool // the model has no output matrix: token_embd serves as it
	// Kept says that the tensor is left in the type that it has: norms, biases, and matrices that are small and that
	// much depends on.
	Kept bool

	kind   kind
	nth    int // among the matrices of its kind, in the order of layers
	values int // layers with attention, for what goes by the number of a value matrix
}

// Row is the number of elements in a row.
func (p Place) Row() int64 { return p.Shape[0] }

// isOutput says whether the tensor makes the logits.
func (p Place) isOutput() bool { return p.Role == "output" || p.Tied && p.Role == "token_embd" }

// depth is how many layers are before the tensor, and how many there are. llama.cpp counts matrices, and looks at names
// only where layers have several experts.
func (p Place) depth() (layer, layers int) {
	switch {
	case p.kind == value:
		return p.nth, p.values
	case p.Experts > 1:
		return p.Layer, p.Layers
	}
	return p.nth, p.Layers
}

// Places finds the place of every tensor of a model, by name and shape.
func Places(tensors []gguf.TensorInfo, m Model) []Place {
	out := make([]Place, len(tensors))
	tied, values := true, 0
	order := make([]int, len(tensors))
	for i, t := range tensors {
		role, layer := split(t.Name)
		out[i] = Place{Model: &m, Role: role, Layer: layer, Shape: t.Shape, Kept: Kept(t.Name, t.Shape)}
		order[i] = i
		tied = tied && t.Name != "output.weight"
		for _, k := range kinds {
			if strings.Contains(t.Name, string(k)) {
				out[i].kind = k
				break
			}
		}
		if out[i].kind == value || out[i].kind == fused || strings.Contains(t.Name, "attn_kv_b.weight") {
			values++
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return out[a].Layer - out[b].Layer })
	seen := map[kind]int{}
	for _, i := range order {
		p := &out[i]
		p.Tied, p.values = tied, values
		if !p.Kept {
			p.nth = seen[p.kind]
			seen[p.kind]++
		}
	}
	return out
}

// Roles lists the roles of the tensors that a mix chooses a type for, each once.
func Roles(places []Place) []string {
	var roles []string
	for _, p := range places {
		if !p.Kept && !slices.Contains(roles, p.Role) {
			roles = append(roles, p.Role)
		}
	}
	return roles
}

// never are parts of the names of matrices that llama.cpp's quantizer leaves alone: they are small, or decide on much
// (the loop over tensors in llama_model_quantize_impl).
var never = []string{"_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj",
	"ssm_conv1d.weight", "shortconv.conv.weight", "attn_rel_b.weight", ".position_embd.",
	"time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight",
	"time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight",
	"time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight",
	"time_mix_lerp_fused.weight"}

// Kept says whether a tensor stays in its type whatever the mix.
func Kept(name string, shape []int64) bool {
	if !strings.HasSuffix(name, "weight") || name == "position_embd.weight" || name == "token_types.weight" {
		return true
	}
	if !slices.ContainsFunc(shape[min(1, len(shape)):], func(n int64) bool { return n > 1 }) {
		return true // a vector
	}
	return slices.ContainsFunc(never, func(part string) bool { return strings.Contains(name, part) })
}

// Role is a tensor's role, by its name.
func Role(tensor string) string {
	role, _ := split(tensor)
	return role
}

// Layer is a tensor's layer, by its name; -1 outside the layers.
func Layer(tensor string) int {
	_, layer := split(tensor)
	return layer
}

// split reads a tensor's name: "blk.3.attn_v.weight" is attn_v of layer 3, "blk.3.shortconv.conv.weight" is
// shortconv.conv.
func split(name string) (role string, layer int) {
	layer = -1
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		number, tail, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			layer, name = n, tail
		}
	}
	role, rest, _ := strings.Cut(name, ".")
	if part, _, more := strings.Cut(rest, "."); more && layer >= 0 && strings.Trim(part, "0123456789") != "" {
		role += "." + part // shortconv.in_proj; a number is an expert's
	}
	return role, layer
}
