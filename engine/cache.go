package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A CacheConfig says how much a Cache has room for.
type CacheConfig struct {
	Segments int // kept at a time, 1 or more
	Tokens   int // that they have together, 1 or more
	Read     int // tokens read in one call, at most, 1 or more
	Draws    int // tokens drawn in one call, at most, 1 or more
}

// A Cache keeps the keys and values of texts that are written token by token, and what convolutions go on behind, as a
// tree of segments: a prompt's are shared by its answers. What it says of a token is what Forward says of it in a row
// of the same tree, to the bit, since it runs the same layers on the same kernels; attention and convolutions alone are
// others (graph.AttentionNext, graph.ConvNext), which add up in the same order. It holds what was computed under the
// parameters of the time: after an update, texts are begun anew.
//
// It is used by one goroutine at a time.
type Cache struct {
	s        *Session
	cfg      CacheConfig
	kept     []keeping // of each layer
	mem      []backend.Mem
	pages    int64
	slots    int64 // of what convolutions go on behind; 0: there are none
	page     int   // tokens of a page
	taken    []bool
	segments []cached
}

// A keeping says what a layer keeps of texts: rows of numbers, each of a page of tokens or (tokens 0) of a slot.
type keeping struct {
	typ    int32
	width  int64
	tokens int64
}

// A cached segment is a run of tokens behind its parent's.
type cached struct {
	live     bool
	parent   int // or -1
	children int
	tokens   int
	reads    int // calls that read some of them
	pages    []int32
	dropped  bool // nobody reads on; it is there for its children
}

// NewCache takes memory for a Cache, which is resident only where it has been used. Close it before the session.
func (s *Session) NewCache(cfg CacheConfig) (*Cache, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("engine: cache: session %w", ErrClosed)
	}
	c, err := s.planCache(cfg)
	if err != nil {
		return nil, err
	}
	for _, k := range c.kept {
		m, err := s.backend.Alloc(c.layerBytes(k))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("engine: memory for the keys and values of %d tokens: %w; write fewer "+
				"answers at a time, or shorter ones (--max-completion-length)", cfg.Tokens, err), c.close())
		}
		c.mem = append(c.mem, m)
	}
	return c, nil
}

// planCache is a Cache without memory.
func (s *Session) planCache(cfg CacheConfig) (*Cache, error) {
	if cfg.Segments < 1 || cfg.Tokens < 1 || cfg.Read < 1 || cfg.Draws < 1 {
		return nil, fmt.Errorf("engine: cache: %+v, expected 1 or more of each", cfg)
	}
	if s.late() {
		return nil, errors.New("engine: cache: an adapter of the session waits for an invocation, and texts that are " +
			"written token by token do not say where one is")
	}
	c := &Cache{s: s, cfg: cfg, segments: make([]cached, cfg.Segments)}
	of := map[any]keeping{}
	for il := range s.model.net.NLayer {
		k, ok := of[s.kind(il)]
		if !ok {
			var err error
			if k, err = s.keptOf(il); err != nil {
				return nil, err
			}
			of[s.kind(il)] = k
		}
		switch {
		case k.tokens == 0:
			c.slots = 2 * int64(cfg.Segments)
		case c.page == 0:
			c.page = int(k.tokens)
		case int(k.tokens) != c.page:
			return nil, fmt.Errorf("engine: cache: layer %d keeps pages of %d tokens and those before it of %d, for "+
				"its heads are of another length; such a model cannot be written with token by token", il, k.tokens,
				c.page)
		}
		c.kept = append(c.kept, k)
	}
	c.page = max(c.page, 1)
	// A segment may leave most of its last page empty.
	c.pages = int64((cfg.Tokens+c.page-1)/c.page + cfg.Segments)
	c.taken = make([]bool, c.pages)
	return c, nil
}

// keptOf says what a layer keeps of texts.
func (s *Session) keptOf(il int) (k keeping, err error) {
	b := s.builder(il, shape{tokens: 1, segments: 1})
	b.Next = &arch.Next{Pages: 1, Table: 1, Slots: 1, Runs: 1, Kept: func(a graph.AttentionAttr) (int32, int64) {
		x := s.backend.Kept(a, s.cfg.Exact)
		k.tokens = x.Tokens
		return x.Type, x.Page
	}}
	s.layer(il).Build(b, b.Input())
	if err = b.G.Err(); err != nil {
		return k, fmt.Errorf("engine: layer %d cannot be computed token by token: %w", il, err)
	}
	id := b.G.Find(graph.State, arch.StateKept)
	if id == graph.None {
		return k, fmt.Errorf("engine: layer %d keeps nothing of earlier tokens", il)
	}
	v := b.G.Value(id)
	k.typ, k.width = v.Type, v.Shape[0]
	return k, nil
}

func (c *Cache) layerBytes(k keeping) int64 {
	rows := c.pages
	if k.tokens == 0 {
		rows = c.slots
	}
	return rows * k.width * graph.TypeBytes(k.typ)
}

