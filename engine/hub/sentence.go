package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
)

// Files of sentence-transformers: what it has behind a model, and its settings.
const (
	modulesFile  = "modules.json"
	sentenceFile = "config_sentence_transformers.json"
)

// readPrompts reads what stands before texts of each kind.
func readPrompts(dir string) (map[string]string, error) {
	var config struct{ Prompts map[string]string }
	err := readJSON(filepath.Join(dir, sentenceFile), maxConfig, &config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return config.Prompts, err
}

// readPooling reads what makes one vector of a text's states; PoolNone where the folder does not say. Modules that
// llama.cpp lacks are refused.
func readPooling(dir string) (arch.Pooling, error) {
	var list []struct{ Path, Type string }
	path := filepath.Join(dir, modulesFile)
	switch err := readJSON(path, maxConfig, &list); {
	case errors.Is(err, fs.ErrNotExist):
		return arch.PoolNone, nil
	case err != nil:
		return arch.PoolNone, err
	}
	pool := arch.PoolNone
	for _, m := range list {
		switch kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]; kind {
		case "Transformer", "Normalize": // llama.cpp's server gives every vector the length 1
		case "Pooling":
			if !filepath.IsLocal(m.Path) {
				return pool, fmt.Errorf("%s: the module %q is at %q; expected a folder within", path, kind, m.Path)
			}
			var err error
			if pool, err = poolingOf(filepath.Join(dir, m.Path, configFile)); err != nil {
				return pool, err
			}
		default:
			return pool, fmt.Errorf("%s: behind the model is a module %q, which llama.cpp has not; known: "+
				"Transformer, Pooling, Normalize", path, kind)
		}
	}
	return pool, nil
}

// hubPoolings are sentence-transformers' names of those that there are.
var hubPoolings = map[string]arch.Pooling{"mean_tokens": arch.PoolMean, "cls_token": arch.PoolCLS,
	"lasttoken": arch.PoolLast, "mean": arch.PoolMean, "cls": arch.PoolCLS}

// poolingOf reads the settings of the module: a flag for each way of pooling or, in newer files, a name.
func poolingOf(path string) (arch.Pooling, error) {
	var config map[string]any
	if err := readJSON(path, maxConfig, &config); err != nil {
		return arch.PoolNone, err
	}
	if config["include_prompt"] == false {
		return arch.PoolNone, fmt.Errorf("%s: include_prompt is false: prefixes are left out when the states are "+
			"pooled, and llama.cpp pools all of a text", path)
	}
	var on []string
	if name, ok := config["pooling_mode"].(string); ok {
		on = append(on, name)
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if name, ok := strings.CutPrefix(key, "pooling_mode_"); ok && config[key] == true {
			on = append(on, name)
		}
	}
	if len(on) == 1 {
		if p, ok := hubPoolings[on[0]]; ok {
			return p, nil
		}
	}
	return arch.PoolNone, fmt.Errorf("%s: the pooling is %q; llama.cpp has one of: %s", path, on,
		strings.Join(slices.Sorted(maps.Keys(hubPoolings)), ", "))
}
