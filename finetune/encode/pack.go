package encode

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Packing says how items share rows. Items in one row do not see each other: each is a root of its own.
type Packing uint8

// The ways to pack.
const (
	BestFit    Packing = iota // longest first, each into the fullest row that has room
	Sequential                // in the order of the data, a new row when the next does not fit
	Unpacked                  // a row for each
)

var packingNames = []string{"best-fit", "sequential", "none"}

// Packings lists the names.
func Packings() []string { return slices.Clone(packingNames) }

// String gives the name as options write it.
func (p Packing) String() string { return nameOf(packingNames, uint8(p), "packing") }

// ParsePacking gives the Packing of that name; the error lists the names.
func ParsePacking(name string) (Packing, error) {
	i, err := indexOf(packingNames, "packing", name)
	return Packing(i), err
}

// The streams of random numbers drawn from one seed.
const (
	streamPack uint64 = iota + 1
	streamEpoch
	streamSplit
	streamLimit
	streamMix
	streamOrder
	streamStep
)

// permutation is a permutation of 0…n-1, a pure function of its arguments (Fisher and Yates's shuffle, PCG numbers, no
// modulo bias). It is written out, because the order of a resumed run must not change with the version of Go.
func permutation(n int, seed, stream, epoch uint64) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	// The seed and the stream must not cancel out: seed 1 stream 2 is not seed 2 stream 1.
	g := rand.NewPCG(seed*0x9e3779b97f4a7c15+stream, epoch)
	for i := n - 1; i > 0; i-- {
		j := below(g, uint64(i+1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// below draws from 0…n-1 (Lemire 2019, "Fast random integer generation in an interval").
func below(g *rand.PCG, n uint64) uint64 {
	hi, lo := bits.Mul64(g.Uint64(), n)
	if lo < n {
		for floor := -n % n; lo < floor; {
			hi, lo = bits.Mul64(g.Uint64(), n)
		}
	}
	return hi
}

// pack groups items of the given lengths (each 1…window tokens) into rows of at most window tokens. Each row lists
// ascending indices. It is a pure function of its arguments.
func pack(lengths []int, window int, how Packing, seed uint64) [][]int32 {
	switch how {
	case BestFit:
		return packBestFit(lengths, window, seed)
	case Sequential:
		return packSequential(lengths, window)
	}
	rows := make([][]int32, len(lengths))
	for i := range rows {
		rows[i] = []int32{int32(i)}
	}
	return rows
}

func packSequential(lengths []int, window int) [][]int32 {
	var rows [][]int32
	room := 0
	for i, n := range lengths {
		if n > room || len(rows) == 0 {
			rows = append(rows, nil)
			room = window
		}
		last := len(rows) - 1
		rows[last] = append(rows[last], int32(i))
		room -= n
	}
	return rows
}

// packBestFit is best-fit decreasing: at most 11/9 of the fewest rows possible (Johnson et al. 1974). Items of equal
// length are taken in an order drawn from the seed, so that which examples share rows does not follow the order of the
// file.
func packBestFit(lengths []int, window int, seed uint64) [][]int32 {
	order := permutation(len(lengths), seed, streamPack, 0)
	slices.SortStableFunc(order, func(a, b int32) int { return lengths[b] - lengths[a] })
	var rows [][]int32
	open := newRooms(window)
	for _, i := range order {
		n := lengths[i]
		r, room := open.take(n)
		if r < 0 {
			r, room = len(rows), window
			rows = append(rows, nil)
		}
		rows[r] = append(rows[r], i)
		open.put(r, room-n)
	}
	for _, r := range rows {
		slices.Sort(r)
	}
	return rows
}

// rooms finds the row with the least room that is enough.
type rooms struct {
	byRoom [][]int  // rows by the tokens they still hold
	some   []uint64 // bit r: byRoom[r] is not empty
}

func newRooms(window int) *rooms {
	return &rooms{byRoom: make([][]int, window+1), some: make([]uint64, window/64+1)}
}

func (o *rooms) put(row, room int) {
	o.byRoom[room] = append(o.byRoom[room], row)
	o.some[room/64] |= 1 << (room % 64)
}

// take removes and gives the row with the least room of at least n tokens, or -1.
func (o *rooms) take(n int) (row, room int) {
	w := n / 64
	word := o.some[w] &^ (1<<(n%64) - 1)
	for word == 0 {
		if w++; w == len(o.some) {
			return -1, 0
		}
		word = o.some[w]
	}
	room = w*64 + bits.TrailingZeros64(word)
	s := o.byRoom[room]
	row = s[len(s)-1]
	o.byRoom[room] = s[:len(s)-1]
	if len(s) == 1 {
		o.some[room/64] &^= 1 << (room % 64)
	}
	return row, room
}

// Split picks k of n examples for evaluation, by the seed. held is ascending.
func Split(n, k int, seed uint64) (train, held []int) {
	out := make([]bool, n)
	for _, i := range permutation(n, seed, streamSplit, 0)[:k] {
		out[i] = true
	}
	for i, h := range out {
		if h {
			held = append(held, i)
		} else {
			train = append(train, i)
		}
	}
	return train, held
}
