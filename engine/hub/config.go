package hub

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/ggtune/ggtune/engine/arch"
)

// keys take metadata: a file to be written, or a draft.
type keys interface {
	SetString(key, s string)
	SetUint32(key string, x uint32)
	SetInt32(key string, x int32)
	SetFloat32(key string, x float32)
	SetBool(key string, x bool)
}

// settings are those of config.json.
type settings struct {
	path   string
	values map[string]any
	typed  bool // the architecture has vectors of types of token
	// skipped are the rows of the table of positions before that of the first one.
	skipped int64
}

// arch finds the architecture by the class that config.json names, and refuses what its graphs lack.
func (s *settings) arch() (arch.Arch, error) {
	classes, _ := s.values["architectures"].([]any)
	var known []string
	for _, name := range arch.Names() {
		a, err := arch.Get(name)
		if err != nil {
			return a, err
		}
		if !a.Hub.Models() {
			continue
		}
		of := append([]string{a.Hub.Class}, a.Hub.Also...)
		if class, ok := first(classes).(string); ok && slices.Contains(of, class) {
			s.typed = a.Hub.Modules[arch.TokenTypes] != ""
			return a, errors.Join(s.check(a), s.skip(slices.Contains(a.Hub.Padded, class)))
		}
		known = append(known, of...)
	}
	return arch.Arch{}, fmt.Errorf("%s: architectures is %v; those that can be converted: %s", s.path,
		s.values["architectures"], strings.Join(known, ", "))
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// skip finds how many rows of the table of positions belong to none: of padded classes the number of the padding token,
// and one.
func (s *settings) skip(padded bool) error {
	if !padded {
		return nil
	}
	pad, _, err := s.number(arch.HubSetting{Names: []string{"pad_token_id"}, Missing: 1}) // as transformers has it
	if err != nil {
		return err
	}
	rows, err := s.need("max_position_embeddings")
	if err == nil && !(pad >= 0 && pad+1 < rows && pad == math.Trunc(pad)) {
		err = fmt.Errorf("%s: pad_token_id is %g, behind which positions begin, and max_position_embeddings %g", s.path,
			pad, rows)
	}
	s.skipped = int64(pad) + 1
	return err
}

func (s *settings) check(a arch.Arch) error {
	var faults []error
	for name, may := range a.Hub.Must {
		if v := s.values[name]; v != nil && !among(may, v) {
			faults = append(faults, fmt.Errorf("%s: %s is %v, which the graphs of %s lack; expected %s", s.path,
				name, v, a.Name, oneOf(may)))
		}
	}
	if s.values["quantization_config"] != nil {
		faults = append(faults, fmt.Errorf("%s: the model is quantized (quantization_config); take the original one, "+
			"and quantize the GGUF file: ggtune quantize", s.path))
	}
	return errors.Join(faults...)
}

// oneOf names what a setting may be.
func oneOf(may []any) string {
	if len(may) == 0 {
		return "null"
	}
	return fmt.Sprint(may)
}

// among says whether a value of JSON, which may be a list or an object, is one of plain ones.
func among(list []any, v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return false
	}
	return slices.Contains(list, v)
}

