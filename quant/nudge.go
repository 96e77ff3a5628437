package quant

import (
	"math"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A digit is where bits of an element's integer lie in its block.
type digit struct {
	at    int // byte
	shift int
}

// A grid is how a storage type lays out a block's integers, from ggml-common.h and ggml-quants.c: a value is an offset
// plus the integer times a scale, both the same over a part of the block.
type grid struct {
	bits   int // of low
	low    func(i int) digit
	high   func(i int) digit // of what lies above low; nil: nothing does
	above  int               // bits of high
	signed bool
}

// nibbles are 32 elements in 16 bytes, the first half in their lower bits.
func nibbles(at int) func(int) digit {
	return func(i int) digit { return digit{at + i%16, 4 * (i / 16)} }
}

var grids = map[gguf.Type]grid{
	gguf.Q4_0: {bits: 4, low: nibbles(2)},
	gguf.Q4_1: {bits: 4, low: nibbles(4)},
	gguf.Q5_0: {bits: 4, low: nibbles(6), above: 1, high: func(i int) digit { return digit{2 + i/8, i % 8} }},
	gguf.Q5_1: {bits: 4, low: nibbles(8), above: 1, high: func(i int) digit { return digit{4 + i/8, i % 8} }},
	gguf.Q8_0: {bits: 8, low: func(i int) digit { return digit{2 + i, 0} }, signed: true},
	gguf.Q2_K: {bits: 2, low: func(i int) digit { return digit{16 + i/128*32 + i%32, i % 128 / 32 * 2} }},
	gguf.Q3_K: {bits: 2, low: func(i int) digit { return digit{32 + i/128*32 + i%32, i % 128 / 32 * 2} }, above: 1,
		high: func(i int) digit { return digit{i % 32, i / 32} }},
	gguf.Q4_K: {bits: 4, low: func(i int) digit { return digit{16 + i/64*32 + i%32, i % 64 / 32 * 4} }},
	gguf.Q5_K: {bits: 4, low: func(i int) digit { return digit{48 + i/64*32 + i%32, i % 64 / 32 * 4} }, above: 1,
		high: func(i int) digit { return digit{16 + i%32, i / 32} }},
	gguf.Q6_K: {bits: 4, low: func(i int) digit {
		part := i % 128 / 32
		return digit{i/128*64 + part%2*32 + i%32, part / 2 * 4}
	}, above: 2, high: func(i int) digit { return digit{128 + i/128*32 + i%32, i % 128 / 32 * 2} }},
}

// HasGrid says whether a type's values are, block by block, integers on an even grid.
func HasGrid(t gguf.Type) bool {
	_, is := grids[t]
	return is
}

// set gives element i of a block an integer.
func (g *grid) set(block []byte, i, q int) {
	put := func(d digit, bits, q int) {
		mask := byte(1<<bits - 1)
		block[d.at] = block[d.at]&^(mask<<d.shift) | byte(q)&mask<<d.shift
	}
	put(g.low(i), g.bits, q)
	if g.high != nil {
		put(g.high(i), g.above, q>>g.bits)
	}
}

// limits are the least and the greatest integer.
func (g *grid) limits() (low, high int) {
	n := 1 << (g.bits + g.above)
	if g.signed {
		return -n/2 + 1, n/2 - 1
	}
	return 0, n - 1
}

// Nudged are Rows that are the plan's file's own and a small change, in some tensors whose type stays. Such weights
// lie on the grids of their blocks, and a change of less than half a step is rounded away from every one of them when
// they are quantized anew, though it adds up over a row to what the change was made for. Rounded at random, as much of
// it stays as there was, and the rest is noise.
type Nudged interface {
	Rows
	// Nudges says whether tensor i may keep its blocks' grids, with each element on one of the two points next to it,
	// and how many times as much as other errors one weighs that takes from the change, or adds to it.
	Nudges(i int) (when Nudging, weight float64)
	// Chance gives what decides for an element of tensor i: a number from 0 to below 1, always the same.
	Chance(i int) func(element int64) float64
}

// Nudging says when weights keep their grids.
type Nudging int

// The answers of Nudges.
const (
	Never       Nudging = iota
	WhereBetter         // than quantizing anew
	Always
)

// A nudger rounds rows of a tensor at random on the grids that they have in the source.
type nudger struct {
	kind   gguf.Type
	when   Nudging
	weight float64
	source []byte // all of the tensor
	chance func(element int64) float64
}

// newNudger gives nil where nothing of tensor i is nudged.
func newNudger(f *gguf.File, i int, rows Rows) (*nudger, error) {
	r, is := rows.(Nudged)
	t := &f.Tensors[i]
	if !is || !HasGrid(t.Type) {
		return nil, nil
	}
	when, weight := r.Nudges(i)
	if when == Never {
		return nil, nil
	}
	data, err := f.Data(t)
	if err != nil {
		return nil, err
	}
	return &nudger{t.Type, when, weight, data, r.Chance(i)}, nil
}

// instead puts the piece's elements on the source's grids, where it finds that better than what is in p.out already,
// and says in p.nudged how many.
func (n *nudger) instead(p *piece) error {
	p.nudged = 0
	begin := p.at / int64(n.kind.BlockSize()) * int64(n.kind.BlockBytes())
	blocks := n.source[begin : begin+int64(len(p.out))]
	p.base = resized(p.base, int64(len(p.in)))
	if err := ggml.DequantizeTo(ggml.Type(n.kind), p.base, blocks); err != nil {
		return err
	}
	p.grid, p.near = append(p.grid[:0], blocks...), resized(p.near, int64(len(p.in)))
	if err := onGrid(n.kind, p.grid, p.in, func(i int) float64 { return n.chance(p.at + int64(i)) }); err != nil {
		return err
	}
	if err := ggml.DequantizeTo(ggml.Type(n.kind), p.near, p.grid); err != nil {
		return err
	}
	if n.when == Always || cost(p.base, p.in, p.near, n.weight) < cost(p.base, p.in, p.back, n.weight) {
		copy(p.out, p.grid)
		copy(p.back, p.near)
		p.nudged = int64(len(p.in))
	}
	return nil
}

// cost is what an error is worth: the sum of its squares, but that of its part along the change, from base to wanted,
// so many times.
func cost(base, wanted, got []float32, weight float64) float64 {
	var along, change, all float64
	for i, b := range base {
		d, e := float64(wanted[i])-float64(b), float64(got[i])-float64(wanted[i])
		along += d * e
		change += d * d
		all += e * e
	}
	if change == 0 {
		return all
	}
	return all + (weight-1)*along*along/change
}

// onGrid brings blocks of data to the values x without changing their grids: each element's integer becomes one of the
// two next to its value, the nearer with the greater probability, so that the mean over chances is the value, or the
// grid's end. A part of a block whose scale is 0 stays as it is.
func onGrid(t gguf.Type, data []byte, x []float32, chance func(i int) float64) error {
	g := grids[t]
	size, n := t.BlockBytes(), t.BlockSize()
	// The grid is read off the type's own dequantization: of all integers 0, and of all 1.
	var values [2][]float32
	for q := range values {
		same := append([]byte(nil), data...)
		for at := 0; at < len(same); at += size {
			for i := range n {
				g.set(same[at:at+size], i, q)
			}
		}
		values[q] = make([]float32, len(x))
		if err := ggml.DequantizeTo(ggml.Type(t), values[q], same); err != nil {
			return err
		}
	}
	low, high := g.limits()
	for k, v := range x {
		offset, step := float64(values[0][k]), float64(values[1][k])-float64(values[0][k])
		if step == 0 {
			continue
		}
		q := (float64(v) - offset) / step
		down := math.Floor(q)
		if q-down > chance(k) {
			down++
		}
		g.set(data[k/n*size:(k/n+1)*size], k%n, int(min(max(down, float64(low)), float64(high))))
	}
	return nil
}
