package generate

import (
	"context"
	"math"

	"github.com/ggtune/ggtune/finetune/encode"
)

// never is the place of an invocation that there is not: no adapter acts.
const never = math.MaxInt

// Invoked says whether the adapter in use acts on a prompt; one that waits for an invocation does nothing without it.
func (g *Generator) Invoked(prompt []int32) bool { return g.begins(prompt) != never }

// begins is the first token of a prompt that the adapter in use is applied to.
func (g *Generator) begins(prompt []int32) int {
	waits := g.heldInvocation
	if g.held == nil && g.inUse != Base {
		waits = g.adapters[g.inUse].invocation
	}
	if len(waits) == 0 {
		return 0
	}
	if at := encode.LastInvocation(prompt, waits); at >= 0 {
		return at
	}
	return never
}

// prepare has the context hold a beginning of a prompt, and gives its length: of what it has read that which is the
// same, and what comes before an invocation, read with no adapter applied. The rest, at least one token, is to be read
// as the context is left.
func (g *Generator) prepare(ctx context.Context, prompt []int32) (kept int, err error) {
	since := g.begins(prompt)
	for kept < len(g.read) && kept < len(prompt)-1 && g.read[kept] == prompt[kept] {
		kept++
	}
	if since != g.since { // what lies between was computed with the adapter, or without, and is to be otherwise
		kept = min(kept, since, g.since)
	}
	if err := g.context.Truncate(kept); err != nil {
		return 0, err
	}
	kept = min(kept, g.context.Len())
	g.read, g.since = g.read[:kept], since
	if n := min(since, len(prompt)-1); kept < n {
		if err := g.context.ApplyAdapters(false); err != nil {
			return 0, err
		}
		if err := g.context.Decode(ctx, prompt[kept:n]); err != nil {
			return 0, err
		}
		kept = n
		g.read = append(g.read[:0:0], prompt[:n]...)
	}
	return kept, g.context.ApplyAdapters(since != never)
}
