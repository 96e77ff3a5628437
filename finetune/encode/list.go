package encode

import (
	"cmp"
	"slices"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

// A Pair says that one answer of a tree is better than another. Answers are the root's children, from 1, each of which
// has tokens that count.
type Pair struct {
	Chosen, Rejected int
	Margin, Weight   float64 // as method.Sequence has them; Weight is 0 where the method does not weigh
}

// List makes trees of some answers to one prompt, each with the prompt before it, and of pairs of them. It is one tree,
// in which each answer is computed once, where that fits. A longer list becomes several, in each of which the pairs are
// between answers that are all there: then an answer stands in as many trees as it must to meet the others. Two answers
// that fit into no tree are one of their own, for whoever counts what is too long.
func List(src data.Source, answers []Item, pairs []Pair, lim Limits) ([]Item, error) {
	whole, err := Siblings(src, answers...)
	if err != nil {
		return nil, err
	}
	whole.Pairs = pairs
	if len(pairs) == 1 || lim.fits(&whole) {
		return []Item{whole}, nil
	}
	size := func(answer int) int { return whole.Segments[answer].Len }
	var out []Item
	for _, part := range parts(pairs, len(answers), size, lim.SeqLen-whole.Segments[0].Len) {
		var some []Item
		place := map[int]int{}
		for i, p := range part {
			for _, a := range []*int{&p.Chosen, &p.Rejected} {
				if place[*a] == 0 {
					some = append(some, answers[*a-1])
					place[*a] = len(some)
				}
				*a = place[*a]
			}
			part[i] = p
		}
		it, err := Siblings(src, some...)
		if err != nil {
			return nil, err
		}
		it.Pairs = part
		out = append(out, it)
	}
	return out, nil
}

// parts divides pairs of n answers so that the sizes of each part's answers are room together, or less, or it is one
// pair. Answers are taken in blocks of half a room, and the pairs of two blocks after each other: with m blocks there
// are some m²/2 parts, and an answer is in m−1 of them.
func parts(pairs []Pair, n int, size func(answer int) int, room int) (out [][]Pair) {
	block, last, sum := make([]int, n+1), 0, 0
	for a := 1; a <= n; a++ {
		if sum += size(a); sum > room/2 && sum > size(a) {
			last, sum = last+1, size(a)
		}
		block[a] = last
	}
	between := func(p Pair) [2]int {
		x, y := block[p.Chosen], block[p.Rejected]
		return [2]int{min(x, y), max(x, y)}
	}
	sorted := slices.SortedStableFunc(slices.Values(pairs), func(p, q Pair) int {
		x, y := between(p), between(q)
		return cmp.Or(x[0]-y[0], x[1]-y[1])
	})
	in, used := map[int]bool{}, 0 // the answers of the last part, and their size
	missing := func(of []Pair) (sum int) {
		seen := map[int]bool{}
		for _, p := range of {
			for _, a := range []int{p.Chosen, p.Rejected} {
				if !in[a] && !seen[a] {
					seen[a], sum = true, sum+size(a)
				}
			}
		}
		return sum
	}
	fit := func(of []Pair) {
		if len(out) == 0 || len(out[len(out)-1]) > 0 && used+missing(of) > room {
			in, used, out = map[int]bool{}, 0, append(out, nil)
		}
	}
	for first, end := 0, 0; first < len(sorted); first = end {
		for end < len(sorted) && between(sorted[end]) == between(sorted[first]) {
			end++
		}
		group := sorted[first:end]
		fit(group)
		for i := range group {
			fit(group[i : i+1])
			used += missing(group[i : i+1])
			in[group[i].Chosen], in[group[i].Rejected] = true, true
			out[len(out)-1] = append(out[len(out)-1], group[i])
		}
	}
	return out
}

// paired gives what a method over pairs sees: the answers of each pair, an answer as often as there are pairs of it.
func (m *Micro) paired(in *method.Inputs) *method.Inputs {
	out := *in
	out.LogP, out.Ref, out.Value, out.Sequences = nil, nil, nil, nil
	seen := make([]bool, len(m.Sequences))
	at := 0
	m.each(func(seq, child int, p *Pair) {
		s := m.Sequences[seq]
		from, end := s.Start, s.Start+s.Len
		s.Start, s.Child, s.Margin, s.Weight, s.Again = at, child, p.Margin, p.Weight, seen[seq]
		out.Sequences = append(out.Sequences, s)
		at, seen[seq] = at+s.Len, true
		if in.LogP != nil {
			out.LogP = append(out.LogP, in.LogP[from:end]...)
		}
		if in.Ref != nil {
			out.Ref = append(out.Ref, in.Ref[from:end]...)
		}
		if in.Value != nil {
			out.Value = append(out.Value, in.Value[seq])
		}
	})
	return &out
}

// unpaired sums up a method's derivatives by what paired gave, so that there is one by each number of the pass.
func (m *Micro) unpaired(r *method.Result) *method.Result {
	out, at, k := *r, 0, 0
	if r.Grad != nil {
		out.Grad = make([]float64, m.Counted)
	}
	if r.GradValue != nil {
		out.GradValue = make([]float64, len(m.Sequences))
	}
	m.each(func(seq, _ int, _ *Pair) {
		s := m.Sequences[seq]
		if r.Grad != nil {
			for t := range s.Len {
				out.Grad[s.Start+t] += r.Grad[at+t]
			}
		}
		if r.GradValue != nil {
			out.GradValue[seq] += r.GradValue[k]
		}
		at, k = at+s.Len, k+1
	})
	return &out
}

// each calls f with the place of each pair's chosen answer among the sequences, then of its rejected one.
func (m *Micro) each(f func(seq, child int, p *Pair)) {
	for i := range m.pairs {
		f(m.pairs[i].Chosen, 1, &m.pairs[i])
		f(m.pairs[i].Rejected, 2, &m.pairs[i])
	}
}
