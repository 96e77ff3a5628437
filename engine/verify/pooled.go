package verify

import (
	"context"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
)

// Pooled has llama.cpp make one vector of each text [n_embd], not normalised: what our output Pooled gives of it as a
// row of its own. Pooling 0 is what the model's file says.
func Pooled(ctx context.Context, path string, texts [][]int32, p arch.Pooling, threads int) ([][]float32, error) {
	o := givesOf(llama.GivesPooled, texts, threads)
	o.Pooling = int(p)
	var out [][]float32
	err := withGives(path, o, len(texts), func(c *llama.Context, i int) error {
		v, err := c.Pooled(ctx, texts[i])
		out = append(out, v)
		return err
	})
	return out, err
}
