package arch

import (
	"errors"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// What llama.cpp knows of stretched positions for some architectures alone: keys of YaRN, and factors of frequencies
// for contexts up to the original one and for longer ones.
const (
	longRope     = "longrope"
	yarnBetaFast = "yarn_beta_fast"
	yarnBetaSlow = "yarn_beta_slow"
	yarnLogMul   = "yarn_log_multiplier"
)

// rope reads the parameters of rotary positions. neox: the halves of a head are paired, not adjacent elements. more is
// what llama.cpp knows for the architecture beside what it knows for all; where a file has others that change what the
// model means, they are refused: llama.cpp would run it as if they were not there. Defaults are llama.cpp's
// (src/llama-model.cpp, load_hparams; src/llama-context.cpp for YaRN).
func (k *keys) rope(hp HParams, head int, neox bool, more ...string) graph.Rotary {
	r := graph.Rotary{
		Dim: k.rotated("rope.dimension_count", head, head), Neox: neox,
		FreqBase: k.float("rope.freq_base", 10000), FreqScale: 1, AttnFactor: k.float("rope.scaling.attn_factor", 1),
		BetaFast: 32, BetaSlow: 1,
		CtxOrig: k.size("rope.scaling.original_context_length", hp.NCtxTrain),
	}
	// "rope.scale_linear" is the name of older files.
	factor := k.float("rope.scaling.factor", k.float("rope.scale_linear", 1))
	switch kind := k.text("rope.scaling.type", "linear"); kind {
	case "none":
	case longRope:
		if !slices.Contains(more, longRope) {
			k.fail("rope scaling type %q cannot be trained: the linked llama.cpp reads no factors for short and long "+
				"contexts for %s; those that can: none, linear, yarn", kind, k.arch)
		}
		r.FreqScale = 1 / factor
	case "linear":
		r.FreqScale = 1 / factor
	case "yarn":
		r.FreqScale, r.ExtFactor = 1/factor, 1
		k.yarn(&r, factor, more)
	default:
		k.fail("rope scaling type %q cannot be trained; those that can: none, linear, yarn", kind)
	}
	return r
}

// rotated reads how much of a head is rotated.
func (k *keys) rotated(key string, missing, head int) int {
	n := k.size(key, missing)
	if n > head || n%2 != 0 {
		k.fail("metadata key %q is %d, expected an even number up to the head size %d", k.arch+"."+key, n, head)
	}
	return n
}

// yarn reads what YaRN has beside its factor. cosines and sines are multiplied by 1 + ln(factor)/10 in the operation
// itself, and by AttnFactor.
func (k *keys) yarn(r *graph.Rotary, factor float64, more []string) {
	if factor < 1 {
		k.fail("metadata key %q is %g, expected 1 or more: YaRN stretches positions", k.arch+".rope.scaling.factor",
			factor)
	}
	logMul := 0.0
	for _, key := range []struct {
		name  string
		value *float64
		usual float64 // what llama.cpp takes where it does not read the key
	}{
		{yarnBetaFast, &r.BetaFast, r.BetaFast},
		{yarnBetaSlow, &r.BetaSlow, r.BetaSlow},
		{yarnLogMul, &logMul, 0},
		{"yarn_ext_factor", &r.ExtFactor, 1},
		{"yarn_attn_factor", new(float64), 1},
	} {
		name := k.arch + ".rope.scaling." + key.name
		v, err := k.f.Float32(name)
		switch x := float64(v); {
		case errors.Is(err, gguf.ErrNoKey):
		case err != nil:
			k.faults = append(k.faults, err)
		case x == key.usual:
		case !slices.Contains(more, key.name):
			k.fail("metadata key %q is %g, which the linked llama.cpp does not read for %s: it would run the model at "+
				"%g, and so would what is trained here; expected no such key, or %g", name, x, k.arch, key.usual,
				key.usual)
		case !(x > 0 && x < 1e12):
			k.fail("metadata key %q is %g, expected a positive number", name, x)
		default:
			*key.value = x
		}
	}
	// mscale 1 by mscale_all_dim, as DeepSeek's YaRN has it (llama_context's get_mscale): the usual 1 + ln(factor)/10
	// is divided by what scores are multiplied with elsewhere.
	r.AttnFactor /= 1 + 0.1*logMul*math.Log(math.Max(1, factor))
}

// whole refuses rotary positions of a part of each head, where llama.cpp's graph asserts that all of it is rotated.
func (k *keys) whole(r graph.Rotary, head int) {
	if r.Dim != head {
		k.fail("metadata key %q is %d, expected the head size %d: llama.cpp runs a %s only so",
			k.arch+".rope.dimension_count", r.Dim, head, k.arch)
	}
}
