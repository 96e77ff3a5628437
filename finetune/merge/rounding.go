package merge

import (
	"hash/fnv"
	"maps"
	"slices"

	"github.com/ggtune/ggtune/quant"
)

// roundings are the ways in which merged weights are rounded into the quantized type that they had.
var roundings = map[string]quant.Nudging{
	"":        quant.WhereBetter,
	"auto":    quant.WhereBetter,
	"nearest": quant.Never,
	"random":  quant.Always,
}

// Roundings are the names of Config.Rounding: nearest quantizes anew, as llama.cpp does; random keeps the grids of the
// base's blocks and takes one of the two points next to each weight, by chance, so that small changes stay on average;
// auto takes the better of both for every few rows.
func Roundings() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(roundings)), func(s string) bool { return s == "" })
}

// alongWeight is how many times as much as other errors one weighs that takes from a change of rank r in rows of n
// numbers, or adds to it, in units of n/r: the adapter's few directions are those that its inputs vary most in, while
// random errors spread over all. Of 1, 3 and 10 it gave the least divergence from the adapter kept apart, from q6_k to
// q2_k together (docs/merging.md).
const alongWeight = 3

// Nudges says whether tensor i may keep its blocks' grids: quant.Nudged.
func (r *merged) Nudges(i int) (quant.Nudging, float64) {
	if r.other || r.Unchanged(i) {
		return quant.Never, 0
	}
	t := &r.file.Tensors[i]
	weight := 1.
	if rank := r.sum.Rank(t.Name); rank > 0 {
		weight = max(1, alongWeight*float64(t.Shape[0])/float64(rank))
	}
	return r.nudging, weight
}

// Chance follows from the tensor's name and the element's number alone: the same merge writes the same bytes, whatever
// its threads.
func (r *merged) Chance(i int) func(element int64) float64 {
	h := fnv.New64a()
	h.Write([]byte(r.file.Tensors[i].Name))
	seed := h.Sum64()
	return func(element int64) float64 {
		// SplitMix64 (Steele, Lea and Flood 2014), at a place of its own for each element.
		z := seed + uint64(element)*0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return float64((z^z>>31)>>11) / (1 << 53)
	}
}
