package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/safetensors"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// SavePEFT writes the adapter, which must be one for that model, as a directory that PEFT loads, atomically; dir must
// not exist. A nil fsys means the real file system.
func (a *Adapter) SavePEFT(ctx context.Context, fsys atomicfile.FS, dir string, net *arch.Net) error {
	if a = a.Leaving(); a.Kind != LoRA {
		return fmt.Errorf("a %s adapter is not written in PEFT's format; make a model of it and its base: ggtune merge",
			a.Kind)
	}
	config, err := a.peftConfig(net)
	if err != nil {
		return err
	}
	w, err := a.peftWriter(net)
	if err != nil {
		return err
	}
	d, err := atomicfile.CreateDir(fsys, dir)
	if err != nil {
		return err
	}
	defer d.Abort()
	if err := d.WriteFile(peftConfigFile, config); err != nil {
		return err
	}
	if err := w.WriteFile(ctx, d, peftFile); err != nil {
		return fmt.Errorf("write %s: %w", dir, err)
	}
	return d.Commit()
}

// peftWriter has the tensors in PEFT's order, which is that of their names, and what the adapter says of its making.
func (a *Adapter) peftWriter(net *arch.Net) (*safetensors.Writer, error) {
	if net.OwnOrder != "" {
		return nil, fmt.Errorf("an adapter of this model cannot be written for PEFT: %s", net.OwnOrder)
	}
	w := &safetensors.Writer{Metadata: map[string]string{"format": "pt"}}
	for k, v := range a.Info {
		if k != infoBase { // the settings have it
			w.Metadata[infoPrefix+k] = v
		}
	}
	for key, text := range map[string]string{keyTask: a.TaskName, keyPrefix: a.PromptPrefix} {
		if text != "" { // PEFT has no place for it among its settings
			w.Metadata[key] = text
		}
	}
	type half struct {
		name  string
		shape []int64
		data  []float32
	}
	var halves []half
	hub, parts := net.Hub(), map[string]arch.Part{}
	net.Linear(func(p arch.Part, il int) { parts[p.Name(il)] = p })
	for i := range a.Pairs {
		p := &a.Pairs[i]
		part, ok := parts[p.Tensor]
		if !ok {
			return nil, fmt.Errorf("the model has no linear tensor %q; the adapter belongs to another model", p.Tensor)
		}
		if part.Routed || hub.Parted(part.Role) {
			return nil, fmt.Errorf("pair %q: PEFT has none of that form: transformers keeps the matrices of all "+
				"experts, and gate and up together, in one parameter; make a model of the adapter and its base "+
				"(ggtune merge), or train one without that target", p.Tensor)
		}
		module := peftPrefix + hub.Module(part, p.Layer)
		one := []half{
			{module + peftA, []int64{p.Rank, p.AShape[0]}, p.A},
			{module + peftB, []int64{p.BShape[1], p.Rank}, arch.Unpaired(p.B, part.PairedHeads, p.Rank)},
		}
		if p.Flipped {
			one[0] = half{module + peftEmbdA, []int64{p.Rank, p.AShape[1]}, transposed(p.A, p.AShape)}
			one[1].name = module + peftEmbdB
		}
		halves = append(halves, one...)
	}
	slices.SortFunc(halves, func(a, b half) int { return strings.Compare(a.name, b.name) })
	for _, h := range halves {
		if err := w.AddFloats(h.name, h.shape, h.data); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// peftConfig writes the settings, with the keys that PEFT needs to compute the same.
func (a *Adapter) peftConfig(net *arch.Net) ([]byte, error) {
	hub := net.Hub()
	ranks := make([]float64, len(a.Pairs))
	for i := range a.Pairs {
		ranks[i] = float64(a.Pairs[i].Rank)
	}
	rank, most := 0.0, 0
	for _, r := range ranks {
		if n := occurrences(ranks, r); n > most {
			rank, most = r, n
		}
	}
	pattern := map[string]int64{}
	for i := range a.Pairs {
		if p := &a.Pairs[i]; ranks[i] != rank {
			pattern[hub.Module(arch.Part{Role: p.Role}, p.Layer)] = p.Rank
		}
	}
	var base any
	if name := a.Info[infoBase]; name != "" {
		base = name
	}
	// alpha/r is each pair's scale whatever its rank, as in llama.cpp; rsLoRA's √r is in alpha already.
	config := map[string]any{
		"peft_type": "LORA", "task_type": taskType(net), "base_model_name_or_path": base, "inference_mode": true,
		"r": rank, "lora_alpha": float32(a.Alpha), "rank_pattern": pattern, "alpha_pattern": map[string]any{},
		"target_modules": a.peftTargets(net), "fan_in_fan_out": hub.Conv1D, "bias": "none", "lora_dropout": 0,
		"use_rslora": false, "use_dora": false, "modules_to_save": nil, "init_lora_weights": true,
	}
	if len(a.Invocation) > 0 {
		config["alora_invocation_tokens"] = a.Invocation
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return append(text, '\n'), err
}

// peftTargets names the modules that have a pair. Where all layers have one, a name that fits them all will do.
func (a *Adapter) peftTargets(net *arch.Net) []string {
	hub, by := net.Hub(), map[arch.Role][]string{}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		by[p.Role] = append(by[p.Role], hub.Module(arch.Part{Role: p.Role}, p.Layer))
	}
	var out []string
	for role, modules := range by {
		short := hub.Modules[role]
		if last := short[strings.LastIndexByte(short, '.')+1:]; len(hubRoles(net, last)) == 1 {
			short = last
		}
		fits := hubRoles(net, short) // of bert "output.dense" is the end of another module's name too
		if role != arch.TokenEmbd && role != arch.Output && len(modules) == net.NLayer && len(fits) == 1 {
			modules = []string{short}
		}
		out = append(out, modules...)
	}
	slices.Sort(out)
	return out
}

// SetPEFTBase sets what PEFT's settings call the base: a name of Hugging Face's, or a directory.
func (a *Adapter) SetPEFTBase(name string) { a.Info[infoBase] = name }

// taskType is PEFT's name of what a model does.
func taskType(net *arch.Net) string {
	if net.Headless {
		return "FEATURE_EXTRACTION"
	}
	return "CAUSAL_LM"
}
