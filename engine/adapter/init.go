package adapter

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// start fills A; B stays zero, and A too where the start is derived from weights. Each tensor draws from a generator of
// its own, seeded by the run's seed and its name, so that what a tensor starts with does not depend on which others are
// adapted.
func (p *Pair) start(c Config) {
	r := rand.New(rand.NewPCG(c.Seed, nameSeed(p.Tensor)))
	in := float64(p.AShape[0]) // the rank for a flipped pair, whose A is indexed by token
	defer p.spread(c.Block)
	switch c.Init {
	case "gaussian":
		// Standard deviation 1/r, as PEFT's init_lora_weights="gaussian".
		for i := range p.A {
			p.A[i] = float32(r.NormFloat64() / float64(p.Rank))
		}
	case kaiming, EVA:
		// Uniform in ±1/√n_in: torch's kaiming_uniform_ with a = √5, PEFT's default (He et al. 2015, equation 14).
		bound := 1 / math.Sqrt(in)
		for i := range p.A {
			p.A[i] = float32((2*r.Float64() - 1) * bound)
		}
	}
}

// nameSeed makes generators of different names differ.
func nameSeed(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// spread gives each block of A's rows the number that it begins with: the first of as many draws. Of inputs that do not
// depend on each other A x then varies as much as with a number of each one's own.
func (p *Pair) spread(block int64) {
	if block < 2 {
		return
	}
	for at := range p.A {
		p.A[at] = p.A[int64(at)/block*block]
	}
}
