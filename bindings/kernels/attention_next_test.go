package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// keptPages is what OpAttnKeep writes, and which pages each segment of a tree has.
type keptPages struct {
	typ   Type
	page  int64
	data  []float32
	pages int
	list  [][]int32 // of each segment
}

// newKept gives a tree's segments pages here and there, all full of what earlier texts left.
func newKept(r *rand.Rand, a *attnCase) *keptPages {
	x := &keptPages{typ: KeptType(a.fast), page: KeptPage(int64(a.d), int64(a.nKV))}
	block := int(KeptTokens(int64(a.d)))
	free := r.Perm(treeTokens(a.segs)/block + len(a.segs) + 2)
	x.pages = len(free)
	for _, s := range a.segs {
		var list []int32
		for range (s.end - s.start + block - 1) / block {
			list, free = append(list, int32(free[0])), free[1:]
		}
		x.list = append(x.list, list)
	}
	x.data = make([]float32, int64(x.pages)*x.page)
	for i := range x.data {
		x.data[i] = r.Float32() - 0.5
	}
	return x
}

func (x *keptPages) arg() Arg {
	bytes := 4 * x.page
	if x.typ == BF16 {
		bytes = 2 * x.page
	}
	return Matrix(unsafe.Pointer(&x.data[0]), x.typ, x.page, int64(x.pages), bytes)
}

// table names the tokens given, as (segment, offset), when segments have so many tokens.
func (x *keptPages) table(a *attnCase, tokens [][2]int, lengths []int) []int32 {
	data := []int32{int32(len(tokens)), int32(len(a.segs)), 0}
	for _, t := range tokens {
		data = append(data, int32(t[0]), int32(t[1]))
	}
	var list []int32
	for s, seg := range a.segs {
		data = append(data, int32(seg.parent), int32(lengths[s]), int32(len(list)))
		list = append(list, x.list[s]...)
	}
	data[2] = int32(len(list))
	return append(append(data, list...), 9, 9) // more room than it takes
}

// pieces divides a tree into calls: in each some tokens more of segments whose parents are whole.
func pieces(r *rand.Rand, segs []treeSeg, most int) (calls [][][2]int) {
	done := make([]int, len(segs))
	length := func(s int) int { return segs[s].end - segs[s].start }
	whole := func(s int) bool {
		for ; s >= 0; s = segs[s].parent {
			if done[s] < length(s) {
				return false
			}
		}
		return true
	}
	for {
		var call [][2]int
		next := append([]int{}, done...)
		for _, s := range r.Perm(len(segs)) {
			if done[s] == length(s) || segs[s].parent >= 0 && !whole(segs[s].parent) || r.IntN(4) == 0 {
				continue
			}
			for range min(1+r.IntN(most), length(s)-done[s]) {
				call, next[s] = append(call, [2]int{s, next[s]}), next[s]+1
			}
		}
		if len(call) > 0 {
			calls = append(calls, call)
		}
		left := 0
		for s := range segs {
			left += length(s) - next[s]
		}
		if done = next; left == 0 {
			return calls
		}
	}
}

// next computes a tree's attention piece by piece and holds it to the bits of the whole's.
func (a *attnCase) next(t *testing.T, r *rand.Rand, most, threads int) {
	t.Helper()
	whole, sinks := newMatrix(a.nHead*a.d, treeTokens(a.segs)), Arg{}
	if a.sinks != nil {
		sinks = a.sinks.arg()
	}
	if err := runCall(a.call(OpAttn, whole, newMatrix(a.nHead, treeTokens(a.segs)), a.q, a.k, a.v), 1); err != nil {
		t.Fatal(err)
	}
	x := newKept(r, a)
	lengths := make([]int, len(a.segs))
	for _, call := range pieces(r, a.segs, most) {
		gather := func(m *matrix) *matrix {
			out := newMatrix(m.ne0, len(call))
			for i, tok := range call {
				copy(out.row(i), m.row(a.segs[tok[0]].start+tok[1]))
			}
			return out
		}
		for _, tok := range call {
			lengths[tok[0]] = tok[1] + 1
		}
		table := x.table(a, call, lengths)
		tab := Matrix(unsafe.Pointer(&table[0]), I32, int64(len(table)), 1, int64(4*len(table)))
		k := AttnConstants{Scale: a.scale, NHead: int64(a.nHead), NKV: int64(a.nKV), D: int64(a.d), Fast: a.fast,
			Window: int64(a.window), Cap: a.cap}
		keep := OpAttnKeep.Call(k, x.arg(), gather(a.k).arg(), gather(a.v).arg(), tab)
		o := newMatrix(a.nHead*a.d, len(call))
		if err := runCall(&keep, threads); err != nil {
			t.Fatal(err)
		}
		next := OpAttnNext.Call(k, o.arg(), gather(a.q).arg(), x.arg(), tab, sinks)
		if err := runCall(&next, threads); err != nil {
			t.Fatal(err)
		}
		for i, tok := range call {
			want := whole.row(a.segs[tok[0]].start + tok[1])
			for j, got := range o.row(i) {
				if math.Float32bits(got) != math.Float32bits(want[j]) {
					t.Fatalf("%s, fast %t: segment %d, token %d, element %d: %g, in the whole tree %g", a, a.fast,
						tok[0], tok[1], j, got, want[j])
				}
			}
		}
	}
}

