package adapter_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// sizes gives a tiny model's net.
func sizes(t testing.TB, spec synth.Spec) *arch.Net {
	t.Helper()
	f, err := gguf.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	net, err := arch.Of(f)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func config(change func(*adapter.Config)) adapter.Config {
	c := adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7}
	if change != nil {
		change(&c)
	}
	return c
}

// refused checks that err says every one of the parts.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, expected an error with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	for name, tt := range map[string]struct {
		change func(*adapter.Config)
		want   []string
	}{
		"rank 0":         {func(c *adapter.Config) { c.Rank = 0 }, []string{"rank is 0"}},
		"rank too large": {func(c *adapter.Config) { c.Rank = 1025 }, []string{"rank is 1025", "1024"}},
		"alpha 0":        {func(c *adapter.Config) { c.Alpha = 0 }, []string{"alpha is 0"}},
		"alpha below 0":  {func(c *adapter.Config) { c.Alpha = -1 }, []string{"alpha is -1"}},
		"alpha NaN":      {func(c *adapter.Config) { c.Alpha = math.NaN() }, []string{"alpha is NaN"}},
		"alpha infinite": {func(c *adapter.Config) { c.Alpha = math.Inf(1) }, []string{"alpha is +Inf"}},
		"unknown init":   {func(c *adapter.Config) { c.Init = "zero" }, []string{`"zero"`, "kaiming, gaussian"}},
		"every fault": {func(c *adapter.Config) { *c = adapter.Config{} },
			[]string{"rank is 0", "alpha is 0", `init is ""`}},
		"unknown target": {func(c *adapter.Config) { c.Targets = []string{"q_proj"} },
			[]string{`"q_proj"`, "; did you mean attn_q? known: attn_q, attn_k, attn_v, attn_output",
				"output, token_embd, all-linear"}},
		"a norm": {func(c *adapter.Config) { c.Targets = []string{"attn_norm"} },
			[]string{`"attn_norm"`, "known:"}},
		"part of a name": {func(c *adapter.Config) { c.Targets = []string{"attn"} }, []string{`"attn"`, "known:"}},
		"layer below 0":  {func(c *adapter.Config) { c.Layers = []int{-1} }, []string{"layer -1", "layers 0 to 1"}},
		"layer beyond":   {func(c *adapter.Config) { c.Layers = []int{0, 2} }, []string{"layer 2", "layers 0 to 1"}},
		"one target wrong": {func(c *adapter.Config) { c.Targets = []string{"attn_q", "nothing"} },
			[]string{`"nothing"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := adapter.New(net, config(tt.change))
			refused(t, err, tt.want...)
		})
	}
}

func TestTargets(t *testing.T) {
	layers := []arch.Role{arch.AttnQ, arch.AttnK, arch.AttnV, arch.AttnOutput, arch.FFNGate, arch.FFNUp, arch.FFNDown}
	for name, tt := range map[string]struct {
		names []string
		want  []arch.Role
	}{
		"none":            {nil, layers},
		"all-linear":      {[]string{"all-linear"}, layers},
		"all and one":     {[]string{"attn_q", "all-linear"}, layers},
		"twice":           {[]string{"attn_v", "attn_q", "attn_v"}, []arch.Role{arch.AttnQ, arch.AttnV}},
		"outside layers":  {[]string{"output", "token_embd"}, []arch.Role{arch.Output, arch.TokenEmbd}},
		"not attn_q_norm": {[]string{"attn_q"}, []arch.Role{arch.AttnQ}},
	} {
		t.Run(name, func(t *testing.T) {
			net := sizes(t, synth.Tiny("qwen3", gguf.F32)) // the one with attn_q_norm
			got, err := adapter.Targets(net, tt.names)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNewTakesWholeNames(t *testing.T) {
	net := sizes(t, synth.Tiny("qwen3", gguf.F32))
	got, err := adapter.New(net,
		config(func(c *adapter.Config) { c.Targets, c.Layers = []string{"attn_q"}, []int{1, 1} }))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Pairs) != 1 || got.Pairs[0].Tensor != "blk.1.attn_q.weight" {
		t.Fatalf("got %d pairs, the first on %q; want one on blk.1.attn_q.weight", len(got.Pairs), got.Pairs[0].Tensor)
	}
}

// With tied embeddings llama.cpp would find a pair on token_embd under both of its uses.
func TestTiedEmbeddingsRefuse(t *testing.T) {
	for _, name := range []string{"qwen2", "gpt2"} {
		net := sizes(t, synth.Tiny(name, gguf.F32))
		for _, target := range []string{"output", "token_embd"} {
			_, err := adapter.Targets(net, []string{target})
			refused(t, err, `"`+target+`"`, "token embedding", "leave")
		}
		_, err := adapter.Targets(net, []string{"nothing"})
		refused(t, err, "known:")
		if known := err.Error(); strings.Contains(known, "token_embd") {
			t.Errorf("%s: the known targets of a tied model name token_embd: %s", name, known)
		}
	}
}

func TestScale(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	for _, rs := range []bool{false, true} {
		got, err := adapter.New(net, config(func(c *adapter.Config) { c.Rank, c.RSLoRA = 16, rs }))
		if err != nil {
			t.Fatal(err)
		}
		alpha, scale := 8.0, 0.5
		if rs { // llama.cpp divides by the rank: alpha·√16 gives alpha/√16
			alpha, scale = 32, 2
		}
		if got.Alpha != alpha || got.Scale(&got.Pairs[0]) != scale {
			t.Errorf("rsLoRA %v: alpha %g, scale %g; want %g and %g", rs, got.Alpha, got.Scale(&got.Pairs[0]), alpha,
				scale)
		}
	}
}

// A starts in its distribution, B at zero, each tensor from its own numbers.
func TestInit(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	for _, init := range adapter.Inits() {
		t.Run(init, func(t *testing.T) {
			fresh := func(seed uint64, targets ...string) *adapter.Adapter {
				ad, err := adapter.New(net,
					config(func(c *adapter.Config) { c.Init, c.Seed, c.Targets = init, seed, targets }))
				if err != nil {
					t.Fatal(err)
				}
				return ad
			}
			first, again, other := fresh(1), fresh(1), fresh(2)
			seen := map[float32]string{}
			for i := range first.Pairs {
				p := &first.Pairs[i]
				if slices.ContainsFunc(p.B, func(x float32) bool { return x != 0 }) {
					t.Errorf("%s: B does not start at zero", p.Tensor)
				}
				if !slices.Equal(p.A, again.Pairs[i].A) {
					t.Errorf("%s: equal seeds give other numbers", p.Tensor)
				}
				if slices.Equal(p.A, other.Pairs[i].A) {
					t.Errorf("%s: other seeds give equal numbers", p.Tensor)
				}
				if was, ok := seen[p.A[0]]; ok {
					t.Errorf("%s starts like %s", p.Tensor, was)
				}
				seen[p.A[0]] = p.Tensor
				checkSpread(t, init, p)
			}
			// What a tensor starts with does not depend on which others are adapted.
			for _, p := range fresh(1, "ffn_down").Pairs {
				i := slices.IndexFunc(first.Pairs, func(q adapter.Pair) bool { return q.Tensor == p.Tensor })
				if !slices.Equal(p.A, first.Pairs[i].A) {
					t.Errorf("%s starts otherwise when adapted alone", p.Tensor)
				}
			}
		})
	}
}

// checkSpread compares the deviation of A with its distribution's, and its largest number with the bound.
func checkSpread(t *testing.T, init string, p *adapter.Pair) {
	t.Helper()
	bound := 1 / math.Sqrt(float64(p.AShape[0]))
	want := bound / math.Sqrt(3) // of the uniform distribution
	if init == "gaussian" {
		bound, want = math.Inf(1), 1/float64(p.Rank)
	}
	sum := 0.0
	for _, x := range p.A {
		if math.Abs(float64(x)) > bound {
			t.Fatalf("%s: %g is beyond the bound %g", p.Tensor, x, bound)
		}
		sum += float64(x) * float64(x)
	}
	// 256 numbers or more: four standard errors of their deviation are below 0.18 of it.
	if got := math.Sqrt(sum / float64(len(p.A))); math.Abs(got/want-1) > 0.18 {
		t.Errorf("%s: standard deviation %g, want %g", p.Tensor, got, want)
	}
}
