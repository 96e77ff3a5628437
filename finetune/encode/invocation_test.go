package encode

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

func TestLastInvocation(t *testing.T) {
	for _, tc := range []struct {
		name           string
		tokens, waited []int32
		want           int
	}{
		{"the last of two", []int32{1, 2, 3, 1, 2, 4}, []int32{1, 2}, 3},
		{"at the end", []int32{3, 1, 2}, []int32{1, 2}, 1},
		{"all of it", []int32{1, 2}, []int32{1, 2}, 0},
		{"a part of it", []int32{2, 1}, []int32{1, 2}, -1},
		{"longer than the text", []int32{2}, []int32{1, 2}, -1},
		{"behind a false beginning", []int32{1, 1, 2, 2}, []int32{1, 2}, 1},
		{"overlapping itself", []int32{1, 1, 1}, []int32{1, 1}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := LastInvocation(tc.tokens, tc.waited); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// TestInvoke: an adapter acts from the last invocation before the answer on, and what counts before it counts no more.
func TestInvoke(t *testing.T) {
	const no, yes = false, true
	one := func(tokens []int32, counted []bool) Item { return single(src, tokens, counted) }
	tree := func(root []int32, answers ...[]int32) Item {
		var children []Child
		for _, a := range answers {
			counted := make([]bool, len(a))
			counted[len(a)-1] = true
			children = append(children, Child{a, counted})
		}
		it, err := Tree(src, root, children...)
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	for _, tc := range []struct {
		name    string
		it      Item
		since   []int // nil: not found
		counted int
	}{
		{"in the prompt", one([]int32{5, 1, 2, 6, 7}, []bool{no, no, no, yes, yes}), []int{1}, 2},
		{"the last of two", one([]int32{1, 2, 5, 1, 2, 7}, []bool{no, no, no, no, no, yes}), []int{3}, 1},
		{"in the answer only", one([]int32{5, 6, 1, 2, 7}, []bool{no, no, yes, yes, yes}), nil, 3},
		{"across its border", one([]int32{5, 6, 1, 2, 7}, []bool{no, no, no, yes, yes}), nil, 2},
		{"an earlier answer", one([]int32{1, 2, 6, 6, 1, 2, 7}, []bool{no, no, yes, yes, no, no, yes}), []int{4}, 1},
		{"an invocation in an earlier answer alone", one([]int32{5, 1, 2, 6, 7}, []bool{no, yes, yes, no, yes}),
			[]int{1}, 3},
		{"a pair", tree([]int32{5, 1, 2, 6}, []int32{7, 8}, []int32{8}), []int{1, 0, 0}, 2},
		{"a pair without", tree([]int32{5, 1, 6}, []int32{7, 8}, []int32{8}), nil, 2},
		{"a pair whose answers begin with it", tree([]int32{5}, []int32{1, 2, 8}, []int32{6, 1, 2, 7}),
			[]int{1, 0, 1}, 2},
		{"a pair of which one has it", tree([]int32{5}, []int32{1, 2, 8}, []int32{6, 7}), nil, 2},
		{"across a pair's border", tree([]int32{5, 1}, []int32{2, 8}, []int32{2, 7}), []int{1, 0, 0}, 2},
		{"across a pair's border in one", tree([]int32{5, 1, 2, 1}, []int32{2, 8}, []int32{6, 7}), nil, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if ok := tc.it.invoke([]int32{1, 2}); ok != (tc.since != nil) {
				t.Fatalf("found: %v, want %v", ok, tc.since != nil)
			}
			if !slices.Equal(tc.it.Since, tc.since) || tc.it.NumCounted() != tc.counted {
				t.Errorf("since %v with %d counted tokens, want %v with %d", tc.it.Since, tc.it.NumCounted(), tc.since,
					tc.counted)
			}
		})
	}
}

// TestInvokedRows: every segment of a row says where an adapter begins to act, and an example without an invocation is
// refused unless it may lack it.
func TestInvokedRows(t *testing.T) {
	of := func(mayLack bool) *Dataset {
		d, err := NewDataset(method.Answers, Limits{SeqLen: 16})
		if err != nil {
			t.Fatal(err)
		}
		d.Invoke([]int32{1, 2}, mayLack)
		d.Add(single(src, []int32{5, 1, 2, 6}, []bool{false, false, false, true}))
		d.Add(single(data.Source{File: "x.jsonl", Line: 7}, []int32{5, 1, 6}, []bool{false, false, true}))
		return d
	}
	err := of(false).Check()
	if err == nil || !strings.Contains(err.Error(), "x.jsonl:7: the invocation (--alora) is not among the tokens") {
		t.Errorf("got error %v, want one that names the example", err)
	}
	d := of(true)
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	if n, first := d.Uninvoked(); n != 1 || first.Line != 7 {
		t.Errorf("%d without an invocation, the first %v", n, first)
	}
	l, err := NewLoader(d, LoadOptions{Window: 16, Batch: 1, Packing: Sequential})
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := l.Next(Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	row := m.Batch.Rows[0]
	want := []engine.Segment{{Start: 0, Len: 4, Parent: -1}, {Start: 4, Len: 3, Parent: -1}}
	if !slices.Equal(row.Segments, want) || !slices.Equal(row.Since, []int{1, 3}) {
		t.Errorf("segments %v since %v, want %v since [1 3]", row.Segments, row.Since, want)
	}
	plain, err := NewDataset(method.Answers, Limits{SeqLen: 16})
	if err != nil {
		t.Fatal(err)
	}
	plain.Items = slices.Clone(d.Items)
	for i := range plain.Items {
		plain.Items[i].Since = nil
	}
	if plain.Fingerprint() == d.Fingerprint() {
		t.Error("the rows' fingerprint does not tell where an adapter acts")
	}
}
