package arch

import (
	"errors"
	"fmt"
	"math"
	"slices"

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

// layers reads a size of each of n layers, none below least: one for all of them, or a list; missing is as size's.
func (k *keys) layers(key string, n, least, missing int) func(il int) int {
	name := k.arch + "." + key
	list, err := k.f.Ints(name)
	if err != nil { // no list
		all := k.size(key, missing)
		return func(int) int { return all }
	}
	faults := len(k.faults)
	if len(list) != n {
		k.fail("metadata key %q has %d numbers, expected one for each of %d layers", name, len(list), n)
	}
	for il, v := range list {
		if v < int64(least) || v > maxSize {
			k.fail("metadata key %q has %d for layer %d, expected %d to %d", name, v, il, least, maxSize)
		}
	}
	if len(k.faults) > faults {
		return func(int) int { return 1 }
	}
	return func(il int) int { return int(list[il]) }
}

// windows reads which layers see a window alone. llama.cpp ends at an assertion, with nowhere for keys, if all do.
func (k *keys) windows(key string, n int) []bool {
	name := k.arch + "." + key
	list, err := k.f.Bools(name)
	switch {
	case err != nil:
		k.faults = append(k.faults, err)
	case len(list) != n:
		k.fail("metadata key %q has %d values, expected one for each of %d layers", name, len(list), n)
	case !slices.Contains(list, false):
		k.fail("metadata key %q leaves no layer that sees everything, which llama.cpp does not run", name)
	}
	return list
}

// zero refuses a number other than 0, which says what cannot be trained; optional says that llama.cpp opens files
// without it.
func (k *keys) zero(key string, optional bool, what string) {
	name := k.arch + "." + key
	n, err := k.f.Int(name)
	switch {
	case errors.Is(err, gguf.ErrNoKey) && optional:
	case err != nil:
		k.faults = append(k.faults, err)
	case n != 0:
		k.fail("metadata key %q is %d: %s, which cannot be trained; take a model of which it is 0", name, n, what)
	}
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

const kvHeads = "attention.head_count_kv"

// attention reads the sizes of attention, whose scores have the usual factor: 1/√HeadDim. byLayer leaves the number
// of key heads, which is that of all heads then, to who reads it for each layer.
func (k *keys) attention(embd int, byLayer bool) graph.AttentionAttr {
	a := graph.AttentionAttr{Heads: k.size("attention.head_count", 0)}
	if a.KVHeads = a.Heads; !byLayer {
		a.KVHeads = k.size(kvHeads, a.Heads)
	}
	a.HeadDim = k.headDim("", max(1, embd/a.Heads))
	k.shareable(a.Heads, a.KVHeads)
	a.Scale = 1 / math.Sqrt(float64(a.HeadDim))
	return a
}

// headDim reads the size of a head's keys, which is that of its values; of is what is behind the keys' names, and
// missing as size's.
func (k *keys) headDim(of string, missing int) int {
	n := k.size("attention.key_length"+of, missing)
	if missing > 0 {
		missing = n
	}
	if v := k.size("attention.value_length"+of, missing); v != n {
		k.fail("heads have %d elements in keys and %d in values; expected the same", n, v)
	}
	return n
}

// shareable refuses a number of key heads that heads cannot be shared out among.
func (k *keys) shareable(heads, kv int) {
	if heads%kv != 0 {
		k.fail("%d attention heads over %d key heads: expected a multiple", heads, kv)
	}
}