// TestAttentionNext: attention that is given a tree piece by piece, down to one token, gives the bits of that which is
// given the whole.
func TestAttentionNext(t *testing.T) {
	cases := []struct {
		nHead, nKV, d int
		segs          []treeSeg
	}{
		{1, 1, 8, treeOf(1, -1)}, {9, 3, 64, treeOf(70, -1, 150, 0, 90, 0, 30, 0)}, {6, 2, 33, treeOf(140, -1)},
		{14, 2, 64, treeOf(45, -1, 20, 0, 0, 0, 17, 2)}, {2, 2, 1, treeOf(20, -1)}, {4, 4, 80, treeOf(64, -1, 130, 0)},
		{4, 1, 128, treeOf(65, -1, 70, 0)}, {5, 5, 200, treeOf(40, -1, 77, 0)}, {3, 1, 256, treeOf(35, -1, 66, 0)},
		{2, 1, 512, treeOf(35, -1, 20, 0)},
		{4, 2, 16, treeOf(9, -1, 5, 0, 30, -1, 9, 2, 4, 1, 100, 3)}, {8, 8, 12, treeOf(3, -1, 300, 0)},
		{4, 1, 24, treeOf(200, -1)}, {6, 3, 48, treeOf(200, -1)}, {10, 2, 40, treeOf(200, -1)},
	}
	atEveryLevel(t, func(t *testing.T) {
		for i, c := range cases {
			r := rand.New(rand.NewPCG(5, uint64(i)))
			a := newAttn(r, c.nHead, c.nKV, c.d, c.d%3, c.segs)
			for _, a.fast = range []bool{false, true} {
				a.window, a.cap = 0, 0
				a.next(t, r, 1, 1)
				a.window = 37
				a.next(t, r, 40, 3)
				a.window, a.cap = 1+i, 3.5
				a.next(t, r, 40, 1)
				a.sink(r).next(t, r, 40, 2)
				a.sinks = nil
			}
		}
	})
}

// TestAttentionNextRandom is TestAttentionNext on random trees and shapes.
func TestAttentionNextRandom(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(17, seed))
			nKV := 1 + r.IntN(3)
			tree := randomTree(r, 8, []int{2, 9, 100}[r.IntN(3)])
			a := newAttn(r, nKV*(1+r.IntN(5)), nKV, 1+r.IntN(40), r.IntN(3), tree)
			if a.fast = seed%2 == 0; r.IntN(2) == 0 {
				a.window, a.cap = 1+r.IntN(80), float64(r.IntN(2))*5
			}
			a.next(t, r, 1+r.IntN(60), 1+r.IntN(4))
		}
	})
}

// TestAttentionNextRefuses: a table that leads out of what is kept is refused before a kernel follows it.
func TestAttentionNextRefuses(t *testing.T) {
	const heads, kv, d, pages = 4, 2, 8, 3
	k := AttnConstants{Scale: 1, NHead: heads, NKV: kv, D: d}
	good := []int32{1, 2, 2, 1, 4, -1, 64, 0, 0, 5, 1, 2, 0} // one token: the fifth of a segment behind one of 64
	page := KeptPage(d, kv)
	call := func(table []int32, k AttnConstants, page int64) error {
		data := make([]float32, pages*page)
		tab := Matrix(unsafe.Pointer(&table[0]), I32, int64(len(table)), 1, int64(4*len(table)))
		c := OpAttnNext.Call(k, newMatrix(heads*d, 1).arg(), newMatrix(heads*d, 1).arg(),
			Matrix(unsafe.Pointer(&data[0]), F32, page, pages, 4*page), tab)
		return Check(&c)
	}
	if err := call(good, k, page); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(x []int32) []int32{
		"two tokens":      func(x []int32) []int32 { x[0] = 2; return x },
		"cut short":       func(x []int32) []int32 { return x[:12] },
		"no such segment": func(x []int32) []int32 { x[3] = 2; return x },
		"before it":       func(x []int32) []int32 { x[4] = -1; return x },
		"behind it":       func(x []int32) []int32 { x[4] = 5; return x },
		"its own parent":  func(x []int32) []int32 { x[8] = 1; return x },
		"two pages of 64": func(x []int32) []int32 { x[6] = 129; return x },
		"a page too far":  func(x []int32) []int32 { x[11] = 3; return x },
		"no page":         func(x []int32) []int32 { x[12] = -1; return x },
		"a list too far":  func(x []int32) []int32 { x[10] = 2; return x },
	} {
		if err := call(change(append([]int32{}, good...)), k, page); err == nil {
			t.Errorf("%s: the table was accepted", what)
		}
	}
	if err := call(good, k, page-1); err == nil {
		t.Error("pages that are too small were accepted")
	}
	k.Drop = 0.1
	if err := call(good, k, page); err == nil {
		t.Error("dropout was accepted")
	}
	k.Drop, k.Bidirectional = 0, true
	if err := call(good, k, page); err == nil {
		t.Error("attention both ways was accepted")
	}
}
