package quant

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/gguf"
)

// An Alternative is a type that a tensor could have.
type Alternative struct {
	Type  gguf.Type
	Bytes int64
	// Cost is what it does to predictions: costs of different tensors add up.
	Cost float64
}

// ErrBudget is matched by the refusal of a size that nothing fits in.
var ErrBudget = fmt.Errorf("too small")

// Fit chooses an alternative for each tensor, by its index, so that all together take at most budget bytes and the
// sum of costs is small: the steps to a larger type that save most for each byte come first (the Lagrangian relaxation
// of the multiple-choice knapsack problem, whose answer is at most one step from the best: Sinha and Zoltners 1979),
// then whatever still fits. A budget below the smallest alternatives is an error that matches ErrBudget.
func Fit(tensors [][]Alternative, budget int64) ([]int, error) {
	chosen, left := make([]int, len(tensors)), budget
	var steps []step
	for i, all := range tensors {
		hull := hullOf(all)
		chosen[i] = hull[0]
		left -= all[hull[0]].Bytes
		for k := 1; k < len(hull); k++ {
			a, b := all[hull[k-1]], all[hull[k]]
			steps = append(steps, step{tensor: i, from: hull[k-1], to: hull[k], bytes: b.Bytes - a.Bytes,
				saves: a.Cost - b.Cost})
		}
	}
	if left < 0 {
		return nil, fmt.Errorf("%d bytes of tensors are %w: the smallest types take %d", budget, ErrBudget, budget-left)
	}
	slices.SortStableFunc(steps, func(a, b step) int {
		return cmp.Compare(b.saves/float64(b.bytes), a.saves/float64(a.bytes))
	})
	for _, s := range steps {
		if s.bytes <= left && chosen[s.tensor] == s.from {
			chosen[s.tensor] = s.to
			left -= s.bytes
		}
	}
	for fill(tensors, chosen, &left) {
	}
	return chosen, nil
}

// A step is from one alternative of a tensor to a larger one.
type step struct {
	tensor, from, to int
	bytes            int64
	saves            float64
}

// fill takes the step, of any tensor to any alternative, that saves most in what is left of the budget.
func fill(tensors [][]Alternative, chosen []int, left *int64) bool {
	var best step
	for i, all := range tensors {
		is := all[chosen[i]]
		for k, a := range all {
			if a.Bytes-is.Bytes <= *left && is.Cost-a.Cost > best.saves {
				best = step{tensor: i, to: k, bytes: a.Bytes - is.Bytes, saves: is.Cost - a.Cost}
			}
		}
	}
	if best.saves <= 0 {
		return false
	}
	chosen[best.tensor] = best.to
	*left -= best.bytes
	return true
}

// hullOf gives the alternatives that are best at some price of a byte, from the smallest on: each saves less for a byte
// than the one before.
func hullOf(all []Alternative) []int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(all[a].Bytes, all[b].Bytes), cmp.Compare(all[a].Cost, all[b].Cost))
	})
	var hull []int
	for _, i := range order {
		if len(hull) > 0 && all[i].Cost >= all[hull[len(hull)-1]].Cost {
			continue
		}
		for len(hull) > 1 {
			a, b := all[hull[len(hull)-2]], all[hull[len(hull)-1]]
			if (a.Cost-b.Cost)*float64(all[i].Bytes-a.Bytes) > (a.Cost-all[i].Cost)*float64(b.Bytes-a.Bytes) {
				break
			}
			hull = hull[:len(hull)-1]
		}
		hull = append(hull, i)
	}
	return hull
}
