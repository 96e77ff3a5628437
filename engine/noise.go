package engine

import (
	"math"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
)

// noises says whether the pass adds noise to what the first layer reads.
func (p *pass) noises() bool { return p.opt.Dropout && p.s.cfg.EmbedNoise > 0 }

// noiseBytes is the size of the noise among the inputs.
func (p *pass) noiseBytes() int64 {
	if !p.noises() {
		return 0
	}
	return backend.Aligned(p.tokens * int64(p.s.model.net.NEmbd) * 4)
}

// addNoise makes the noise of a pass at a place: uniform in ±α/√(L·d) for each of the d numbers of a token, L being the
// tokens of the longest way through its tree (Jain et al. 2023, "NEFTune: Noisy Embeddings Improve Instruction
// Finetuning", algorithm 1). It is a function of the seed, the micro-batch and the element's place, so that a run that
// goes on, and a second pass over the same rows, meet the same.
func (p *pass) addNoise(at backend.Place) error {
	if !p.noises() {
		return nil
	}
	width := p.s.model.net.NEmbd
	key := mix(p.key, uint64(p.s.model.net.NLayer+2)) // the stages' dropout has those below
	row := make([]float32, width)
	tree := p.idx[arch.InputTree]
	longest := wayLengths(tree)
	for g := range longest {
		size := p.s.cfg.EmbedNoise / math.Sqrt(float64(longest[g])*float64(width))
		for t := tree[1+3*g]; t < tree[2+3*g]; t++ {
			for i := range row {
				const scale = 1.0 / (1 << 53)
				unit := float64(mix(key, uint64(t)*uint64(width)+uint64(i))>>11) * scale // 0 to below 1
				row[i] = float32((2*unit - 1) * size)
			}
			to := backend.Place{Mem: at.Mem, At: at.At + int64(t)*int64(width)*4}
			if err := p.s.backend.Upload(to, backend.BytesOf(row)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wayLengths gives, for each segment of a forest as the kernels take it, the tokens of the longest way from the root of
// its tree to a leaf.
func wayLengths(tree []int32) []int {
	n := (len(tree) - 1) / 3
	ends, roots, longest := make([]int, n), make([]int, n), make([]int, n)
	for g := range n {
		start, end, parent := tree[1+3*g], tree[2+3*g], tree[3+3*g]
		ends[g], roots[g] = int(end-start), g
		if parent >= 0 {
			ends[g] += ends[parent]
			roots[g] = roots[parent]
		}
		longest[roots[g]] = max(longest[roots[g]], ends[g])
	}
	for g := range n {
		longest[g] = longest[roots[g]]
	}
	return longest
}
