package alike

import (
	"crypto/sha256"
	"math"
	"math/bits"
	"slices"
)

// The signature: enough bins that the chance of missing what is alike at Threshold is small, 1-(1-0.8^5)^12 = 0.992 of
// such texts are found, and few enough that a text takes some 250 bytes.
const (
	bands  = 12
	inBand = 5
	bins   = bands * inBand

	// Threshold is the similarity from which on texts are nearly alike: as in Lee et al. 2022, Deduplicating Training
	// Data Makes Language Models Better.
	Threshold = 0.8
	// agreeing is how many bins of two signatures must agree for the texts to be compared: three standard deviations,
	// of sqrt(0.8*0.2/60) = 0.052, below Threshold.
	agreeing = 38
	// walked and compared bound the work for one text where very many are somewhat alike.
	walked   = 16 // texts of a band looked at
	compared = 8  // texts read again
)

// How says in which way a text is like another.
type How uint8

// The ways.
const (
	Unlike How = iota
	Exact
	Near
)

// An Index holds texts and says of each that is added which earlier one it is like. The same texts in the same order
// give the same answers. It takes time and memory in proportion to the texts: of each it keeps 300 bytes. It is not
// safe for concurrent use.
type Index struct {
	text   func(i int) ([]Part, error) // gives text i again
	common map[uint64]bool             // pieces that many texts have

	sums  map[[16]byte]int32 // the first text of each hash
	n     int                // texts added
	kept  []int32            // the texts that others are compared with: those that are like none before
	sigs  []uint16           // their signatures, bins each
	heads []int32            // for each band a table: the last kept text there, from 1; 0: none
	next  []int32            // for each kept text and band the one before it, from 1
	mask  uint64

	all, rest []uint64 // of pieces
}

// New makes an index for n texts, which text gives by number: to learn what is common to many, and again where two are
// compared.
func New(n int, text func(i int) ([]Part, error)) (*Index, error) {
	size := uint64(1) << bits.Len(uint(n))
	x := &Index{text: text, common: map[uint64]bool{}, sums: map[[16]byte]int32{},
		heads: make([]int32, bands*size), mask: size - 1}
	return x, x.learn(n)
}

// Add adds the next text, whose hash is sum, and says which earlier one it is like, the first of several.
func (x *Index) Add(sum [sha256.Size]byte, parts []Part) (of int, how How, err error) {
	i := x.n
	x.n++
	key := [16]byte(sum[:16])
	if first, ok := x.sums[key]; ok {
		return int(first), Exact, nil
	}
	x.sums[key] = int32(i)
	pieces := x.pieces(parts)
	if len(pieces) == 0 {
		return 0, Unlike, nil
	}
	sig := signature(pieces)
	near := x.candidates(&sig)
	var set []uint64
	if len(near) > 0 {
		set = setOf(pieces)
	}
	for _, k := range near {
		other, err := x.text(int(x.kept[k]))
		if err != nil {
			return 0, Unlike, err
		}
		if alike(set, setOf(x.pieces(other))) {
			return int(x.kept[k]), Near, nil
		}
	}
	x.keep(i, &sig)
	return 0, Unlike, nil
}

// signature parts the pieces into bins, and gives of each bin's least the lowest bits.
func signature(pieces []uint64) (sig [bins]uint16) {
	var least [bins]uint64
	for b := range least {
		least[b] = math.MaxUint64
	}
	for _, p := range pieces {
		bin, rest := bits.Mul64(mix(p+1), bins)
		least[bin] = min(least[bin], rest)
	}
	for b := range least {
		from := uint64(b)
		for try := uint64(1); least[from] == math.MaxUint64; try++ { // one bin at least is not empty
			from, _ = bits.Mul64(mix(uint64(b)<<32|try), bins)
		}
		sig[b] = uint16(mix(least[from]))
	}
	return sig
}

// slot is where texts with the signature stand in a band's table.
func (x *Index) slot(sig *[bins]uint16, band int) uint64 {
	h := uint64(band + 1)
	for _, s := range sig[band*inBand : (band+1)*inBand] {
		h = mix(h<<16 ^ h>>48 ^ uint64(s))
	}
	return uint64(band)*(x.mask+1) + h&x.mask
}

// candidates gives the kept texts that may be alike, the earliest first.
func (x *Index) candidates(sig *[bins]uint16) []int32 {
	var out []int32
	for band := range bands {
		k := x.heads[x.slot(sig, band)]
		for steps := 0; k > 0 && steps < walked; steps++ {
			at := k - 1
			if !slices.Contains(out, at) && x.agrees(sig, at) {
				out = append(out, at)
			}
			k = x.next[int(at)*bands+band]
		}
	}
	slices.Sort(out)
	return out[:min(len(out), compared)]
}

func (x *Index) agrees(sig *[bins]uint16, k int32) bool {
	same := 0
	for b, s := range x.sigs[int(k)*bins : (int(k)+1)*bins] {
		if s == sig[b] {
			same++
		}
	}
	return same >= agreeing
}

func (x *Index) keep(i int, sig *[bins]uint16) {
	x.kept = append(x.kept, int32(i))
	x.sigs = append(x.sigs, sig[:]...)
	for band := range bands {
		slot := x.slot(sig, band)
		x.next = append(x.next, x.heads[slot])
		x.heads[slot] = int32(len(x.kept))
	}
}
