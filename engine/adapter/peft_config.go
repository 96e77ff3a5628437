package adapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/internal/regular"
)

// The files of an adapter of PEFT's, Hugging Face's library.
const (
	peftConfigFile = "adapter_config.json"
	peftFile       = "adapter_model.safetensors"
	peftPickle     = "adapter_model.bin"
)

// maxPEFTConfig is more than a pattern for every matrix of a large model takes, bytes.
const maxPEFTConfig = 16 << 20

// A peftConfig is what adapter_config.json says of how an adapter is computed (PEFT's LoraConfig).
type peftConfig struct {
	Type          string   `json:"peft_type"`
	Rank          float64  `json:"r"`
	Alpha         float64  `json:"lora_alpha"`
	RSLoRA        bool     `json:"use_rslora"`
	FanInFanOut   bool     `json:"fan_in_fan_out"`
	RankPattern   patterns `json:"rank_pattern"`
	AlphaPattern  patterns `json:"alpha_pattern"`
	Base          *string  `json:"base_model_name_or_path"`
	DoRA          bool     `json:"use_dora"`
	ModulesToSave []string `json:"modules_to_save"`
	Invocation    []int64  `json:"alora_invocation_tokens"`
}

// peftComputed are the keys that peftConfig reads.
var peftComputed = []string{"peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out", "rank_pattern",
	"alpha_pattern", "base_model_name_or_path", "use_dora", "modules_to_save", "alora_invocation_tokens"}

// peftIdle are keys of settings that act while PEFT makes or trains an adapter, and not on what it computes then.
var peftIdle = []string{"auto_mapping", "ensure_weight_tying", "eva_config", "exclude_modules",
	"inference_mode", "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout",
	"megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type"}

// peftPlain lists, for keys that may stand beside a plain LoRA with one value or another, those values as JSON. Every
// other key must be empty: what it does to the numbers is not known here.
var peftPlain = map[string][]string{
	"bias":              {`"none"`},
	"init_lora_weights": {"true", "false", `"gaussian"`, `"orthogonal"`, `"eva"`},
}

// peftMend says what to do about a key of something else than a plain LoRA.
var peftMend = map[string]string{
	"init_lora_weights": "such a start changes the base too, and the adapter fits that base only; save it as a plain " +
		"LoRA with save_pretrained(path_initial_model_for_weight_conversion=…)",
	"bias": "trained biases are no LoRA pairs; merge the adapter with merge_and_unload() and convert the model",
}

const mergeInPEFT = "merge it into its base with PEFT's merge_and_unload(), and convert the model"

// A pattern gives the modules whose names end in what its expression matches another value.
type pattern struct {
	key   string
	match *regexp.Regexp
	value float64
}

// patterns are in their order in the file: the first that matches counts.
type patterns []pattern

func (p *patterns) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("expected numbers by module, got %s", b[:min(len(b), 40)])
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		one := pattern{key: token.(string)}
		if err := d.Decode(&one.value); err != nil {
			return fmt.Errorf("%q: %w", one.key, err)
		}
		// As PEFT has it: utils/other.py, get_pattern_key.
		if one.match, err = regexp.Compile(`^(?:.*\.)?(?:` + one.key + `)$`); err != nil {
			return fmt.Errorf("%q is an expression that only Python reads (%w); write the modules' names out", one.key,
				err)
		}
		*p = append(*p, one)
	}
	return nil
}

// of gives the value for a module, or missing.
func (p patterns) of(module string, missing float64) float64 {
	for _, one := range p {
		if one.match.MatchString(module) {
			return one.value
		}
	}
	return missing
}

// readPEFTConfig reads and checks the settings of the adapter in a directory.
func readPEFTConfig(dir string) (*peftConfig, error) {
	path := filepath.Join(dir, peftConfigFile)
	text, err := regular.Read(path, maxPEFTConfig)
	if err != nil {
		return nil, err
	}
	c := &peftConfig{}
	var all map[string]json.RawMessage
	for _, into := range []any{c, &all} {
		if err := json.Unmarshal(text, into); err != nil {
			return nil, fmt.Errorf("%s: %w; expected the settings of an adapter of PEFT's", path, err)
		}
	}
	if err := c.check(all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// check refuses what is no plain LoRA, and settings that make no sense.
func (c *peftConfig) check(all map[string]json.RawMessage) error {
	switch {
	case c.Type != "LORA":
		return fmt.Errorf("peft_type is %q; only LORA has a form that llama.cpp runs; %s", c.Type, mergeInPEFT)
	case c.DoRA:
		return fmt.Errorf("use_dora is true, and llama.cpp has no place for DoRA's magnitudes; %s", mergeInPEFT)
	case len(c.ModulesToSave) > 0:
		return fmt.Errorf("modules_to_save names %s: these are whole weights beside the adapter; %s",
			strings.Join(c.ModulesToSave, ", "), mergeInPEFT)
	}
	var unknown []string
	for key, value := range all {
		if slices.Contains(peftComputed, key) || slices.Contains(peftIdle, key) || !isSet(value) ||
			slices.Contains(peftPlain[key], string(value)) {
			continue
		}
		if mend := peftMend[key]; mend != "" {
			return fmt.Errorf("%s is %s: %s", key, value, mend)
		}
		unknown = append(unknown, key)
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("it sets %s, and what that does to the adapter is not known here; take out of the file "+
			"what changes nothing in what the adapter computes, else %s", strings.Join(unknown, ", "), mergeInPEFT)
	}
	return c.checkNumbers()
}

func (c *peftConfig) checkNumbers() error {
	if !(c.Rank >= 1) || c.Rank != math.Trunc(c.Rank) {
		return fmt.Errorf("r is %g, expected a whole number of 1 or more", c.Rank)
	}
	if !isAlpha(c.Alpha) {
		return fmt.Errorf("lora_alpha is %g, expected a number above 0", c.Alpha)
	}
	for _, p := range c.AlphaPattern {
		if !isAlpha(p.value) {
			return fmt.Errorf("alpha_pattern gives %q an alpha of %g, expected a number above 0", p.key, p.value)
		}
	}
	return nil
}

// isAlpha says whether a is one that a file can hold; rsLoRA multiplies it.
func isAlpha(a float64) bool { return float32(a) > 0 && a < 1e30 }

// isSet says whether a value is more than an empty one.
func isSet(v json.RawMessage) bool {
	return !slices.Contains([]string{"", "null", "false", "0", "0.0", `""`, "[]", "{}"}, string(v))
}

// alpha is what, divided by the rank, is the scale of a module's pair of that rank.
func (c *peftConfig) alpha(module string, rank int64) float64 {
	a := c.AlphaPattern.of(module, c.Alpha)
	if c.RSLoRA {
		a *= math.Sqrt(float64(rank))
	}
	return float64(float32(a)) // as the file has it
}
