package engine

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
)

// indices are a batch's integers, as the kernels take them, by the names of the inputs they are bound to.
type indices map[string][]int32

func (x indices) add(name string, v ...int32) { x[name] = append(x[name], v...) }

// A laid row is one with its place in a batch.
type laid struct {
	*Row
	token, segment int32   // how many tokens and segments of the batch come before it
	before         []int32 // of each token, its predecessor in the tree, or -1
	pooling        arch.Pooling
}

// flatten checks a batch and lays its rows one after the other: one forest over all tokens, and what is wanted of it.
func (s *Session) flatten(b *Batch, opt *Options) (indices, error) {
	x := indices{arch.InputTree: {0}}
	pooling, err := s.pooling(opt)
	if err != nil {
		return x, err
	}
	var of []*reading // each once
	for _, o := range s.outputs(opt) {
		if !slices.Contains(of, o.of) {
			of = append(of, o.of)
		}
	}
	for i := range b.Rows {
		r, err := s.lay(x, &b.Rows[i])
		for _, f := range of {
			if err == nil {
				r.pooling = pooling
				err = f.row(x, r)
			}
		}
		if err != nil {
			return x, fmt.Errorf("engine: row %d: %w", i, err)
		}
	}
	for _, f := range of {
		if len(x[f.names[0]]) == 0 {
			return x, fmt.Errorf("engine: a batch of %d rows has no %s", len(b.Rows), f.what)
		}
	}
	return x, nil
}

// lay adds a row's tokens and segments.
func (s *Session) lay(x indices, row *Row) (*laid, error) {
	r := &laid{Row: row, token: int32(len(x[arch.InputTokens])), segment: x[arch.InputTree][0],
		before: make([]int32, len(row.Tokens))}
	for i, t := range row.Tokens {
		if t < 0 || int(t) >= s.model.net.NVocab {
			return nil, fmt.Errorf("token %d at index %d is outside the vocabulary of %d", t, i, s.model.net.NVocab)
		}
	}
	for i, t := range row.Named {
		if t < 0 || int(t) >= s.model.net.NVocab {
			return nil, fmt.Errorf("named token %d at index %d is outside the vocabulary of %d", t, i,
				s.model.net.NVocab)
		}
	}
	x.add(arch.InputTokens, row.Tokens...)
	if s.model.net.TokenTypes > 0 {
		x.add(arch.InputTypes, make([]int32, len(row.Tokens))...)
	}
	if row.Since != nil && len(row.Since) != len(row.Segments) {
		return nil, fmt.Errorf("%d segments, and of %d it is said where an invocation is", len(row.Segments),
			len(row.Since))
	}
	at, late := 0, s.late()
	ends := make([]int, len(row.Segments)) // position after each segment's last token
	for i, g := range row.Segments {
		if g.Start != at || g.Len < 0 || g.Start+g.Len > len(row.Tokens) || g.Parent >= i || g.Parent < -1 {
			return nil, fmt.Errorf("segment %d (start %d, length %d, parent %d) does not continue a tree of %d "+
				"tokens", i, g.Start, g.Len, g.Parent, len(row.Tokens))
		}
		pos, parent, prev := 0, int32(-1), int32(-1)
		if g.Parent >= 0 {
			pos, parent = ends[g.Parent], r.segment+int32(g.Parent)
			prev = lastToken(row.Segments, g.Parent)
		}
		for t := g.Start; t < g.Start+g.Len; t++ {
			r.before[t], prev = prev, int32(t)
			x.add(arch.InputPos, int32(pos))
			pos++
			if late {
				x.add(arch.InputActive, active(row, i, t))
			}
		}
		ends[i], at = pos, g.Start+g.Len
		if limit := s.Positions(); pos > limit {
			return nil, fmt.Errorf("a sequence of %d tokens is longer than the model's %d learned positions; use "+
				"shorter rows (--seq-len %d)", pos, limit, limit)
		}
		x.add(arch.InputTree, r.token+int32(g.Start), r.token+int32(at), parent)
		x[arch.InputTree][0]++
	}
	if at != len(row.Tokens) {
		return nil, fmt.Errorf("segments cover %d of %d tokens", at, len(row.Tokens))
	}
	return r, nil
}

// active is 1 where what waits for an invocation acts on token t, of segment i, else 0.
func active(row *Row, i, t int) int32 {
	if row.Since == nil || t-row.Segments[i].Start < row.Since[i] {
		return 0
	}
	return 1
}

// lastToken is the last token of segment i or, where it is empty, of its nearest ancestor with tokens; -1 if there is
// none.
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

// PlainRow is a sequence of its own with every token counted but the first, which nothing predicts, and a vector of all
// of it.
func PlainRow(tokens []int32) Row {
	row := Row{Tokens: tokens, Segments: []Segment{{Len: len(tokens), Parent: -1}}, Pooled: []int32{0}}
	for i := 1; i < len(tokens); i++ {
		row.Counted = append(row.Counted, int32(i))
	}
	return row
}
