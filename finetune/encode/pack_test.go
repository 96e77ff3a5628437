package encode

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

// TestPack: every item in exactly one row, no row too long, the same rows for the same seed, and few of them.
func TestPack(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	for trial := range 40 {
		window := 2 + g.IntN(130)
		lengths := make([]int, g.IntN(200))
		total := 0
		for i := range lengths {
			lengths[i] = 1 + g.IntN(window)
			total += lengths[i]
		}
		for how := BestFit; how <= Unpacked; how++ {
			rows := pack(lengths, window, how, uint64(trial))
			if again := pack(lengths, window, how, uint64(trial)); !reflect.DeepEqual(rows, again) {
				t.Fatalf("%v: another result for the same seed", how)
			}
			var all []int32
			for _, r := range rows {
				n := 0
				for _, i := range r {
					n += lengths[i]
				}
				if n > window || len(r) == 0 || !slices.IsSorted(r) {
					t.Fatalf("%v: row %v of %d tokens in a window of %d", how, r, n, window)
				}
				all = append(all, r...)
			}
			slices.Sort(all)
			for i := range all {
				if int(all[i]) != i {
					t.Fatalf("%v: items %v are not each there once", how, all)
				}
			}
			if len(all) != len(lengths) {
				t.Fatalf("%v: %d of %d items", how, len(all), len(lengths))
			}
			fewest := (total + window - 1) / window
			if limit := fewest*11/9 + 1 + fewest/2; how == BestFit && len(rows) > limit {
				t.Errorf("best-fit: %d rows of %d where %d tokens would fill %d", len(rows), window, total, fewest)
			}
		}
	}
	if rows := pack([]int{3, 3, 2, 2}, 5, BestFit, 1); len(rows) != 2 {
		t.Errorf("best-fit: got %v, want two full rows", rows)
	}
}

func TestPermutation(t *testing.T) {
	// Written down once: a resumed run must see the same order in every version.
	if got, want := permutation(8, 42, streamEpoch, 3), []int32{5, 3, 7, 1, 4, 0, 2, 6}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if slices.Equal(permutation(50, 1, streamEpoch, 0), permutation(50, 1, streamEpoch, 1)) {
		t.Error("two epochs have the same order")
	}
	// Each of 4 items is first in about a quarter of 4000 permutations: 1000 ± 5 standard deviations (27).
	var first [4]int
	for e := range uint64(4000) {
		first[permutation(4, 7, streamEpoch, e)[0]]++
	}
	for i, n := range first {
		if n < 863 || n > 1137 {
			t.Errorf("item %d is first %d times of 4000", i, n)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		n, k int
	}{{100, 10}, {5, 1}, {5, 4}, {2, 1}, {3, 0}} {
		train, held := Split(tc.n, tc.k, 9)
		all := append(slices.Clone(train), held...)
		slices.Sort(all)
		if len(held) != tc.k || len(all) != tc.n || all[0] != 0 || all[tc.n-1] != tc.n-1 {
			t.Errorf("%d of %d: got %v and %v", tc.k, tc.n, train, held)
		}
	}
}

func itemOf(line, n int, counted ...int) Item {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(100*line + i)
	}
	marks := make([]bool, n)
	for _, c := range counted {
		marks[c] = true
	}
	return single(data.Source{File: "d", Line: line}, tokens, marks)
}

func dataset(t *testing.T, lim Limits, items ...Item) *Dataset {
	t.Helper()
	d, err := NewDataset(method.Answers, lim)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		d.Add(it)
	}
	return d
}

