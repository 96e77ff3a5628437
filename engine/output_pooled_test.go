package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
)

// TestPooled: the first and the last are states to the bit, a text's vector is the same as a row of its own and as a
// part of a tree or of a batch, to the bit.
func TestPooled(t *testing.T) {
	s, b := outputSession(t)
	all, n := b.Rows[0].Tokens, s.model.HParams().NEmbd
	tree := Row{Tokens: all, Segments: []Segment{{Len: 7, Parent: -1}, {Start: 7, Len: 2}, {Start: 9, Len: 3}},
		Pooled: []int32{0, 1, 2}}
	prompt := Row{Tokens: all[:7], Segments: tree.Segments[:1], Pooled: []int32{0}}
	first := Row{Tokens: all[:9], Segments: tree.Segments[:2], Pooled: []int32{1}}
	second := Row{Tokens: slices.Concat(all[:7], all[9:]), Pooled: []int32{1},
		Segments: []Segment{{Len: 7, Parent: -1}, {Start: 7, Len: 3}}}
	whole := Row{Tokens: all, Segments: []Segment{{Len: 12, Parent: -1}}, Pooled: []int32{0}}
	pooled := func(p arch.Pooling, rows ...Row) []float32 {
		t.Helper()
		out, err := s.Forward(t.Context(), &Batch{Rows: rows}, Options{Want: []*Output{Pooled}, Pooling: p})
		if err != nil {
			t.Fatal(err)
		}
		return out[Pooled]
	}
	whole.Counted = []int32{1, 7, 11}
	out, err := s.Forward(t.Context(), &Batch{Rows: []Row{whole}}, Options{Want: []*Output{hidden}})
	if err != nil {
		t.Fatal(err)
	}
	if got := pooled(arch.PoolCLS, whole); !slices.Equal(got, out[hidden][:n]) {
		t.Errorf("the first: %v, want %v", got, out[hidden][:n])
	}
	if got := pooled(arch.PoolLast, prompt); !slices.Equal(got, out[hidden][n:2*n]) {
		t.Errorf("the last: %v, want %v", got, out[hidden][n:2*n])
	}
	for _, p := range []arch.Pooling{arch.PoolMean, arch.PoolCLS, arch.PoolLast} {
		alone := slices.Concat(pooled(p, prompt), pooled(p, first), pooled(p, second))
		if got := pooled(p, tree); !slices.Equal(got, alone) {
			t.Errorf("%v: a tree gives other vectors than its texts apart", p)
		}
		if got := pooled(p, prompt, first, second); !slices.Equal(got, alone) {
			t.Errorf("%v: rows of a batch give other vectors than each by itself", p)
		}
	}
}

func TestPooledRefuses(t *testing.T) {
	s, b := outputSession(t)
	row := b.Rows[0]
	row.Segments = append([]Segment{{Parent: -1}}, Segment{Len: 12, Parent: -1})
	for name, c := range map[string]struct {
		pooled  []int32
		pooling arch.Pooling
		want    string
	}{
		"none":       {nil, arch.PoolMean, "a batch of 1 rows has no pooled segment"},
		"outside":    {[]int32{2}, arch.PoolMean, "pooled segment 2 after -1: expected ascending numbers below 2"},
		"negative":   {[]int32{-1}, arch.PoolMean, "pooled segment -1 after -1"},
		"twice":      {[]int32{1, 1}, arch.PoolMean, "pooled segment 1 after 1"},
		"empty":      {[]int32{0}, arch.PoolMean, "pooled segment 0 has no token, and none before it"},
		"unsaid":     {[]int32{1}, 0, "llama.pooling_type); say it: mean, cls, last"},
		"no vector":  {[]int32{1}, arch.PoolRank, "pooling rank gives no vector, expected mean, cls, last"},
		"no pooling": {[]int32{1}, 7, "pooling 7 gives no vector"},
	} {
		row.Pooled = c.pooled
		_, err := s.Forward(t.Context(), &Batch{Rows: []Row{row}}, Options{Want: []*Output{Pooled}, Pooling: c.pooling})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
