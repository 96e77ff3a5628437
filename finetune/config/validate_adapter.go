package config

import (
	"math"
	"reflect"
	"slices"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/quant/mix"
)

// freshAdapter gives the fields that choose a fresh adapter; one from InitAdapter has its own.
func (c *Config) freshAdapter() []any {
	return []any{&c.Targets, &c.Layers, &c.RSLoRA, &c.Rank, &c.Alpha, &c.Init, &c.ALoRA}
}

func (v *validator) adapter() {
	c := v.c
	v.need(c.Rank >= 1 && c.Rank <= 1024, &c.Rank, v.is(c.Rank), "1 to 1024; common are 8 to 64")
	v.need(c.Alpha > 0 && !math.IsInf(c.Alpha, 0), &c.Alpha, v.is(c.Alpha),
		"above 0 (llama.cpp takes 0 for none given); common is twice the rank")
	v.need(c.LoRAPlus > 0 && !math.IsInf(c.LoRAPlus, 0), &c.LoRAPlus, v.is(c.LoRAPlus),
		"above 0; 1 is plain LoRA, 16 what the paper suggests")
	v.within(&c.Dropout, 0, 1, "0 to below 1")
	v.need(c.ModelDropout.N >= 0 && c.ModelDropout.N < 1, &c.ModelDropout, v.is(c.ModelDropout),
		"0 to below 1, or auto")
	v.within(&c.NEFTuneAlpha, 0, math.Inf(1), "0 or more; common are 5 to 15")
	if !slices.Contains(inits(), c.Init) {
		v.known(&c.Init, &registry.UnknownError{Kind: "initialisation", Name: c.Init, Known: inits()})
	}
	v.derived()
	v.invoked()
	if _, err := parseLayers(c.Layers, maxLayers); err != nil {
		v.known(&c.Layers, err)
	}
	// These have defaults, which say nothing.
	std := Default()
	if c.InitAdapter != "" {
		const found, expected = "is given with --init-adapter", "one of them: the adapter in the file has its own"
		v.need(!c.Whole(), &c.Tune, "is "+c.tunes()+" with --init-adapter", "one of them: no adapter is trained")
		fresh := std.freshAdapter()
		for i, field := range c.freshAdapter() {
			v.need(equalOptions(reflect.ValueOf(field).Elem().Interface(),
				reflect.ValueOf(fresh[i]).Elem().Interface()), field, found, expected)
		}
	}
	v.whole()
	if !c.Whole() {
		v.kind()
		return
	}
	found, expected := v.tuned(), "it for an adapter only; leave one of them out"
	v.need(len(c.Targets) == 0, &c.Targets, found, expected)
	v.need(c.Dropout == 0, &c.Dropout, found, expected)
	v.need(c.Rank == std.Rank, &c.Rank, found, expected)
	v.pair(expected)
}

// pair refuses the options of a pair's scale, start and rates.
func (v *validator) pair(expected string) {
	c, std, found := v.c, Default(), v.tuned()
	v.need(!c.RSLoRA, &c.RSLoRA, found, expected)
	v.need(c.Alpha == std.Alpha, &c.Alpha, found, expected)
	v.need(c.LoRAPlus == std.LoRAPlus, &c.LoRAPlus, found, expected)
	v.need(c.Init == std.Init, &c.Init, found, expected)
	v.need(!c.Mergeable, &c.Mergeable, found, expected)
	v.need(c.ALoRA == "", &c.ALoRA, found, expected)
	v.need(c.TaskName == "", &c.TaskName, found, expected)
	v.need(c.PromptPrefix == "", &c.PromptPrefix, found, expected)
}

// noInvocation is what is expected instead of an invocation of what is no pair alone.
const noInvocation = "it with --tune lora or lora-fa: only a pair can be switched off for a token"

// kind refuses options that the kind of adapter has no place for.
func (v *validator) kind() {
	c, std, kind := v.c, Default(), v.c.Kind()
	switch kind {
	case adapter.LoRAFA:
		v.need(c.LoRAPlus == std.LoRAPlus, &c.LoRAPlus, v.tuned(), "one of them: A does not learn")
	case adapter.DoRA:
		v.need(slices.Contains(adapter.Inits(), c.Init), &c.Init, v.tuned(), "it with --tune lora: "+
			"magnitudes begin as the norms of the base's rows")
		v.need(c.ALoRA == "", &c.ALoRA, v.tuned(), noInvocation)
		v.need(!c.Mergeable, &c.Mergeable, v.tuned(), "it with --tune lora: its rows are scaled, and scales would "+
			"be rounded")
	case adapter.VeRA:
		v.pair("it with --tune lora: there is no pair to scale, and the start is VeRA's")
		v.need(c.ALoRA == "", &c.ALoRA, v.tuned(), noInvocation)
		v.need(c.InitAdapter == "", &c.InitAdapter, v.tuned(), "one of them: VeRA leaves as a LoRA, which can be "+
			"trained on with --tune lora")
	case adapter.IA3:
		const expected = "it with --tune lora: there is no pair, only a vector"
		v.pair(expected)
		v.need(c.ALoRA == "", &c.ALoRA, v.tuned(), noInvocation)
		v.need(c.Rank == std.Rank, &c.Rank, v.tuned(), expected)
		v.need(c.Dropout == 0, &c.Dropout, v.tuned(), expected)
	}
}

