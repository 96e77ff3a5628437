package hub

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// dtypes are what config.json calls the types that matrices are written in.
var dtypes = map[gguf.Type]string{gguf.F32: "float32", gguf.F16: "float16", gguf.BF16: "bfloat16"}

// makeConfig makes config.json of the metadata.
func (m *Model) makeConfig(r Reading) (map[string]any, error) {
	h := m.net.Hub()
	c := map[string]any{"architectures": []any{h.Class}, "model_type": h.ModelType, "vocab_size": m.net.NVocab,
		"tie_word_embeddings": m.net.TiedOutput, "torch_dtype": dtypes[m.Type()]}
	for name, may := range h.Must {
		if may[0] != nil {
			c[name] = may[0]
		}
	}
	faults := []error{m.biases(c)}
	for _, s := range h.Settings {
		switch s.Key {
		case vocabSize, arch.HubFileType:
		case arch.HubRope:
			faults = append(faults, m.rope(c))
		default:
			faults = append(faults, m.setting(c, s))
		}
	}
	// Where there is none transformers has numbers of its own, so that none is said.
	for _, role := range []string{"bos", "eos", "pad"} {
		c[role+"_token_id"] = nil
		if id, ok := m.role(role, r); ok {
			c[role+"_token_id"] = id
		}
	}
	return c, errors.Join(faults...)
}

// vocabSize is the key of a number that files need not have: the tokens are counted.
const vocabSize = "vocab_size"

// setting sets one of config.json. Several keys may be one there; they must agree.
func (m *Model) setting(c map[string]any, s arch.HubSetting) error {
	key, name := m.net.Arch+"."+s.Key, s.Names[0]
	var x any
	var err error
	switch _, fixed := s.Missing.(int); {
	case !m.file.Has(key) && fixed: // GGUF's default is another than transformers'
		heads, err := m.file.Int(m.net.Arch + ".attention.head_count")
		if err != nil {
			return err
		}
		x = int64(m.net.NEmbd) / max(1, heads)
	case !m.file.Has(key):
		return nil
	case s.Float:
		x, err = m.file.Float32(key)
	default:
		x, err = m.file.Int(key)
	}
	if err != nil {
		return err
	}
	if have, ok := c[name]; ok && have != x {
		return fmt.Errorf("%s: %s is %v, and %s of config.json, which it would be too, is %v; such a model is not "+
			"carried over", m.file.Path(), key, x, name, have)
	}
	c[name] = x
	return nil
}

// biases sets what says which matrices have biases, which all of its roles have in all layers, or none.
func (m *Model) biases(c map[string]any) error {
	for _, b := range m.net.Hub().Biases {
		there, all := 0, 0
		for il := range m.net.NLayer {
			for _, role := range b.Roles {
				if all++; m.file.HasTensor(arch.TensorName(role, ".bias", il)) {
					there++
				}
			}
		}
		if there != all && (there > 0 || b.Setting == "") {
			return fmt.Errorf("%s: of %v %d have a bias of %d in all layers; a %s has one in each; the model is not "+
				"carried over", m.file.Path(), b.Roles, there, all, m.net.Hub().Class)
		}
		if b.Setting != "" {
			c[b.Setting] = there > 0
		}
	}
	return nil
}

// rope sets how positions are turned, in the form that all versions of transformers read.
func (m *Model) rope(c map[string]any) error {
	key := m.net.Arch + ".rope."
	base, err1 := m.file.Float32Or(key+"freq_base", 10000)
	kind, err2 := m.file.StringOr(key+"scaling.type", "linear")
	old, err3 := m.file.Float32Or(key+"scale_linear", 1) // in older files
	factor, err4 := m.file.Float32Or(key+"scaling.factor", old)
	context, err5 := m.file.IntOr(key+"scaling.original_context_length", int64(m.net.NCtxTrain))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	c["rope_theta"] = base
	scaling := map[string]any{"rope_type": kind, "factor": factor}
	switch {
	case m.file.HasTensor(ropeFactors):
		return m.llama3(c)
	case kind == "none" || kind == "linear" && factor == 1:
		return nil
	case kind == "yarn":
		scaling["original_max_position_embeddings"] = context
	}
	c["rope_scaling"] = scaling
	return nil
}

var ropeFactors = arch.TensorName(arch.RopeFreqs, ".weight", -1)

// llama3Context is the length that Llama 3 was trained with before its positions were stretched.
const llama3Context = 8192

// llama3 finds the settings that give the factors in the file. Only their ratios matter, and Llama's own are tried.
func (m *Model) llama3(c map[string]any) error {
	want, err := m.floats(ropeFactors)
	if err != nil {
		return err
	}
	context, err := m.file.IntOr(m.net.Arch+".rope.scaling.original_context_length", llama3Context)
	if err != nil {
		return err
	}
	for _, old := range []int64{llama3Context, context} {
		c["rope_scaling"] = map[string]any{"rope_type": "llama3", "factor": slices.Max(want), "low_freq_factor": 1.0,
			"high_freq_factor": 4.0, "original_max_position_embeddings": old}
		var got []float32
		back, err := asSettings(c) // fails, as the rest may, at numbers that no factors are
		if err == nil {
			got, err = back.factors()
		}
		if err == nil && slices.EqualFunc(got, want, func(a, b float32) bool {
			return math.Float32bits(a) == math.Float32bits(b)
		}) {
			return nil
		}
	}
	return fmt.Errorf("%s: the numbers of %s are not those of Llama 3's positions; they are not carried over",
		m.file.Path(), ropeFactors)
}

// generation makes generation_config.json: where an answer ends, and how the model's makers sample.
func (m *Model) generation(config map[string]any) (map[string]any, error) {
	g := map[string]any{}
	for _, role := range []string{"bos", "eos", "pad"} {
		if id := config[role+"_token_id"]; id != nil {
			g[role+"_token_id"] = id
		}
	}
	if m.file.Has("tokenizer.ggml.eot_token_id") {
		eot, err := m.file.Int("tokenizer.ggml.eot_token_id")
		if err != nil {
			return nil, err
		}
		if eos, ok := g["eos_token_id"].(int64); ok && eos != eot {
			g["eos_token_id"] = []int64{eos, eot}
		}
	}
	return g, setSampling(g, m.file)
}
