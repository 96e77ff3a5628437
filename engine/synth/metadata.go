package synth

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A key is one of a model's metadata, without the architecture's name.
type key struct {
	name  string
	value any // int, float32, string, bool or []int32
	// with names the key whose reading says that files of the architecture have this one; empty: all files have it.
	with string
}

// keys are the metadata that a file may have, in the order in which they are written.
func (s Spec) keys(a arch.Arch) []key {
	// Where positions are computed, files say how large a head is; where they are learned it is n_embd/n_head.
	const rotary = "rope.dimension_count"
	const expertFF = "expert_feed_forward_length" // of an expert; where it is not asked for, the other says it
	out := []key{
		{"context_length", s.Ctx, ""},
		{"embedding_length", s.Embd, ""},
		{"block_count", s.Layers, ""},
		{"feed_forward_length", s.FF, ""},
		{expertFF, s.FF, expertFF},
		{"attention.head_count", s.Heads, ""},
		{"attention.head_count_kv", s.kvHeads(), ""},
		{"vocab_size", s.Vocab, ""},
		{"attention.layer_norm_epsilon", s.normEps(), "attention.layer_norm_epsilon"},
		{"attention.layer_norm_rms_epsilon", s.normEps(), "attention.layer_norm_rms_epsilon"},
		{"rope.freq_base", s.ropeBase(), rotary},
		{rotary, s.headDim(), rotary},
		{"attention.key_length", s.headDim(), rotary},
		{"attention.value_length", s.headDim(), rotary},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Keys)) {
		if _, own := a.Example.Keys[name]; !own {
			out = append(out, key{name, s.Keys[name], ""})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Example.Keys)) {
		value, ok := s.Keys[name]
		if !ok {
			value = a.Example.Keys[name]
		}
		if i := slices.IndexFunc(out, func(k key) bool { return k.name == name }); i >= 0 {
			out[i].value = value // which is usually as the sizes say
			continue
		}
		out = append(out, key{name, value, ""})
	}
	for i, k := range out {
		switch v := k.value.(type) {
		case []int:
			list := make([]int32, s.Layers) // as llama.cpp's converter writes them
			for il := range list {
				list[il] = int32(v[il%len(v)])
			}
			out[i].value = list
		case []bool:
			list := make([]bool, s.Layers)
			for il := range list {
				list[il] = v[il%len(v)]
			}
			out[i].value = list
		}
	}
	return out
}

// scales says that a key is of how positions are stretched, which models of any architecture with rotary ones may have.
func scales(name string) bool { return strings.HasPrefix(name, "rope.scaling.") }

// A draft is a file that is still to be written, as an architecture reads it: it answers from the Spec, and notes what
// is asked.
type draft struct {
	s     Spec
	keys  []key
	asked map[string]bool      // with the architecture's name
	where map[arch.Role]string // arch.Example's
}

// read has the architecture read what the Spec will be, and gives the metadata that it goes by.
func (s Spec) read(a arch.Arch) (*arch.Net, []key, error) {
	d := &draft{s: s, keys: s.keys(a), asked: map[string]bool{}, where: a.Example.Where}
	net, err := a.Read(d)
	if err != nil {
		return nil, nil, err
	}
	written := slices.DeleteFunc(d.keys, func(k key) bool { return k.with != "" && !d.asked[s.Arch+"."+k.with] })
	return net, written, nil
}

func (d *draft) find(name string) any {
	d.asked[name] = true
	if n := tokenTypes[d.s.tokenizerKind()]; name == tokenTypesKey && n > 0 {
		return int(n)
	}
	for _, k := range d.keys {
		if d.s.Arch+"."+k.name == name {
			return k.value
		}
	}
	return nil
}

func (d *draft) Path() string                  { return "generated model" }
func (d *draft) Architecture() (string, error) { return d.s.Arch, nil }

func (d *draft) Int(name string) (int64, error) {
	switch v := d.find(name).(type) {
	case nil:
		return 0, fmt.Errorf("generated model: %w: %q", gguf.ErrNoKey, name)
	case int:
		return int64(v), nil
	default:
		return 0, fmt.Errorf("generated model: metadata key %q is %v, asked for as a whole number", name, v)
	}
}