// inits are the values of Init.
func inits() []string { return append(append(adapter.Inits(), adapter.Derived()...), adapter.EVA) }

// derived checks a start from weights.
func (v *validator) derived() {
	c := v.c
	if c.Init == adapter.LoftQ {
		v.need(c.From != "", &c.From, "is missing with --init loftq",
			"the f16 or f32 file that the base was quantized from")
	} else {
		v.need(c.From == "", &c.From, "is given with --init "+c.Init, "it with --init loftq")
	}
	v.need(!c.Mergeable || slices.Contains(adapter.Inits(), c.Init), &c.Mergeable, "is given with --init "+c.Init,
		"one of them: A is then not the same over each 32 inputs")
}

// invoked checks what does not go with an adapter that waits for an invocation.
func (v *validator) invoked() {
	c := v.c
	if c.ALoRA == "" {
		return
	}
	how, err := c.Loss()
	v.need(err != nil || !how.AllTokens && c.Mask != template.MaskAll.String(), &c.ALoRA,
		"is given, and every token is trained on", "a --method and --mask with which answers are: what comes before "+
			"the invocation is the base's")
	v.need(!slices.Contains(c.Targets, string(arch.Output)), &c.Targets, "is output with --alora",
		"roles of the layers")
}

// tuned is what is wrong with an option of an adapter where none is trained.
func (v *validator) tuned() string { return "is given with --tune " + v.c.tunes() }

// whole checks which tensors of the model are trained, and how.
func (v *validator) whole() {
	c := v.c
	if !slices.Contains(tunes, c.Tune) {
		v.known(&c.Tune, &registry.UnknownError{Kind: "way to tune", Name: c.Tune, Known: tunes})
		return
	}
	v.need(!c.Full || c.Tune == tuneFull || c.Tune == Default().Tune, &c.Full, "is given with --tune "+c.Tune,
		"one of them")
	if !slices.Contains(outTypes, c.OutType) {
		v.known(&c.OutType, &registry.UnknownError{Kind: "type to write", Name: c.OutType, Known: outTypes})
	}
	v.within(&c.EmbedLR, 0, math.Inf(1), "above 0, or 0 for --lr")
	how := c.tunes()
	v.need(how == tunePart || len(c.Train) == 0, &c.Train, v.tuned(), "it with --tune part")
	v.need(how != tuneFull || c.Layers == "", &c.Layers, v.tuned(), "it with --tune part, or for an adapter")
	v.need(how != tunePart || len(c.Train) > 0 || c.Layers != "", &c.Train, "is missing with --tune part",
		"tensors to train: norms, biases, roles; or some --layers; or --tune full")
	v.need(c.Whole() || c.EmbedLR == 0, &c.EmbedLR, v.tuned(), "it with --tune full or part")
	if c.QAT != "" {
		_, err := mix.ToWrite(c.QAT)
		v.known(&c.QAT, err)
		v.need(c.Whole(), &c.QAT, v.tuned(), "it with --tune full or part")
		v.need(c.OutType == autoWord, &c.OutType, "is given with --qat, which says what is written", "one of them")
		v.need(c.Master == masters[0], &c.Master, "is "+c.Master+" with --qat", "f32: small updates must add up until "+
			"they change what is rounded")
	}
	if !c.Whole() {
		v.adapterType()
	}
	v.master()
}

// adapterType checks the storage type that an adapter leaves in: one whose numbers are those that are trained, so that
// the result is measured as it is written.
func (v *validator) adapterType() {
	c := v.c
	if c.OutType == autoWord || c.OutType == "f32" {
		return
	}
	v.need(c.OutType == "f16", &c.OutType, "is given as "+c.OutType+" with --tune "+c.tunes(),
		"f32 or f16, for an adapter")
	v.need(slices.Contains(smallKinds, c.Kind()), &c.OutType, v.tuned(),
		"it with lora or lora-fa, or with full or part")
	v.need(c.InitAdapter != "" || !adapter.Subtracts(c.Init), &c.OutType, "is given with --init "+c.Init+", whose "+
		"start is taken away at the end", "another start; or ggtune adapter add RUN --type f16 after the run")
}

// master checks the type in which tensors of the model are kept.
func (v *validator) master() {
	c := v.c
	if !slices.Contains(masters, c.Master) {
		v.known(&c.Master, &registry.UnknownError{Kind: "type to train", Name: c.Master, Known: masters})
		return
	}
	v.need(c.Whole() || c.Master == masters[0], &c.Master, v.tuned(), "it with --tune full or part")
	fits := []string{autoWord, "f32", "bf16"}
	v.need(c.Master == masters[0] || slices.Contains(fits, c.OutType), &c.OutType, "is "+c.OutType+" with --master "+
		c.Master, "bf16, which holds what was trained, or f32; ggtune quantize makes others of it")
}
