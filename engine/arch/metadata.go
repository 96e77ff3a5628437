package arch

import (
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// maxSize bounds every size read from metadata, so that products of a few of them stay within int64.
const maxSize = 1 << 24

// keys reads metadata below "arch." and collects the faults.
type keys struct {
	f      Metadata
	arch   string
	faults []error
}

// keysOf reads the metadata of a file whose architecture Of has found.
func keysOf(f Metadata) *keys {
	name, err := f.Architecture()
	k := &keys{f: f, arch: name}
	if err != nil {
		k.faults = append(k.faults, err)
	}
	return k
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

// window reads how far back tokens see; missing is what a file without it means, where 0 is no window at all.
func (k *keys) window(key string, missing int) int {
	if _, err := k.f.Int(k.arch + "." + key); errors.Is(err, gguf.ErrNoKey) {
		return missing
	}
	return k.size(key, 0)
}

// periodicWindow reads how far back tokens see in all but the last of each period of layers; 0 is no window at all.
func (k *keys) periodicWindow(key string, period int) int {
	window := k.window(key, 0)
	// llama.cpp ends at an assertion, with nowhere for keys.
	if n := k.size("block_count", 0); window > 0 && n < period {
		k.fail("%d layers with a window (%q) leave none that sees everything, which llama.cpp does not run; "+
			"expected %d or more", n, k.arch+"."+key, period)
	}
	return window
}

// cap reads what numbers stay within; missing is what a file without it means, where 0 is no bound at all.
func (k *keys) cap(key string, missing float64) float64 {
	if _, err := k.f.Float32(k.arch + "." + key); errors.Is(err, gguf.ErrNoKey) {
		return missing
	}
	return k.float(key, 0)
}

// flag reads what is so or not, or gives missing.
func (k *keys) flag(key string, missing bool) bool {
	v, err := k.f.Bool(k.arch + "." + key)
	if errors.Is(err, gguf.ErrNoKey) {
		return missing
	}
	if err != nil {
		k.faults = append(k.faults, err)
	}
	return v
}

// text reads a string, or gives missing.
func (k *keys) text(key, missing string) string {
	v, err := k.f.StringOr(k.arch+"."+key, missing)
	if err != nil {
		k.faults = append(k.faults, err)
	}
	return v
}

// hparams reads what every model has.
func (k *keys) hparams() HParams {
	hp := HParams{NLayer: k.size("block_count", 0), NEmbd: k.size("embedding_length", 0),
		NCtxTrain: k.size("context_length", 0), Pooling: k.pooling()}
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

// dense refuses experts, where llama.cpp would look for other tensors.
func (k *keys) dense() {
	if n, err := k.f.Int(k.arch + ".expert_count"); err == nil && n > 0 {
		k.fail("the model is a mixture of %d experts, which cannot be trained in a %s; take a dense model", n, k.arch)
	}
}

// experts reads how many experts a layer has, and how many of them a token has.
func (k *keys) experts() (n, used int) {
	n, used = k.size("expert_count", 0), k.size("expert_used_count", 0)
	switch {
	case n > graph.MostExperts:
		k.fail("metadata key %q is %d, expected at most %d", k.arch+".expert_count", n, graph.MostExperts)
	case used > n:
		k.fail("metadata key %q is %d of %d experts, expected 1 to %d", k.arch+".expert_used_count", used, n, n)
	}
	if groups := k.count("expert_group_count"); groups > 1 {
		k.fail("metadata key %q is %d, and experts are chosen from all here; expected none", k.arch+
			".expert_group_count", groups)
	}
	return n, used
}

// count reads a number that may be 0, as which a missing one counts.
func (k *keys) count(key string) int {
	v, err := k.f.Int(k.arch + "." + key)
	if err != nil || v == 0 {
		if err != nil && !errors.Is(err, gguf.ErrNoKey) {
			k.faults = append(k.faults, err)
		}
		return 0
	}
	return k.size(key, 0)
}

// attention reads the sizes of attention, whose scores have the usual factor: 1/√HeadDim.
func (k *keys) attention(embd int) graph.AttentionAttr {
	a := graph.AttentionAttr{Heads: k.size("attention.head_count", 0)}
	a.KVHeads = k.size("attention.head_count_kv", a.Heads)
	a.HeadDim = k.size("attention.key_length", max(1, embd/a.Heads))
	if v := k.size("attention.value_length", a.HeadDim); v != a.HeadDim {
		k.fail("heads have %d elements in keys and %d in values; expected the same", a.HeadDim, v)
	}
	if a.Heads%a.KVHeads != 0 {
		k.fail("%d attention heads over %d key heads: expected a multiple", a.Heads, a.KVHeads)
	}
	a.Scale = 1 / math.Sqrt(float64(a.HeadDim))
	return a
}