// Bytes is the memory of what layers keep.
func (c *Cache) Bytes() (n int64) {
	for _, k := range c.kept {
		n += backend.Aligned(c.layerBytes(k))
	}
	return n
}

// Close gives the memory back. It may be called again, and on nil.
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.close()
}

func (c *Cache) close() error {
	for _, m := range c.mem {
		c.s.backend.Free(m)
	}
	c.mem, c.segments = nil, nil
	return nil
}

// Clear forgets all segments.
func (c *Cache) Clear() {
	clear(c.segments)
	clear(c.taken)
}

// Begin begins an empty segment behind all tokens of another, or, with parent -1, a text of its own.
func (c *Cache) Begin(parent int) (int, error) {
	if parent != -1 && !c.has(parent) {
		return 0, fmt.Errorf("engine: cache: no segment %d to begin another behind", parent)
	}
	i := slices.IndexFunc(c.segments, func(x cached) bool { return !x.live })
	if i < 0 {
		return 0, fmt.Errorf("engine: cache: all %d segments are in use", len(c.segments))
	}
	if c.segments[i] = (cached{live: true, parent: parent}); parent >= 0 {
		c.segments[parent].children++
	}
	return i, nil
}

func (c *Cache) has(i int) bool {
	return i >= 0 && i < len(c.segments) && c.segments[i].live && !c.segments[i].dropped
}

// Drop says that a segment is read no further. Its room is free once those behind it are dropped too.
func (c *Cache) Drop(i int) error {
	if !c.has(i) {
		return fmt.Errorf("engine: cache: no segment %d to drop", i)
	}
	c.segments[i].dropped = true
	for i >= 0 && c.segments[i].dropped && c.segments[i].children == 0 {
		up := c.segments[i].parent
		for _, p := range c.segments[i].pages {
			c.taken[p] = false
		}
		c.segments[i] = cached{}
		if up >= 0 {
			c.segments[up].children--
		}
		i = up
	}
	return nil
}

// Len is the number of tokens of a segment with all before it.
func (c *Cache) Len(i int) (n int) {
	for ; i >= 0; i = c.segments[i].parent {
		n += c.segments[i].tokens
	}
	return n
}

// grow gives a segment pages for n tokens more.
func (c *Cache) grow(i, n int) error {
	x := &c.segments[i]
	for p := 0; len(x.pages)*c.page < x.tokens+n; p++ {
		if p == len(c.taken) {
			return fmt.Errorf("engine: cache: no room for %d tokens more; it has room for %d", n, c.cfg.Tokens)
		}
		if !c.taken[p] {
			c.taken[p], x.pages = true, append(x.pages, int32(p))
		}
	}
	return nil
}

// Next are tokens to read at the end of a segment, and what to draw tokens by that follow the last of them.
type Next struct {
	Segment int
	Tokens  []int32
	// Draw has for each token to be drawn a number from 0 to below 1: the token is drawn at which the cumulated
	// probability passes it.
	Draw []float64
}

// A Drawing says how tokens are drawn.
type Drawing struct {
	// Temp divides the logits; 0 draws the most likely token, with certainty.
	Temp  float64
	Apply Choice // Options'
}

// A Drawn token has its log-probability and the entropy of the distribution that it was drawn from, in nats: those that
// Forward gives at that temperature, to the bit.
type Drawn struct {
	Token         int32
	LogP, Entropy float32
}

// ErrNoNumber is wrapped by the error of Read where the model's logits are no numbers.
var ErrNoNumber = errors.New("the logits are no numbers")

// Read computes tokens of several segments, at most one Next of each, and draws what they ask for, in their order. When
// it fails, the segments are what they were.
func (c *Cache) Read(ctx context.Context, next []Next, d Drawing) ([]Drawn, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || c.mem == nil {
		return nil, fmt.Errorf("engine: read: cache %w", ErrClosed)
	}
	x, err := c.lay(next)
	if err != nil {
		return nil, fmt.Errorf("engine: read: %w", err)
	}
	s.forwarded = nil
	opt := Options{Want: []*Output{drawn}, Apply: d.Apply, Temp: d.Temp, cache: c}
	if d.Temp == 0 {
		opt.Want = []*Output{likeliest}
	}
	p, err := s.plannedPass(x, opt)
	if err == nil {
		err = p.allocate()
	}
	if err == nil {
		err = s.model.intact(p.forward(ctx))
	}
	if err != nil {
		return nil, err
	}
	out, err := p.outputs()
	if err != nil {
		return nil, err
	}
	var list []Drawn
	for y := range slices.Chunk(out[opt.Want[0]], 3) {
		if y[0] != y[0] || y[1]-y[1] != 0 {
			return nil, fmt.Errorf("engine: read: %w", ErrNoNumber)
		}
		list = append(list, Drawn{int32(y[0]), y[1], y[2]})
	}
	draws := 0
	for _, n := range next {
		x := &c.segments[n.Segment]
		x.tokens, x.reads = x.tokens+len(n.Tokens), x.reads+1
		draws += len(n.Draw)
	}
	return list[:draws], nil
}
