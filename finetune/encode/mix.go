package encode

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/internal/count"
)

// Mixed says what is mixed in of other data than a run's own.
type Mixed struct {
	File     string  `json:"file"`
	Share    float64 `json:"share"`    // of the counted tokens of an epoch, as asked for
	Examples int     `json:"examples"` // of the file
	// Drawn is how many of them are trained on, Passes how often an epoch goes through these: above 1 where there are
	// too few for the share, below it where long ones are trained on in part.
	Drawn        int     `json:"drawn"`
	Passes       float64 `json:"passes"`
	Counted      int     `json:"counted_tokens"` // of an epoch
	Got          float64 `json:"share_drawn"`    // of the counted tokens of an epoch, as it is
	HeldExamples int     `json:"held_out"`       // measure what is forgotten; 0: none
}

// mostOf is the share of what was drawn from which on little was left out.
const mostOf = 0.9

// String says it for people.
func (m *Mixed) String() string {
	var b strings.Builder
	part := ""
	if m.Passes < mostOf {
		part = "parts of "
	}
	fmt.Fprintf(&b, "%s: %s%d of %s, %.4g %% of the counted tokens", m.File, part, m.Drawn,
		count.Of(m.Examples, "example"), 100*m.Got)
	if m.Passes > 1 {
		fmt.Fprintf(&b, ", gone through %.3g times an epoch", m.Passes)
	}
	if m.HeldExamples > 0 {
		fmt.Fprintf(&b, "; %d held out to measure what is forgotten", m.HeldExamples)
	}
	return b.String()
}

// Draw is the order in which examples that are mixed in are taken, by the seed.
func Draw(n int, seed uint64) []int32 { return permutation(n, seed, streamMix, 0) }

// Fill brings the counted tokens of the items from number first on as near as it can to counted: some are left out by
// the seed, or, where there are too few, all come again, each time in another order. It gives how often it went through
// them. There must be one.
func (d *Dataset) Fill(first, counted int, seed uint64) (passes float64) {
	items := slices.Clone(d.Items[first:])
	d.Items = slices.Delete(d.Items, first, len(d.Items))
	sizes := make([]int, len(items))
	have := 0
	for i := range items {
		sizes[i] = items[i].numTrained(d.need)
		d.Counts.Items--
		d.Counts.Tokens -= len(items[i].Tokens)
		d.Counts.Counted -= sizes[i]
	}
	for pass := uint64(0); ; pass++ {
		for n, i := range permutation(len(items), seed, streamMix, pass+1) {
			size := sizes[i]
			if have > 0 && have+size-counted > counted-have {
				return float64(pass) + float64(n)/float64(len(items))
			}
			d.Items = append(d.Items, items[i])
			d.Counts.Items++
			d.Counts.Tokens += len(items[i].Tokens)
			d.Counts.Counted += size
			have += size
		}
	}
}