// TestLoader goes through epochs and wants every counted token of every item once in each, in another order in the
// next, the same from every cursor, and the trees moved to their places.
func TestLoader(t *testing.T) {
	tree, err := Tree(data.Source{File: "d", Line: 9}, []int32{900, 901}, Child{[]int32{902}, []bool{true}},
		Child{[]int32{903, 904}, []bool{false, true}})
	if err != nil {
		t.Fatal(err)
	}
	d := dataset(t, Limits{SeqLen: 10}, itemOf(1, 4, 2, 3), itemOf(2, 6, 1), itemOf(3, 3, 2), tree, itemOf(4, 10, 9))
	for how := BestFit; how <= Unpacked; how++ {
		l, err := NewLoader(d, LoadOptions{Window: 10, Packing: how, Batch: 2, Seed: 5, Shuffle: true})
		if err != nil {
			t.Fatal(err)
		}
		var orders [2][]int32
		c := Cursor{}
		for epoch := range orders {
			for end := false; !end; {
				if c.Epoch != epoch {
					t.Fatalf("epoch %d: cursor %+v", epoch, c)
				}
				m, next, err := l.Next(c)
				if err != nil {
					t.Fatal(err)
				}
				fresh, err := NewLoader(d, LoadOptions{Window: 10, Packing: how, Batch: 2, Seed: 5, Shuffle: true})
				if err != nil {
					t.Fatal(err)
				}
				if again, _, err := fresh.Next(c); err != nil || !reflect.DeepEqual(again, m) {
					t.Fatalf("cursor %+v gives another micro-batch to a new loader", c)
				}
				orders[epoch] = append(orders[epoch], countedTokens(t, m)...)
				c, end = next, m.EndsStep
			}
		}
		if slices.Equal(orders[0], orders[1]) {
			t.Errorf("%v: both epochs have the order %v", how, orders[0])
		}
		for _, o := range orders {
			slices.Sort(o)
			if want := []int32{102, 103, 201, 302, 409, 902, 904}; !slices.Equal(o, want) {
				t.Errorf("%v: counted %v, want %v", how, o, want)
			}
		}
		if _, _, err := l.Next(Cursor{Row: l.Rows()}); err == nil {
			t.Error("a cursor behind the data is accepted")
		}
	}
}

