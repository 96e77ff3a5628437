package arch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A Pooling says how one vector is made of the states of a text's tokens, by llama.cpp's numbers (LLAMA_POOLING_TYPE).
type Pooling int

// Those that there are. PoolRank is of rerankers: a number of a head at one token, and no vector.
const (
	PoolNone Pooling = iota // it is not said
	PoolMean                // the mean of all
	PoolCLS                 // the first
	PoolLast                // the last
	PoolRank
)

var poolings = []string{"none", "mean", "cls", "last", "rank"}

func (p Pooling) String() string {
	if p < 0 || int(p) >= len(poolings) {
		return fmt.Sprintf("pooling %d", int(p))
	}
	return poolings[p]
}

// Poolings lists the names of those that give a vector.
func Poolings() []string { return poolings[PoolMean : PoolLast+1] }

// PoolingOf finds one that gives a vector by its name.
func PoolingOf(name string) (Pooling, error) {
	if i := slices.Index(Poolings(), name); i >= 0 {
		return PoolMean + Pooling(i), nil
	}
	return 0, fmt.Errorf("pooling %q, expected %s", name, strings.Join(Poolings(), ", "))
}

// Pools says whether it gives a vector.
func (p Pooling) Pools() bool { return p >= PoolMean && p <= PoolLast }

// OrMean is p, or the mean where p gives no vector.
func (p Pooling) OrMean() Pooling {
	if p.Pools() {
		return p
	}
	return PoolMean
}

// poolingKey is where a file of an architecture says it.
func poolingKey(arch string) string { return arch + ".pooling_type" }

// Write has a model file of an architecture say it.
func (p Pooling) Write(w interface{ SetUint32(key string, x uint32) }, arch string) {
	w.SetUint32(poolingKey(arch), uint32(p))
}

// PoolingIn reads what a model file says of it; PoolNone: nothing.
func PoolingIn(f Metadata) (Pooling, error) {
	arch, err := f.Architecture()
	if err != nil {
		return PoolNone, err
	}
	name := poolingKey(arch)
	v, err := f.Int(name)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return PoolNone, nil
	case err != nil:
		return PoolNone, err
	case v < 0 || v >= int64(len(poolings)):
		return PoolNone, fmt.Errorf("%s: metadata key %q is %d, expected 0 to %d (%s)", f.Path(), name, v,
			len(poolings)-1, strings.Join(poolings, ", "))
	}
	return Pooling(v), nil
}

// mustPool refuses a file that does not say it, where llama.cpp opens none such.
func (k *keys) mustPool() {
	name := poolingKey(k.arch)
	if _, err := k.f.Int(name); errors.Is(err, gguf.ErrNoKey) {
		k.fail("metadata key %q is missing, without which llama.cpp opens no %s: it says how a text's vector is made "+
			"(%d: %v, %d: %v, %d: %v)", name, k.arch, PoolMean, PoolMean, PoolCLS, PoolCLS, PoolLast, PoolLast)
	}
}

// pooling is PoolingIn of the file.
func (k *keys) pooling() Pooling {
	p, err := PoolingIn(k.f)
	if err != nil {
		k.faults = append(k.faults, err)
	}
	return p
}
