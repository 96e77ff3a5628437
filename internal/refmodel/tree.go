package refmodel

import "fmt"

// A tree says, for each token of a row, what it sees and where it stands.
type tree struct {
	sees [][]int // tokens that a token attends to, in their order
	pos  []int   // position: 0 for the first token of a root
	prev []int   // the token that predicts it, or -1 for the first of a root
}

// within gives what each token sees less than a window away; 0: all.
func (t *tree) within(window int) [][]int {
	if window == 0 {
		return t.sees
	}
	out := make([][]int, len(t.sees))
	for i, sees := range t.sees {
		for _, j := range sees {
			if max(t.pos[i]-t.pos[j], t.pos[j]-t.pos[i]) < window {
				out[i] = append(out[i], j)
			}
		}
	}
	return out
}

// newTree works the tree of a row out. With both, tokens see the later ones of their segment too.
func newTree(r Row, vocab int, both bool) (*tree, error) {
	t := &tree{}
	for is, s := range r.Segments {
		if s.Start != len(t.pos) || s.Len < 1 || s.Start+s.Len > len(r.Tokens) {
			return nil, fmt.Errorf("segment %d covers tokens [%d, %d), expected a start of %d and an end up to %d", is,
				s.Start, s.Start+s.Len, len(t.pos), len(r.Tokens))
		}
		if s.Parent < -1 || s.Parent >= is {
			return nil, fmt.Errorf("segment %d has parent %d, expected an earlier segment or -1", is, s.Parent)
		}
		prev := -1
		if s.Parent >= 0 {
			p := r.Segments[s.Parent]
			prev = p.Start + p.Len - 1
		}
		for i := s.Start; i < s.Start+s.Len; i++ {
			var seen []int
			pos := 0
			if prev >= 0 {
				seen = append(seen, t.sees[prev]...)
				pos = t.pos[prev] + 1
			}
			t.sees = append(t.sees, append(seen, i))
			t.pos = append(t.pos, pos)
			t.prev = append(t.prev, prev)
			prev = i
		}
		for i := s.Start; both && i < s.Start+s.Len; i++ {
			t.sees[i] = t.sees[prev]
		}
	}
	if len(t.pos) != len(r.Tokens) {
		return nil, fmt.Errorf("segments cover %d tokens of %d", len(t.pos), len(r.Tokens))
	}
	for i, id := range r.Tokens {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("token %d is %d, outside the vocabulary of %d", i, id, vocab)
		}
	}
	for _, c := range r.Counted {
		if c < 0 || int(c) >= len(r.Tokens) || t.prev[c] < 0 {
			return nil, fmt.Errorf("counted token %d has no predecessor in the row of %d tokens", c, len(r.Tokens))
		}
	}
	for _, v := range r.Valued {
		if v < 0 || int(v) >= len(r.Tokens) {
			return nil, fmt.Errorf("valued token %d is outside the row of %d tokens", v, len(r.Tokens))
		}
	}
	return t, nil
}
