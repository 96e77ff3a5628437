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

// pooling reads what a file says of it.
func (k *keys) pooling() Pooling {
	name := k.arch + ".pooling_type"
	v, err := k.f.Int(name)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return PoolNone
	case err != nil:
		k.faults = append(k.faults, err)
		return PoolNone
	case v < 0 || v >= int64(len(poolings)):
		k.fail("metadata key %q is %d, expected 0 to %d (%s)", name, v, len(poolings)-1, strings.Join(poolings, ", "))
		return PoolNone
	}
	return Pooling(v)
}
