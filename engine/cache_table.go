package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// lay gives the indices of a pass over the next tokens, whose keys and values get their room.
func (c *Cache) lay(next []Next) (indices, error) {
	x := indices{}
	tokens, draws := 0, 0
	seen := map[int]bool{}
	for _, n := range next {
		tokens, draws = tokens+len(n.Tokens), draws+len(n.Draw)
		if err := c.fits(&n); err != nil {
			return nil, err
		}
		if seen[n.Segment] {
			return nil, fmt.Errorf("segment %d is named twice", n.Segment)
		}
		seen[n.Segment] = true
	}
	if tokens == 0 || tokens > c.cfg.Read || draws > c.cfg.Draws {
		return nil, fmt.Errorf("%d tokens and %d draws, expected 1 to %d and up to %d", tokens, draws, c.cfg.Read,
			c.cfg.Draws)
	}
	t := &table{c: c, at: map[int]int32{}}
	runs := []int32{int32(len(next))}
	for _, n := range next {
		if err := c.grow(n.Segment, len(n.Tokens)); err != nil {
			return nil, err
		}
		from, before := c.segments[n.Segment].tokens, c.Len(n.Segment)
		seg := t.add(n.Segment, from+len(n.Tokens))
		behind, to := c.run(n.Segment)
		runs = append(runs, int32(len(n.Tokens)), behind, to)
		for i, id := range n.Tokens {
			x.add(arch.InputTokens, id)
			x.add(arch.InputPos, int32(before+i))
			t.tokens = append(t.tokens, seg, int32(from+i))
		}
		for _, u := range n.Draw {
			x.draw(u)
		}
	}
	if draws == 0 { // what is read for its keys and values alone draws one too, which nobody sees
		x.draw(0)
	}
	x[arch.InputTable] = t.numbers(c.tableLen(tokens))
	if c.slots > 0 {
		x[arch.InputRuns] = slices.Grow(runs, c.runsLen()-len(runs))[:c.runsLen()]
	}
	return x, nil
}

// run gives the slot that a segment's next tokens go on behind, -1 where they begin a text, and the one for what is to
// go on behind them. A segment has two, by turns: what a call reads it does not write, so that one that fails may be
// made again.
func (c *Cache) run(i int) (from, to int32) {
	from, to = -1, int32(2*i+c.segments[i].reads%2)
	for ; i >= 0 && from < 0; i = c.segments[i].parent {
		if n := c.segments[i].reads; n > 0 {
			from = int32(2*i + (n-1)%2)
		}
	}
	return from, to
}

// draw adds a token to be drawn behind the last one.
func (x indices) draw(u float64) {
	x.add(arch.InputSources, int32(len(x[arch.InputTokens])-1))
	bits := math.Float64bits(u) // an F64 among lists of i32, as it lies in memory
	x.add(arch.InputDrawn, int32(uint32(bits)), int32(uint32(bits>>32)))
}

// fits refuses what cannot be read.
func (c *Cache) fits(n *Next) error {
	vocab := c.s.model.net.NVocab
	if !c.has(n.Segment) || c.segments[n.Segment].children > 0 {
		return fmt.Errorf("segment %d cannot be read on: it is not there, or others follow it", n.Segment)
	}
	if len(n.Tokens) == 0 {
		return fmt.Errorf("nothing to read in segment %d", n.Segment)
	}
	for i, id := range n.Tokens {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token %d at index %d is outside the vocabulary of %d", id, i, vocab)
		}
	}
	for _, u := range n.Draw {
		if !(u >= 0 && u < 1) {
			return fmt.Errorf("a token is to be drawn by %g, expected 0 to below 1", u)
		}
	}
	if most := c.s.Positions(); c.Len(n.Segment)+len(n.Tokens) > most {
		return fmt.Errorf("a text of %d tokens is longer than the model's %d learned positions",
			c.Len(n.Segment)+len(n.Tokens), most)
	}
	return nil
}

// A table is the kernels' (attn_next.inc.h) in the making.
type table struct {
	c                      *Cache
	at                     map[int]int32 // of each segment: its index in the table
	tokens, segments, list []int32
}

// add lists a segment of so many tokens behind those before it.
func (t *table) add(i, tokens int) int32 {
	if i < 0 {
		return -1
	}
	if at, ok := t.at[i]; ok {
		return at
	}
	x := &t.c.segments[i]
	up := int32(-1)
	if x.parent >= 0 {
		up = t.add(x.parent, t.c.segments[x.parent].tokens)
	}
	t.at[i] = int32(len(t.segments) / 3)
	t.segments = append(t.segments, up, int32(tokens), int32(len(t.list)))
	t.list = append(t.list, x.pages...)
	return t.at[i]
}

// numbers gives the table with room behind it, so that its length follows from the number of tokens alone.
func (t *table) numbers(n int) []int32 {
	out := make([]int32, 0, n)
	out = append(out, int32(len(t.tokens)/2), int32(len(t.segments)/3), int32(len(t.list)))
	out = append(append(append(out, t.tokens...), t.segments...), t.list...)
	return out[:n]
}

// tableLen is the most numbers of a table of new tokens.
func (c *Cache) tableLen(tokens int) int { return 3 + 2*tokens + 3*c.cfg.Segments + int(c.pages) }

// runsLen is the most numbers of the table of what convolutions go on behind.
func (c *Cache) runsLen() int { return 1 + 3*c.cfg.Segments }

// next is what a stage's graph is built with.
func (s *Session) next(sh *shape) *arch.Next {
	if sh.pages == 0 {
		return nil
	}
	return &arch.Next{Pages: sh.pages, Table: sh.table, Slots: sh.slots, Runs: sh.runs,
		Kept: func(a graph.AttentionAttr) (int32, int64) {
			k := s.backend.Kept(a, s.cfg.Exact)
			return k.Type, k.Page
		}}
}

// largest is the pass of the most memory, planned.
func (c *Cache) largest() (*pass, error) {
	n := c.cfg.Read
	x := indices{arch.InputTokens: make([]int32, n), arch.InputPos: make([]int32, n),
		arch.InputTable: make([]int32, c.tableLen(n)), arch.InputSources: make([]int32, c.cfg.Draws),
		arch.InputDrawn: make([]int32, 2*c.cfg.Draws)}
	if c.slots > 0 {
		x[arch.InputRuns] = make([]int32, c.runsLen())
	}
	return c.s.plannedPass(x, Options{Want: []*Output{drawn}, cache: c})
}

// drawn and likeliest are what a Cache's passes give: of each draw the token, its log-probability and the entropy.
var drawn, likeliest = drawnOutput("drawn", false), drawnOutput("likeliest", true)

func drawnOutput(name string, greedy bool) *Output {
	return &Output{
		Name:  name,
		of:    &reading{what: "draw", names: []string{arch.InputSources}},
		width: func(*request) int64 { return 3 },
		build: func(t *top) graph.ID {
			return t.HeadDraw(t.rows(arch.InputSources), t.n, graph.HeadDrawAttr{Greedy: greedy, Scale: t.scale})
		},
		ends: true,
	}
}

// place is where a layer's keys and values lie, or what its convolution goes on behind.
func (c *Cache) place(il int) backend.Place { return backend.Place{Mem: c.mem[il]} }
