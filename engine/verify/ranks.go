package verify

import (
	"context"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/llama"
)

// rankTolerance bounds how far llama.cpp's rank may be from the sigmoid of its own state times the head: only the order
// of a sum differs. Measured up to 1e-7.
const rankTolerance = 1e-4

// VerifyRanks has llama.cpp rank sequences with the classification head of one model, and compares what it says with
// the sigmoid of the state that it computes with another, the same but for the head, times the head's numbers. It gives
// the largest difference.
func VerifyRanks(ctx context.Context, plain, ranker string, head []float32, rows [][]int32, threads int) (worst float64,
	err error) {
	want := make([]float64, len(rows))
	err = withGives(plain, givesOf(llama.GivesStates, rows, threads), len(rows), func(c *llama.Context, i int) error {
		return c.EachState(ctx, rows[i], []int{len(rows[i]) - 1}, func(_ int, state []float32) error {
			sum := 0.0
			for j, h := range state {
				sum += float64(h) * float64(head[j])
			}
			want[i] = 1 / (1 + math.Exp(-sum))
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	err = withGives(ranker, givesOf(llama.GivesRanks, rows, threads), len(rows), func(c *llama.Context, i int) error {
		got, err := c.Ranks(ctx, rows[i])
		if err != nil {
			return err
		}
		if len(got) != 2 {
			return fmt.Errorf("verify %s: llama.cpp gives %d ranks, expected 2", ranker, len(got))
		}
		if d := math.Abs(float64(got[0]) - want[i]); d > worst || math.IsNaN(d) {
			worst = d
		}
		return nil
	})
	if err == nil && !(worst <= rankTolerance) {
		err = fmt.Errorf("verify %s: %w: its ranks differ by %.3g from the sigmoid of states times the head, expected "+
			"at most %.3g", ranker, ErrDisagree, worst, rankTolerance)
	}
	return worst, err
}

// givesOf are the options of a context that reads each of the rows by itself, and gives something of it.
func givesOf(what llama.Gives, rows [][]int32, threads int) llama.ContextOptions {
	longest := 1
	for _, row := range rows {
		longest = max(longest, len(row))
	}
	o := llama.VerifyContextOptions(longest, threads)
	o.Gives = what
	return o
}

// withGives opens a model with llama.cpp for a context, and calls use for each of n rows.
func withGives(path string, o llama.ContextOptions, n int, use func(c *llama.Context, i int) error) error {
	m, err := OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		return err
	}
	defer m.Close()
	c, err := m.NewContext(o)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range n {
		if err := use(c, i); err != nil {
			return err
		}
	}
	return nil
}
