package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend/distant"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// cacheSpec is a small model with room for the texts that are written here.
func cacheSpec(name string, typ gguf.Type) synth.Spec {
	spec := synth.Tiny(name, typ)
	spec.Ctx = 512
	return spec
}

// A written text is an answer with what was said of its tokens when they were drawn.
type written struct {
	tokens        []int32
	logp, entropy []float32
	seg           int
}

// write answers a prompt: answers of the lengths given, begun as others end so that two are under way, the prompt read
// in pieces. Each has a token drawn behind the prompt.
func write(t *testing.T, c *engine.Cache, prompt []int32, lengths []int, d engine.Drawing) []written {
	t.Helper()
	r := rand.New(rand.NewPCG(21, 22))
	read := func(next ...engine.Next) []engine.Drawn {
		t.Helper()
		out, err := c.Read(t.Context(), next, d)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	begin := func(parent int) int {
		t.Helper()
		seg, err := c.Begin(parent)
		if err != nil {
			t.Fatal(err)
		}
		return seg
	}
	first := make([]float64, len(lengths))
	for i := range first {
		first[i] = r.Float64()
	}
	root, cut := begin(-1), len(prompt)*2/3
	if got := read(engine.Next{Segment: root, Tokens: prompt[:cut]}); len(got) != 0 {
		t.Fatalf("%d tokens drawn, and none was asked for", len(got))
	}
	behind := read(engine.Next{Segment: root, Tokens: prompt[cut:], Draw: first})
	texts := make([]written, len(lengths))
	take := func(i int, x engine.Drawn) {
		w := &texts[i]
		w.tokens, w.logp, w.entropy = append(w.tokens, x.Token), append(w.logp, x.LogP), append(w.entropy, x.Entropy)
	}
	for begun, under := 0, []int(nil); begun < len(lengths) || len(under) > 0; {
		for ; begun < len(lengths) && len(under) < 2; begun++ {
			texts[begun].seg, under = begin(root), append(under, begun)
			take(begun, behind[begun])
		}
		var next []engine.Next
		var of []int
		for _, i := range under {
			if w := &texts[i]; len(w.tokens) == lengths[i] {
				if err := c.Drop(w.seg); err != nil {
					t.Fatal(err)
				}
				continue
			}
			of = append(of, i)
			w := &texts[i]
			next = append(next, engine.Next{Segment: w.seg, Tokens: w.tokens[len(w.tokens)-1:],
				Draw: []float64{r.Float64()}})
		}
		if under = of; len(next) == 0 {
			continue
		}
		for k, x := range read(next...) {
			take(of[k], x)
		}
	}
	if err := c.Drop(root); err != nil {
		t.Fatal(err)
	}
	return texts
}

// holds compares what was said of texts with a forward pass over their tree, bit by bit.
func holds(t *testing.T, s *engine.Session, prompt []int32, texts []written, d engine.Drawing) {
	t.Helper()
	row := engine.Row{Tokens: append([]int32{}, prompt...), Segments: []engine.Segment{{Len: len(prompt), Parent: -1}}}
	for _, w := range texts {
		row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: len(w.tokens)})
		for _, id := range w.tokens {
			row.Counted, row.Tokens = append(row.Counted, int32(len(row.Tokens))), append(row.Tokens, id)
		}
	}
	b := &engine.Batch{Rows: []engine.Row{row}}
	for _, want := range [][]*engine.Output{{engine.LogP, engine.Entropy}, {engine.LogP}} {
		out, err := s.Forward(t.Context(), b, engine.Options{Want: want, Temp: d.Temp, Apply: d.Apply,
			Backward: len(want) == 1 && len(s.Params()) > 0 && !d.Apply.None()})
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for i, w := range texts {
			for k := range w.tokens {
				if got, want := w.logp[k], out[engine.LogP][at]; math.Float32bits(got) != math.Float32bits(want) {
					t.Fatalf("answer %d, token %d: drawn with %v, and the tree's pass gives %v", i, k, got, want)
				}
				if h, ok := out[engine.Entropy]; ok && math.Float32bits(w.entropy[k]) != math.Float32bits(h[at]) {
					t.Fatalf("answer %d, token %d: entropy %v, and the tree's pass gives %v", i, k, w.entropy[k], h[at])
				}
				at++
			}
		}
	}
}

