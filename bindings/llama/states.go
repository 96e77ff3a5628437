package llama

import (
	"context"
	"fmt"
	"slices"
)

func (g Gives) String() string {
	if g < GivesLogits || g > GivesRanks {
		return fmt.Sprintf("Gives(%d)", int(g))
	}
	return [...]string{"logits", "states", "ranks"}[g]
}

// EachState forgets everything, reads tokens, and calls yield for each of the positions, ascending, in turn, with the
// state after the output norm at that token: NEmbd numbers that are valid during the call. The context must have been
// opened for states. An error of yield's ends it and is returned; yield must not use the context.
func (c *Context) EachState(ctx context.Context, tokens []int32, positions []int,
	yield func(position int, state []float32) error) error {
	if err := c.Truncate(0); err != nil {
		return err
	}
	return c.read(ctx, GivesStates, tokens, positions, yield)
}

// Ranks forgets everything, reads tokens, and returns what the model's classification head says of them. What that is,
// is the architecture's: of qwen3 the softmax of as many numbers as the head has rows, at the last token. The context
// must have been opened for ranks.
func (c *Context) Ranks(ctx context.Context, tokens []int32) (ranks []float32, err error) {
	if err := c.Truncate(0); err != nil {
		return nil, err
	}
	err = c.read(ctx, GivesRanks, tokens, []int{len(tokens) - 1}, func(_ int, row []float32) error {
		ranks = slices.Clone(row)
		return nil
	})
	return ranks, err
}
