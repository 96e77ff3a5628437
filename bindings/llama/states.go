package llama

import (
	"context"
	"fmt"
	"slices"
)

func (g Gives) String() string {
	if g < GivesLogits || g > GivesPooled {
		return fmt.Sprintf("Gives(%d)", int(g))
	}
	return [...]string{"logits", "states", "ranks", "pooled vectors"}[g]
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
	return c.ofAll(ctx, GivesRanks, tokens)
}

// Pooled forgets everything, reads tokens, and returns the one vector that the context makes of their states, NEmbd
// numbers, not normalised. The context must have been opened for pooled vectors.
func (c *Context) Pooled(ctx context.Context, tokens []int32) ([]float32, error) {
	return c.ofAll(ctx, GivesPooled, tokens)
}

// ofAll reads tokens from the beginning and gives what is said of all of them.
func (c *Context) ofAll(ctx context.Context, what Gives, tokens []int32) (row []float32, err error) {
	if err := c.Truncate(0); err != nil {
		return nil, err
	}
	err = c.read(ctx, what, tokens, []int{len(tokens) - 1}, func(_ int, r []float32) error {
		row = slices.Clone(r)
		return nil
	})
	return row, err
}