// writes has a session write and compares.
func writes(t *testing.T, s *engine.Session, vocab int) {
	t.Helper()
	lengths := []int{3, 40, 77, 1}
	c, err := s.NewCache(engine.CacheConfig{Segments: 3, Tokens: 75 + 40 + 77, Read: 50, Draws: len(lengths)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	prompt := tokens(14, 75, vocab)
	d := engine.Drawing{Temp: 0.7}
	holds(t, s, prompt, write(t, c, prompt, lengths, d), d)
}

// TestCacheGivesTheBitsOfATree: what is written token by token is said to be as likely as a forward pass over the tree
// of what was written says, to the bit: on every architecture, in storage types of every kind of kernel, in both modes.
func TestCacheGivesTheBitsOfATree(t *testing.T) {
	for _, name := range arch.Predicting() {
		types := []gguf.Type{gguf.Q8_0}
		if name == "llama" {
			types = append(types, gguf.F32, gguf.F16, gguf.Q4_0, gguf.Q4_K, gguf.Q6_K)
		}
		for _, typ := range types {
			for _, exact := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %v exact=%t", name, typ, exact), func(t *testing.T) {
					spec := cacheSpec(name, typ)
					s := newRig(t, spec, func(c *setup, _ *adapter.Config) { c.Exact = exact })
					writes(t, s.Session, spec.Vocab)
				})
			}
		}
	}
}

// TestCacheAtEveryLevel is the same at every level, with heads in groups and of odd lengths, and several threads.
func TestCacheAtEveryLevel(t *testing.T) {
	atLevels(t, func(l kernels.Level) {
		for _, c := range []struct{ heads, kv, d, threads int }{{9, 3, 16, 1}, {6, 1, 20, 2}, {2, 1, 160, 1}} {
			t.Run(fmt.Sprint(l, c), func(t *testing.T) {
				spec := cacheSpec("qwen3", gguf.Q8_0)
				spec.Heads, spec.KVHeads, spec.HeadDim = c.heads, c.kv, c.d
				s := newRig(t, spec, func(sc *setup, _ *adapter.Config) { sc.Exact, sc.Threads = false, c.threads })
				writes(t, s.Session, spec.Vocab)
			})
		}
	})
}

// TestCacheWithEveryKind is the same with each kind of delta, and with tensors of the set's own.
func TestCacheWithEveryKind(t *testing.T) {
	spec := cacheSpec("llama", gguf.Q8_0)
	for _, d := range kinds {
		t.Run(fmt.Sprintf("%T %+[1]v", d), func(t *testing.T) {
			m, err := engine.Open(synth.Temp(t, spec))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Close() })
			writes(t, alone(t, m, engine.Set{Adapter: everywhere(m, d)}).Session, spec.Vocab)
		})
	}
	t.Run("full", func(t *testing.T) {
		writes(t, newRig(t, spec, func(c *setup, _ *adapter.Config) { c.Full = true }).Session, spec.Vocab)
	})
}

// TestCacheElsewhere: keys and values need not lie in the process's memory.
func TestCacheElsewhere(t *testing.T) {
	b, err := distant.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	spec := cacheSpec("llama", gguf.Q8_0)
	writes(t, newRig(t, spec, func(c *setup, _ *adapter.Config) { c.Backend = b }).Session, spec.Vocab)
}

