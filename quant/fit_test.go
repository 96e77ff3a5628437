package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// best is the least cost within a budget, by trying everything.
func best(tensors [][]Alternative, budget int64) float64 {
	if budget < 0 {
		return math.Inf(1)
	}
	if len(tensors) == 0 {
		return 0
	}
	least := math.Inf(1)
	for _, a := range tensors[0] {
		least = min(least, a.Cost+best(tensors[1:], budget-a.Bytes))
	}
	return least
}

// TestFit: what is chosen fits, and costs hardly more than the best choice.
func TestFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	excess, n := 0.0, 0.0
	for range 200 {
		tensors := make([][]Alternative, 5)
		smallest, largest := int64(0), int64(0)
		for i := range tensors {
			size, matters := int64(10+rng.IntN(100)), math.Exp(2*rng.NormFloat64())
			low, high := int64(math.MaxInt64), int64(0)
			for bits := int64(2); bits < 8; bits++ {
				a := Alternative{Bytes: bits * size}
				a.Cost = matters * math.Pow(4, -float64(bits)) * math.Exp(rng.NormFloat64())
				tensors[i] = append(tensors[i], a)
				low, high = min(low, a.Bytes), max(high, a.Bytes)
			}
			rng.Shuffle(len(tensors[i]), func(a, b int) { tensors[i][a], tensors[i][b] = tensors[i][b], tensors[i][a] })
			smallest, largest = smallest+low, largest+high
		}
		budget := smallest + rng.Int64N(largest-smallest)
		chosen, err := Fit(tensors, budget)
		if err != nil {
			t.Fatal(err)
		}
		bytes, cost := int64(0), 0.0
		for i, k := range chosen {
			bytes, cost = bytes+tensors[i][k].Bytes, cost+tensors[i][k].Cost
		}
		if bytes > budget {
			t.Fatalf("%d bytes chosen, with a budget of %d", bytes, budget)
		}
		excess += cost/best(tensors, budget) - 1
		n++
		if _, err := Fit(tensors, smallest-1); !errors.Is(err, ErrBudget) {
			t.Fatalf("a budget below the smallest types: got %v", err)
		}
	}
	// Measured: 3.7 %. With hundreds of tensors, of which one step is wrong at most, it is next to nothing.
	if excess/n > 0.1 {
		t.Errorf("choices cost %.1f %% more than the best in the mean, want at most 10 %%", 100*excess/n)
	}
}

// TestFitFills: what no step of the best prices fits is spent on what does.
func TestFitFills(t *testing.T) {
	a := []Alternative{{Bytes: 10, Cost: 10}, {Bytes: 14, Cost: 9}, {Bytes: 20, Cost: 1}}
	for budget, want := range map[int64]int{10: 0, 13: 0, 14: 1, 19: 1, 20: 2} {
		if got, err := Fit([][]Alternative{a}, budget); err != nil || got[0] != want {
			t.Errorf("budget %d: got %v, %v, want alternative %d", budget, got, err, want)
		}
	}
}
