package engine

import "fmt"

// flatten checks a batch and lays its rows one after the other: one forest over all tokens.
func (s *Session) flatten(b *Batch) (indices, error) {
	x := indices{tree: []int32{0}}
	for r := range b.Rows {
		if err := s.flattenRow(&x, &b.Rows[r]); err != nil {
			return x, fmt.Errorf("engine: row %d: %w", r, err)
		}
	}
	if len(x.targets) == 0 {
		return x, fmt.Errorf("engine: a batch of %d rows has no counted token", len(b.Rows))
	}
	return x, nil
}

func (s *Session) flattenRow(x *indices, row *Row) error {
	base, seg0 := int32(len(x.tokens)), x.tree[0]
	for i, t := range row.Tokens {
		if t < 0 || int(t) >= s.model.net.NVocab {
			return fmt.Errorf("token %d at index %d is outside the vocabulary of %d", t, i, s.model.net.NVocab)
		}
	}
	x.tokens = append(x.tokens, row.Tokens...)
	before := make([]int32, len(row.Tokens)) // of each token, its predecessor in the tree, or -1
	at := 0
	ends := make([]int, len(row.Segments)) // position after each segment's last token
	for i, g := range row.Segments {
		if g.Start != at || g.Len < 0 || g.Start+g.Len > len(row.Tokens) || g.Parent >= i || g.Parent < -1 {
			return fmt.Errorf("segment %d (start %d, length %d, parent %d) does not continue a tree of %d tokens", i, g.Start, g.Len, g.Parent, len(row.Tokens))
		}
		pos, parent, prev := 0, int32(-1), int32(-1)
		if g.Parent >= 0 {
			pos, parent = ends[g.Parent], seg0+int32(g.Parent)
			prev = lastToken(row.Segments, g.Parent)
		}
		for t := g.Start; t < g.Start+g.Len; t++ {
			before[t], prev = prev, int32(t)
			x.pos = append(x.pos, int32(pos))
			pos++
		}
		ends[i], at = pos, g.Start+g.Len
		if limit := s.Positions(); pos > limit {
			return fmt.Errorf("a sequence of %d tokens is longer than the model's %d learned positions; use shorter rows (--seq-len %d)", pos, limit, limit)
		}
		x.tree = append(x.tree, base+int32(g.Start), base+int32(at), parent)
		x.tree[0]++
	}
	if at != len(row.Tokens) {
		return fmt.Errorf("segments cover %d of %d tokens", at, len(row.Tokens))
	}
	return x.count(row, before, base)
}

// count adds the row's counted tokens.
func (x *indices) count(row *Row, before []int32, base int32) error {
	last := int32(-1)
	for _, t := range row.Counted {
		if t <= last || int(t) >= len(row.Tokens) {
			return fmt.Errorf("counted token %d after %d: expected ascending indices below %d", t, last, len(row.Tokens))
		}
		if before[t] < 0 {
			return fmt.Errorf("counted token %d begins a root segment, so nothing predicts it", t)
		}
		x.sources = append(x.sources, base+before[t])
		x.targets = append(x.targets, row.Tokens[t])
		last = t
	}
	return nil
}

// lastToken is the last token of segment i or, where it is empty, of its nearest ancestor with tokens; -1 if there is none.
func lastToken(segs []Segment, i int) int32 {
	for ; i >= 0; i = segs[i].Parent {
		if segs[i].Len > 0 {
			return int32(segs[i].Start + segs[i].Len - 1)
		}
	}
	return -1
}

// Positions is the longest sequence the model can place: a table's length where positions are learned.
func (s *Session) Positions() int {
	if n := s.model.net.Positions; n > 0 {
		return n
	}
	return 1 << 24
}

// PlainRow is a sequence of its own with every token counted but the first, which nothing predicts.
func PlainRow(tokens []int32) Row {
	row := Row{Tokens: tokens, Segments: []Segment{{Len: len(tokens), Parent: -1}}}
	for i := 1; i < len(tokens); i++ {
		row.Counted = append(row.Counted, int32(i))
	}
	return row
}
