package arch

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// maxSize bounds every size read from metadata, so that products of a few of them stay within int64.
const maxSize = 1 << 24

// keys reads metadata below "arch." and collects the faults.
type keys struct {
	f      *gguf.File
	arch   string
	faults []error
}

func (k *keys) err() error { return errors.Join(k.faults...) }

func (k *keys) fail(format string, args ...any) {
	k.faults = append(k.faults, fmt.Errorf("%s: "+format, append([]any{k.f.Path()}, args...)...))
}

// size reads a positive size; missing 0 means the key must be there.
func (k *keys) size(key string, missing int) int {
	name := k.arch + "." + key
	v, err := k.f.Int(name)
	switch {
	case errors.Is(err, gguf.ErrNoKey) && missing > 0:
		return missing
	case err != nil:
		k.faults = append(k.faults, err)
	case v <= 0 || v > maxSize:
		k.fail("metadata key %q is %d, expected 1 to %d", name, v, maxSize)
	default:
		return int(v)
	}
	return 1
}

// float reads a positive number; missing 0 means the key must be there.
func (k *keys) float(key string, missing float64) float64 {
	name := k.arch + "." + key
	v, err := k.f.Float32(name)
	switch {
	case errors.Is(err, gguf.ErrNoKey) && missing > 0:
		return missing
	case err != nil:
		k.faults = append(k.faults, err)
	case !(v > 0 && v < 1e12):
		k.fail("metadata key %q is %g, expected a positive number", name, v)
	default:
		return float64(v)
	}
	return 1
}

// text reads a string, or gives missing.
func (k *keys) text(key, missing string) string {
	v, err := k.f.StringOr(k.arch+"."+key, missing)
	if err != nil {
		k.faults = append(k.faults, err)
	}
	return v
}

// sizes reads what every architecture has.
func (k *keys) sizes() HParams {
	hp := HParams{
		NLayer: k.size("block_count", 0), NEmbd: k.size("embedding_length", 0), NFF: k.size("feed_forward_length", 0),
		NHead: k.size("attention.head_count", 0), NCtxTrain: k.size("context_length", 0),
	}
	hp.NHeadKV = k.size("attention.head_count_kv", hp.NHead)
	hp.HeadDim = k.size("attention.key_length", max(1, hp.NEmbd/hp.NHead))
	if v := k.size("attention.value_length", hp.HeadDim); v != hp.HeadDim {
		k.fail("heads have %d elements in keys and %d in values; expected the same", hp.HeadDim, v)
	}
	if hp.NHead%hp.NHeadKV != 0 {
		k.fail("%d attention heads over %d key heads: expected a multiple", hp.NHead, hp.NHeadKV)
	}
	if n, err := k.f.IntOr(k.arch+".expert_count", 0); err == nil && n > 0 {
		k.fail("the model is a mixture of %d experts, which cannot be trained; take a dense model", n)
	}
	if t, err := k.f.Tensor(string(TokenEmbd) + ".weight"); err != nil {
		k.faults = append(k.faults, err)
	} else if len(t.Shape) != 2 {
		k.fail("tensor %q has shape %v, expected a matrix", t.Name, t.Shape)
	} else {
		hp.NVocab = int(t.Shape[1])
	}
	hp.TiedOutput = !k.f.HasTensor(string(Output) + ".weight")
	return hp
}

// ropeHParams reads the sizes of a model with RMSNorm and rotary positions. neox: the halves of a head are paired, not
// adjacent elements. Defaults are llama.cpp's (src/llama-model.cpp, load_hparams; src/llama-context.cpp for YaRN).
func ropeHParams(f *gguf.File, neox bool) (HParams, error) {
	name, err := f.Architecture()
	if err != nil {
		return HParams{}, err
	}
	k := keys{f: f, arch: name}
	hp := k.sizes()
	hp.NormEps = k.float("attention.layer_norm_rms_epsilon", 0)
	hp.Rope = graph.Rotary{
		Dim: k.size("rope.dimension_count", hp.HeadDim), Neox: neox,
		FreqBase: k.float("rope.freq_base", 10000), FreqScale: 1, AttnFactor: k.float("rope.scaling.attn_factor", 1), BetaFast: 32, BetaSlow: 1,
		CtxOrig: k.size("rope.scaling.original_context_length", hp.NCtxTrain),
	}
	if hp.Rope.Dim > hp.HeadDim || hp.Rope.Dim%2 != 0 {
		k.fail("metadata key %q is %d, expected an even number up to the head size %d", name+".rope.dimension_count", hp.Rope.Dim, hp.HeadDim)
	}
	// "rope.scale_linear" is the name of older files.
	factor := k.float("rope.scaling.factor", k.float("rope.scale_linear", 1))
	switch kind := k.text("rope.scaling.type", "linear"); kind {
	case "none":
	case "linear":
		hp.Rope.FreqScale = 1 / factor
	case "yarn":
		hp.Rope.FreqScale, hp.Rope.ExtFactor = 1/factor, 1
	default:
		k.fail("rope scaling type %q cannot be trained; those that can: none, linear, yarn", kind)
	}
	hp.RopeFactors = f.HasTensor(string(RopeFreqs) + ".weight")
	return hp, k.err()
}