// TestCacheApplies: the sets that write are those that the call names; the likeliest token is certain.
func TestCacheApplies(t *testing.T) {
	spec := cacheSpec("llama", gguf.Q8_0)
	s := newRig(t, spec, nil)
	c, err := s.NewCache(engine.CacheConfig{Segments: 3, Tokens: 300, Read: 50, Draws: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	prompt := tokens(15, 30, spec.Vocab)
	base := engine.Drawing{Temp: 1, Apply: engine.Only()}
	texts := write(t, c, prompt, []int{20, 20}, base)
	holds(t, s.Session, prompt, texts, base)
	greedy := write(t, c, prompt, []int{20, 20}, engine.Drawing{})
	for i, id := range greedy[0].tokens {
		row := engine.PlainRow(append(append([]int32{}, prompt...), greedy[0].tokens[:i+1]...))
		row.Counted = row.Counted[len(row.Counted)-1:]
		out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
			engine.Options{Want: []*engine.Output{engine.Top}, Top: 1})
		if err != nil {
			t.Fatal(err)
		}
		if out[engine.Top][0] != float32(id) || greedy[0].logp[i] != 0 || greedy[1].tokens[i] != id {
			t.Fatalf("token %d: %d with %v, the likeliest is %v", i, id, greedy[0].logp[i], out[engine.Top][0])
		}
	}
}

// TestCachePlanned: a session that trains and writes has taken what Plan said.
func TestCachePlanned(t *testing.T) {
	spec := cacheSpec("llama", gguf.Q4_0)
	spec.Vocab = 3000
	for _, read := range []int{10, 200} { // less and more than the passes take
		s := newRig(t, spec, func(c *setup, _ *adapter.Config) { c.Exact, c.KeepBytes = false, 1<<30 })
		cfg := engine.CacheConfig{Segments: 9, Tokens: 400, Read: read, Draws: 8}
		row, want := engine.PlainRow(tokens(16, 60, spec.Vocab)), []*engine.Output{engine.LogP}
		plan, err := engine.Plan(s.model, s.Config(), engine.Extent{Tokens: 60, Counted: 59, Row: 60, Want: want,
			Cache: &cfg})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.NewCache(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if c.Bytes() != plan.Cache || plan.Cache == 0 {
			t.Errorf("keys and values take %d bytes, planned %d", c.Bytes(), plan.Cache)
		}
		out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
			engine.Options{Want: want, Backward: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Backward(t.Context(), out, nil); err != nil {
			t.Fatal(err)
		}
		seg, _ := c.Begin(-1)
		if _, err := c.Read(t.Context(), []engine.Next{{Segment: seg, Tokens: tokens(17, read, spec.Vocab),
			Draw: make([]float64, 8)}}, engine.Drawing{Temp: 1}); err != nil {
			t.Fatal(err)
		}
		if got := s.Bytes(); got > plan.Total() || got < plan.Total()*9/10 {
			t.Errorf("reading %d at once: the session holds %d bytes, planned %d", read, got, plan.Total())
		}
		before := s.Bytes()
		if err := c.Close(); err != nil || before-s.Bytes() < plan.Cache*9/10 {
			t.Errorf("closing gave back %d bytes of %d: %v", before-s.Bytes(), plan.Cache, err)
		}
		if _, err := c.Read(t.Context(), nil, engine.Drawing{}); err == nil {
			t.Error("a closed cache read")
		}
	}
}

// A faltering context is cancelled once it has been asked so often.
type faltering struct {
	context.Context
	left int
}

func (f *faltering) Err() error {
	if f.left--; f.left < 0 {
		return context.Canceled
	}
	return f.Context.Err()
}

// TestCacheReadsAgain: a call that fails on its way leaves texts as they were: made again it says what it would have
// said.
func TestCacheReadsAgain(t *testing.T) {
	for _, name := range []string{"llama", "lfm2"} {
		t.Run(name, func(t *testing.T) {
			spec := cacheSpec(name, gguf.Q8_0)
			spec.Layers = 4
			s := newRig(t, spec, nil)
			prompt, failed := tokens(19, 30, spec.Vocab), 0
			says := func(fails int) (said []engine.Drawn) {
				c, err := s.NewCache(engine.CacheConfig{Segments: 2, Tokens: 64, Read: 32, Draws: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				seg, _ := c.Begin(-1)
				for _, piece := range [][]int32{prompt[:20], prompt[20:21], prompt[21:]} {
					next := []engine.Next{{Segment: seg, Tokens: piece, Draw: []float64{0.5}}}
					ctx := &faltering{context.WithoutCancel(t.Context()), fails}
					if _, err := c.Read(ctx, next, engine.Drawing{Temp: 1}); err == nil {
						t.Fatalf("a pass that is cancelled after %d questions went through", fails)
					}
					if fails > 0 {
						failed++
					}
					out, err := c.Read(t.Context(), next, engine.Drawing{Temp: 1})
					if err != nil {
						t.Fatal(err)
					}
					said = append(said, out...)
				}
				return said
			}
			if got, want := says(3), says(0); !slices.Equal(got, want) || failed == 0 {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestCacheRefuses: what cannot be read is refused, and leaves texts as they were.
func TestCacheRefuses(t *testing.T) {
	spec := cacheSpec("gpt2", gguf.Q8_0)
	spec.Ctx = 100
	s := newRig(t, spec, nil)
	if _, err := s.NewCache(engine.CacheConfig{Segments: 1, Tokens: 0, Read: 1, Draws: 1}); err == nil {
		t.Error("a cache without room was made")
	}
	c, err := s.NewCache(engine.CacheConfig{Segments: 3, Tokens: 120, Read: 90, Draws: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	root, _ := c.Begin(-1)
	prompt := tokens(18, 20, spec.Vocab)
	d := engine.Drawing{Temp: 1}
	if _, err := c.Read(t.Context(), []engine.Next{{Segment: root, Tokens: prompt}}, d); err != nil {
		t.Fatal(err)
	}
	child, _ := c.Begin(root)
	one := []int32{1}
	for what, x := range map[string]struct {
		next []engine.Next
		want string
	}{
		"nothing":    {nil, "0 tokens"},
		"no tokens":  {[]engine.Next{{Segment: child}}, "nothing to read"},
		"no segment": {[]engine.Next{{Segment: 2, Tokens: one}}, "segment 2"},
		"beneath":    {[]engine.Next{{Segment: -1, Tokens: one}}, "segment -1"},
		"a parent":   {[]engine.Next{{Segment: root, Tokens: one}}, "others follow it"},
		"twice":      {[]engine.Next{{Segment: child, Tokens: one}, {Segment: child, Tokens: one}}, "named twice"},
		"vocabulary": {[]engine.Next{{Segment: child, Tokens: []int32{int32(spec.Vocab)}}}, "outside the vocabulary"},
		"too much":   {[]engine.Next{{Segment: child, Tokens: tokens(1, 91, spec.Vocab)}}, "learned positions"},
		"a draw":     {[]engine.Next{{Segment: child, Tokens: one, Draw: []float64{1}}}, "0 to below 1"},
		"draws":      {[]engine.Next{{Segment: child, Tokens: one, Draw: []float64{0, 0, 0}}}, "3 draws"},
	} {
		if _, err := c.Read(t.Context(), x.next, d); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", what, err, x.want)
		}
	}
	if c.Len(child) != len(prompt) {
		t.Errorf("the text has %d tokens, want %d", c.Len(child), len(prompt))
	}
	last, err := c.Begin(child)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(-1); err == nil {
		t.Error("more segments than there is room for")
	}
	for _, seg := range []int{root, child, last} { // the room of the first two is free once the last goes
		if err := c.Drop(seg); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Drop(root); err == nil {
		t.Error("a segment was dropped twice")
	}
	for range 3 {
		if _, err := c.Begin(-1); err != nil {
			t.Fatal(err)
		}
	}
}