// number finds a setting by its names, or gives what it is where it is missing.
func (s *settings) number(h arch.HubSetting) (x float64, ok bool, err error) {
	for _, name := range h.Names {
		switch v := s.values[name].(type) {
		case nil:
		case float64:
			return v, true, nil
		default:
			return 0, false, fmt.Errorf("%s: %s is %v, expected a number", s.path, name, v)
		}
	}
	switch missing := h.Missing.(type) {
	case int:
		return float64(missing), true, nil
	case float64:
		return missing, true, nil
	case string:
		a, b := "hidden_size", "num_attention_heads"
		if missing == arch.HubFourWide {
			a, b = "n_embd", ""
		}
		x, err := s.need(a)
		if err != nil || b == "" {
			return 4 * x, true, err
		}
		y, err := s.need(b)
		if err == nil && (y < 1 || math.Mod(x, y) != 0) {
			err = fmt.Errorf("%s: %s is %g, which %s %g does not divide", s.path, a, x, b, y)
		}
		return x / y, true, err
	}
	if h.Optional {
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("%s: %s is missing", s.path, h.Names[0])
}

func (s *settings) need(name string) (float64, error) {
	x, _, err := s.number(arch.HubSetting{Names: []string{name}})
	return x, err
}

// metadata writes all but the tokenizer.
func (f *Folder) metadata(w keys, parameters int64, fileType uint32) error {
	w.SetString("general.architecture", f.Arch.Name)
	w.SetString("general.type", "model")
	faults := []error{f.generation.sampling(w)}
	dir, err := filepath.Abs(f.Dir)
	if err != nil {
		return err
	}
	w.SetString("general.name", title(filepath.Base(dir)))
	w.SetString("general.size_label", sizeLabel(parameters))
	for _, h := range f.Arch.Hub.Settings {
		key := f.Arch.Name + "." + h.Key
		switch h.Key {
		case arch.HubRope:
			faults = append(faults, f.config.rope(w, f.Arch.Name))
			continue
		case arch.HubFileType:
			w.SetUint32("general.file_type", fileType)
			continue
		case arch.HubEncoder:
			w.SetBool(f.Arch.Name+".attention.causal", false)
			continue
		}
		x, ok, err := f.config.number(h)
		if h.Key == arch.HubContext {
			x -= float64(f.config.skipped)
		}
		switch {
		case err != nil || !ok:
			faults = append(faults, err)
		case h.Float:
			w.SetFloat32(key, float32(x))
		case x != math.Trunc(x) || x < 0 || x > math.MaxUint32:
			faults = append(faults, fmt.Errorf("%s: %s is %g, expected a whole number", f.config.path, h.Names[0], x))
		default:
			w.SetUint32(key, uint32(x))
		}
	}
	if f.pooling.Pools() {
		f.pooling.Write(w, f.Arch.Name)
	}
	w.SetUint32("general.quantization_version", 2)
	return errors.Join(faults...)
}

// ropeSettings are rope_parameters, or rope_scaling with rope_theta beside it, as older files have them.
func (s *settings) ropeSettings() settings {
	out := settings{path: s.path, values: map[string]any{"rope_theta": 10000.0}} // transformers' own
	for _, name := range []string{"rope_scaling", "rope_parameters"} {
		if m, ok := s.values[name].(map[string]any); ok {
			for k, v := range m {
				out.values[k] = v
			}
		}
	}
	for _, name := range []string{"rope_theta", "original_max_position_embeddings"} {
		if v := s.values[name]; v != nil {
			out.values[name] = v
		}
	}
	if out.values["rope_type"] == nil {
		out.values["rope_type"] = out.values["type"]
	}
	return out
}

// ropeKinds are the ways of stretching positions that are carried over, "" being none.
var ropeKinds = []any{nil, "default", "linear", "yarn", "llama3"}

func (s *settings) rope(w keys, name string) error {
	r := s.ropeSettings()
	kind := r.values["rope_type"]
	if !among(ropeKinds, kind) {
		return fmt.Errorf("%s: positions are stretched by rope_type %v; known: default, linear, yarn, llama3", s.path,
			kind)
	}
	var faults []error
	if kind == "linear" || kind == "yarn" {
		factor, err := r.need("factor")
		faults = append(faults, err)
		w.SetString(name+".rope.scaling.type", kind.(string))
		w.SetFloat32(name+".rope.scaling.factor", float32(factor))
	}
	if kind == "yarn" {
		ctx, err := r.need("original_max_position_embeddings")
		faults = append(faults, err)
		w.SetUint32(name+".rope.scaling.original_context_length", uint32(ctx))
		for _, k := range []string{"extrapolation_factor", "attention_factor", "attn_factor", "beta_fast", "beta_slow",
			"mscale", "mscale_all_dim"} {
			if r.values[k] != nil { // whose keys not every llama.cpp reads
				faults = append(faults, fmt.Errorf("%s: yarn's %s is %v; only its usual value is carried over",
					s.path, k, r.values[k]))
			}
		}
	}
	base, err := r.need("rope_theta")
	w.SetFloat32(name+".rope.freq_base", float32(base))
	return errors.Join(append(faults, err)...)
}

// tokenTypes writes how many types of token there are vectors of, if the architecture has such.
func (s *settings) tokenTypes(w keys) error {
	if !s.typed {
		return nil
	}
	x, _, err := s.number(arch.HubSetting{Names: []string{"type_vocab_size"}, Missing: 2}) // as transformers has it
	if err == nil && (x != math.Trunc(x) || x < 0 || x > math.MaxUint32) {
		err = fmt.Errorf("%s: type_vocab_size is %g, expected a whole number", s.path, x)
	}
	w.SetUint32(keyTypes, uint32(x))
	return err
}

// title is a folder's name as the converter writes it: words apart, those without a capital with one.
func title(name string) string {
	words := strings.Fields(strings.ReplaceAll(name, "-", " "))
	for i, word := range words {
		if strings.ToLower(word) != word || unicode.IsDigit(rune(word[0])) ||
			word[0] == 'v' && len(word) > 1 && unicode.IsDigit(rune(word[1])) {
			continue
		}
		begins := true
		words[i] = strings.Map(func(r rune) rune {
			up := begins
			if begins = !unicode.IsLetter(r); up {
				return unicode.ToUpper(r)
			}
			return r
		}, word)
	}
	return strings.Join(words, " ")
}

// sizeLabel writes a number of parameters with two digits at least.
func sizeLabel(n int64) string {
	x, unit := float64(n)/1e3, "K"
	for _, next := range []string{"M", "B", "T"} {
		if x <= 1e3 {
			break
		}
		x, unit = x/1e3, next
	}
	digits := 0
	if math.Round(x) < 10 {
		digits = 1
	}
	return fmt.Sprintf("%.*f%s", digits, x, unit)
}