func TestLoaderLimit(t *testing.T) {
	var items []Item
	for line := 1; line <= 20; line++ {
		items = append(items, itemOf(line, 5, 1, 2))
	}
	d := dataset(t, Limits{SeqLen: 10}, items...)
	l, err := NewLoader(d, LoadOptions{Window: 10, Packing: Sequential, Batch: 4, Seed: 3, Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := l.Next(Cursor{})
	if err != nil || !m.EndsStep || len(m.Batch.Rows) != 4 {
		t.Fatalf("got %d rows, %v, want 4", len(m.Batch.Rows), err)
	}
	if want := (Counts{Examples: 20, Items: 8, Rows: 4, Tokens: 40, Counted: 16}); d.Counts != want {
		t.Errorf("got %+v, want %+v", d.Counts, want)
	}
	if tokens, counted := l.Longest(); tokens != 10 || counted != 4 {
		t.Errorf("longest row: got %d tokens, %d counted, want 10, 4", tokens, counted)
	}
	if slices.IsSortedFunc(m.Batch.Rows, func(a, b engine.Row) int { return int(a.Tokens[0] - b.Tokens[0]) }) == false {
		t.Error("the rows kept are not in their order")
	}
}

// countedTokens gives the counted tokens of a micro-batch after checking its structure.
func countedTokens(t *testing.T, m *Micro) []int32 {
	t.Helper()
	var out []int32
	total := 0
	for _, r := range m.Batch.Rows {
		at := 0
		for i, s := range r.Segments {
			if s.Start != at || s.Parent >= i {
				t.Fatalf("segments %+v", r.Segments)
			}
			// Tokens of an item share a hundred: a parent must be of the same item.
			if s.Parent >= 0 && r.Tokens[s.Start]/100 != r.Tokens[r.Segments[s.Parent].Start]/100 {
				t.Fatalf("segment %d of %+v hangs on another item", i, r.Segments)
			}
			at += s.Len
		}
		if at != len(r.Tokens) || !slices.IsSorted(r.Counted) {
			t.Fatalf("row %+v", r)
		}
		for _, c := range r.Counted {
			out = append(out, r.Tokens[c])
		}
		total += at
	}
	at := 0
	for _, s := range m.Sequences {
		if s.Start != at || s.Len < 1 {
			t.Fatalf("sequences %+v", m.Sequences)
		}
		for _, tok := range out[at+1 : at+s.Len] {
			if tok/100 != out[at]/100 {
				t.Fatalf("sequence %+v mixes items: %v", s, out)
			}
		}
		at += s.Len
	}
	if at != len(out) || m.Counted != len(out) || m.Tokens != total {
		t.Fatalf("micro-batch of %d tokens, %d counted; says %d, %d", total, len(out), m.Tokens, m.Counted)
	}
	return out
}

func TestDatasetLimits(t *testing.T) {
	long := itemOf(7, 12, 1, 11)
	cut := itemOf(8, 12, 11) // its answer lies behind the row's end
	for _, tc := range []struct {
		on   OnLong
		want Counts
		err  string
	}{
		{Truncate, Counts{Examples: 3, Truncated: 1, DroppedCut: 1, Items: 2, Tokens: 14, Counted: 2}, ""},
		{Drop, Counts{Examples: 3, DroppedLong: 2, Items: 1, Tokens: 4, Counted: 1}, ""},
		{Refuse, Counts{Examples: 3, Items: 1, Tokens: 4, Counted: 1}, "d:7: 12 tokens: longer than a row of 10"},
	} {
		d := dataset(t, Limits{SeqLen: 10, OnLong: tc.on}, itemOf(1, 4, 3), long, cut)
		if d.Counts != tc.want {
			t.Errorf("%v: got %+v, want %+v", tc.on, d.Counts, tc.want)
		}
		err := d.Check()
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%v: error %v, want %q", tc.on, err, tc.err)
		}
	}
	if err := dataset(t, Limits{SeqLen: 10}, itemOf(1, 4), itemOf(2, 3, 1)).Check(); err == nil ||
		!strings.HasPrefix(err.Error(), "d:1: no token") {
		t.Errorf("nothing counted: got %v", err)
	}
	if err := dataset(t, Limits{SeqLen: 10}).Check(); err == nil {
		t.Error("an empty dataset passes")
	}
	if err := dataset(t, Limits{SeqLen: 10}, cut).Check(); err == nil ||
		!strings.Contains(err.Error(), "raise --seq-len") {
		t.Errorf("nothing left: got %v", err)
	}
	if _, err := NewDataset(method.Answers, Limits{SeqLen: 1}); err == nil {
		t.Error("rows of one token are accepted")
	}
}

func TestFingerprint(t *testing.T) {
	base := func() []Item { return []Item{itemOf(1, 4, 3), itemOf(2, 5, 1)} }
	print := func(items []Item) [32]byte { return dataset(t, Limits{SeqLen: 10}, items...).Fingerprint() }
	want := print(base())
	if print(base()) != want {
		t.Error("not the same for the same data")
	}
	moved := base()
	moved[0].Source = data.Source{File: "elsewhere", Line: 77}
	if print(moved) != want {
		t.Error("the place of the file matters")
	}
	for name, change := range map[string]func(it []Item){
		"token": func(it []Item) { it[1].Tokens[4]++ },
		"mark":  func(it []Item) { it[1].Counted[4] = true },
		"label": func(it []Item) { it[1].Label = 1 },
		"order": func(it []Item) { it[0], it[1] = it[1], it[0] },
		"segment": func(it []Item) {
			it[1].Segments = []engine.Segment{{Start: 0, Len: 2, Parent: -1}, {Start: 2, Len: 3}}
		},
	} {
		items := base()
		change(items)
		if print(items) == want {
			t.Errorf("the same with another %s", name)
		}
	}
}

func TestNames(t *testing.T) {
	for o := Truncate; o <= Refuse; o++ {
		if got, err := ParseOnLong(o.String()); err != nil || got != o {
			t.Errorf("%v: got %v, %v", o, got, err)
		}
	}
	for p := BestFit; p <= Unpacked; p++ {
		if got, err := ParsePacking(p.String()); err != nil || got != p {
			t.Errorf("%v: got %v, %v", p, got, err)
		}
	}
	if _, err := ParsePacking("best"); err == nil || !strings.Contains(err.Error(), "best-fit") {
		t.Errorf("unknown packing: got %v", err)
	}
}