func (d *draft) Float32(name string) (float32, error) {
	switch v := d.find(name).(type) {
	case nil:
		return 0, fmt.Errorf("generated model: %w: %q", gguf.ErrNoKey, name)
	case float32:
		return v, nil
	default:
		return 0, fmt.Errorf("generated model: metadata key %q is %v, asked for as a number of f32", name, v)
	}
}

func (d *draft) Bool(name string) (bool, error) {
	switch v := d.find(name).(type) {
	case nil:
		return false, fmt.Errorf("generated model: %w: %q", gguf.ErrNoKey, name)
	case bool:
		return v, nil
	default:
		return false, fmt.Errorf("generated model: metadata key %q is %v, asked for as true or false", name, v)
	}
}

func (d *draft) Ints(name string) ([]int64, error) {
	switch v := d.find(name).(type) {
	case nil:
		return nil, fmt.Errorf("generated model: %w: %q", gguf.ErrNoKey, name)
	case []int32:
		out := make([]int64, len(v))
		for i, x := range v {
			out[i] = int64(x)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("generated model: metadata key %q is %v, asked for as whole numbers", name, v)
	}
}

func (d *draft) Bools(name string) ([]bool, error) {
	switch v := d.find(name).(type) {
	case nil:
		return nil, fmt.Errorf("generated model: %w: %q", gguf.ErrNoKey, name)
	case []bool:
		return v, nil
	default:
		return nil, fmt.Errorf("generated model: metadata key %q is %v, asked for as true or false each", name, v)
	}
}

func (d *draft) StringOr(name, missing string) (string, error) {
	switch v := d.find(name).(type) {
	case nil:
		return missing, nil
	case string:
		return v, nil
	default:
		return "", fmt.Errorf("generated model: metadata key %q is %v, asked for as text", name, v)
	}
}

// HasTensor knows those on which the rest of a net depends.
func (d *draft) HasTensor(name string) bool {
	switch name {
	case arch.TensorName(arch.TokenEmbd, ".weight", -1):
		return true
	case arch.TensorName(arch.TokenTypes, ".weight", -1):
		return tokenTypes[d.s.tokenizerKind()] > 0
	case arch.TensorName(arch.Output, ".weight", -1):
		return !d.s.Tied
	case arch.TensorName(arch.RopeFreqs, ".weight", -1):
		return d.s.RopeFactors
	case arch.TensorName(arch.Dense2, ".weight", -1), arch.TensorName(arch.Dense3, ".weight", -1):
		n, err := d.Int(d.s.Arch + ".dense_2_feat_out")
		return err == nil && n > 0
	}
	for role, key := range d.where {
		if in, err := d.Bools(d.s.Arch + "." + key); err == nil {
			for il, has := range in {
				if has && name == arch.TensorName(role, ".weight", il) {
					return true
				}
			}
		}
	}
	return false
}

// Tensor knows the embedding, whose rows are the vocabulary.
func (d *draft) Tensor(name string) (*gguf.TensorInfo, error) {
	if name == arch.TensorName(arch.TokenEmbd, ".weight", -1) {
		return &gguf.TensorInfo{Name: name, Shape: []int64{int64(d.s.Embd), int64(d.s.Vocab)}}, nil
	}
	return nil, fmt.Errorf("generated model: tensor %q is not known before the architecture has said its tensors", name)
}

// metadata writes all but the tokenizer.
func (s Spec) metadata(w *gguf.Writer, keys []key) {
	name := s.Name
	if name == "" {
		// of a model whose name has "phi3" in it llama.cpp expects Phi-3's tokens
		name = "generated " + strings.Replace(s.Arch, "phi3", "phi 3", 1)
	}
	w.SetString("general.architecture", s.Arch)
	w.SetString("general.type", "model")
	w.SetString("general.name", name)
	w.SetUint32("general.file_type", s.mix().FileType)
	w.SetUint32("general.quantization_version", 2) // GGML_QNT_VERSION
	for _, k := range keys {
		at := s.Arch + "." + k.name
		switch v := k.value.(type) {
		case int:
			w.SetUint32(at, uint32(v))
		case float32:
			w.SetFloat32(at, v)
		case string:
			w.SetString(at, v)
		case bool:
			w.SetBool(at, v)
		case []int32:
			w.Set(at, gguf.NumbersValue(v))
		case []bool:
			w.Set(at, gguf.BoolsValue(v))
		}
	}
}
