package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/ggtune/ggtune/engine/gguf"
)

const generationFile = "generation_config.json"

// sampling are the settings of generation_config.json that GGUF has, in the order in which llama.cpp's converter writes
// them (gguf-py/gguf/metadata.py). llama.cpp samples by them where nothing else is asked for.
var sampling = []struct {
	key   string   // below general.sampling
	names []string // in the file; the first that is there counts, and the last is transformers' and written
	whole bool
}{
	{key: "top_k", names: []string{"top_k"}, whole: true},
	{key: "top_p", names: []string{"top_p"}},
	{key: "min_p", names: []string{"min_p"}},
	{key: "xtc_probability", names: []string{"xtc_probability"}},
	{key: "xtc_threshold", names: []string{"xtc_threshold"}},
	{key: "temp", names: []string{"temperature"}},
	{key: "penalty_last_n", names: []string{"penalty_last_n"}, whole: true},
	{key: "penalty_repeat", names: []string{"penalty_repeat", "repetition_penalty"}},
	{key: "mirostat", names: []string{"mirostat"}, whole: true},
	{key: "mirostat_tau", names: []string{"mirostat_tau"}},
	{key: "mirostat_eta", names: []string{"mirostat_eta"}},
}

const samplingKey = "general.sampling."

// readGeneration reads generation_config.json, which need not be there.
func readGeneration(dir string) (settings, error) {
	s := settings{path: filepath.Join(dir, generationFile)}
	err := readJSON(s.path, maxConfig, &s.values)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// sampling writes how the model's makers sample.
func (s *settings) sampling(w keys) error {
	var faults []error
	for _, one := range sampling {
		for _, name := range one.names {
			v := s.values[name]
			if v == nil {
				continue
			}
			switch x, ok := v.(float64); {
			case !ok || one.whole && (x != math.Trunc(x) || math.Abs(x) > math.MaxInt32):
				faults = append(faults, fmt.Errorf("%s: %s is %v, expected a number", s.path, name, v))
			case one.whole:
				w.SetInt32(samplingKey+one.key, int32(x))
			default:
				w.SetFloat32(samplingKey+one.key, float32(x))
			}
			break
		}
	}
	return errors.Join(faults...)
}

// setSampling sets in generation_config.json what a file says of sampling.
func setSampling(g map[string]any, f *gguf.File) error {
	for _, one := range sampling {
		key := samplingKey + one.key
		if !f.Has(key) {
			continue
		}
		var x any
		var err error
		if one.whole {
			x, err = f.Int(key)
		} else {
			x, err = f.Float32(key)
		}
		if err != nil {
			return err
		}
		g[one.names[len(one.names)-1]], g["do_sample"] = x, true
	}
	return nil
}
