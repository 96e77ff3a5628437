package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

func quick(path string) Config {
	c := DefaultConfig()
	c.Targets = []Target{{Path: path}}
	c.Threads, c.Rounds, c.Tokens, c.Rank, c.PeakTime = 1, 2, 32, 4, time.Millisecond
	return c
}

func TestRun(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("llama", gguf.Q8_0))
	c := quick(path)
	c.Cases = []string{"recompute", "kept", "packed", "masked", "dpo", "group", "long", "rank64"}
	c.Train = func(ctx context.Context, tr Train) (int64, error) { return TrainPeak(ctx, tr) }
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Cases) != len(c.Cases) {
		t.Fatalf("%d cases, want %d", len(r.Cases), len(c.Cases))
	}
	if len(r.Peaks) == 0 || r.productPeak() <= 0 {
		t.Errorf("no multiply rate for %s in %+v", r.Product, r.Peaks)
	}
	byName := map[string]Case{}
	for _, c := range r.Cases {
		byName[c.Case] = c
		checkCase(t, &c)
	}
	for name, want := range map[string]struct{ tokens, counted, rank, kept int }{
		"kept": {32, 31, 4, 2}, "masked": {32, 16, 4, 2}, "dpo": {30, 12, 4, 2},
		"group": {60, 48, 4, 2}, "long": {256, 255, 4, 2},
		"recompute": {32, 31, 4, 0}, "rank64": {32, 31, 64, 2},
	} {
		c := byName[name]
		if c.Tokens != want.tokens || c.Counted != want.counted || *c.Rank != want.rank || c.KeptLayers != want.kept {
			t.Errorf("%s: %d tokens, %d counted, rank %d, %d layers kept; want %+v", name, c.Tokens, c.Counted, *c.Rank,
				c.KeptLayers, want)
		}
	}
}

// TestRunAtLevel: the level asked for is the one measured, in both processes, and is not left behind.
func TestRunAtLevel(t *testing.T) {
	was := kernels.CurrentLevel()
	c := quick(synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)))
	c.Cases, c.Rounds, c.Level = []string{"kept"}, 1, kernels.Portable.String()
	c.Train = func(ctx context.Context, tr Train) (int64, error) {
		if tr.Level != c.Level {
			t.Errorf("the other process trains at level %q, want %q", tr.Level, c.Level)
		}
		return TrainPeak(ctx, tr)
	}
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Level != c.Level || r.Product != kernels.FormatF32.String() {
		t.Errorf("measured at level %s with %s products, want %s and f32", r.Level, r.Product, c.Level)
	}
	if kernels.CurrentLevel() != was {
		t.Errorf("the level is %v afterwards, want %v", kernels.CurrentLevel(), was)
	}
	for _, p := range r.Cases[0].Phases {
		if p.OfPeak != nil {
			t.Errorf("%s has a share of the machine's peak at a level that has another", p.Phase)
		}
	}
	if _, err := Compare(&Report{Level: was.String(), Cases: r.Cases}, r, 0.1); err == nil ||
		!strings.Contains(err.Error(), "--level") {
		t.Errorf("reports of two levels compared: error %v", err)
	}
	if has, err := llama.Features(); err != nil || len(r.LlamaCpp) != len(has) || r.Warning != "" {
		t.Errorf("beside a llama.cpp of %v, warning %q, error %v; it has %v", r.LlamaCpp, r.Warning, err, has)
	}
	other := &Report{Level: r.Level, LlamaCpp: []string{"SSE3"}, Cases: r.Cases}
	if _, err := Compare(other, r, 0.1); err == nil || !strings.Contains(err.Error(), "compiled for SSE3") {
		t.Errorf("reports beside two builds of llama.cpp compared: error %v", err)
	}
	c.Level = "mmx"
	if _, err := Run(context.Background(), c); !errors.Is(err, kernels.ErrLevel) ||
		!strings.Contains(err.Error(), "portable") {
		t.Errorf("level mmx: error %v, want one that lists the levels", err)
	}
}

func checkCase(t *testing.T, c *Case) {
	t.Helper()
	for what, v := range map[string]float64{"pp512": c.PP, "forward": c.Forward, "train": c.Training, "ratio": c.Ratio,
		"counted": c.CountedRate} {
		if !(v > 0) || math.IsInf(v, 0) {
			t.Errorf("%s: %s is %g, want a positive number", c.Case, what, v)
		}
	}
	pair, group := c.Case == "dpo", c.Case == "group"
	if (pair || group) != (c.Against != nil && *c.Against > 0 && c.Than != "") ||
		pair != (c.Reference != nil && *c.Reference > 0) {
		t.Errorf("%s: beside %q %v, reference %v; want both for dpo alone, the first for group", c.Case, c.Than,
			c.Against, c.Reference)
	}
	if c.Training < c.TrainingRange[0] || c.Training > c.TrainingRange[1] {
		t.Errorf("%s: median %g outside its spread %v", c.Case, c.Training, c.TrainingRange)
	}
	if c.PeakBytes == nil || *c.PeakBytes < c.FileBytes {
		t.Errorf("%s: peak memory %v, want at least the file's %d bytes", c.Case, c.PeakBytes, c.FileBytes)
	}
	share := 0.0
	for _, p := range c.Phases {
		share += p.Share
		counted := p.Phase == "linear forward" || p.Phase == "linear backward" || p.Phase == "output head"
		if (p.GFLOPS != nil) != counted || (p.OfPeak != nil) != counted || p.Seconds < 0 {
			t.Errorf("%s: phase %+v", c.Case, p)
		}
	}
	if math.Abs(share-1) > 1e-9 {
		t.Errorf("%s: phases add up to %g of the step, want 1", c.Case, share)
	}
}

func TestRunFull(t *testing.T) {
	c := quick(synth.Temp(t, synth.Tiny("gpt2", gguf.F32)))
	c.Cases = []string{"full"}
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Cases[0]
	if got.Rank != nil || got.PeakBytes != nil || got.PPLen != 128 || !(got.Ratio > 0) {
		t.Errorf("rank %v, peak %v, a prompt of %d tokens, ratio %g; want none, none, the context's 128, above 0",
			got.Rank, got.PeakBytes, got.PPLen, got.Ratio)
	}
	c.Targets[0].Path = synth.Temp(t, synth.Tiny("llama", gguf.Q8_0))
	if r, err := Run(context.Background(), c); err != nil || !(r.Cases[0].Ratio > 0) {
		t.Errorf("full training of a quantized model: %+v, error %v", r, err)
	}
}

func TestGeneratedModelIsRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancel(context.Background())
	c := quick("")
	c.Targets = []Target{{Shape: "smollm2-135m", Type: "q4_0"}}
	c.Progress = func(what string) {
		if strings.Contains(what, "round") {
			cancel()
		}
	}
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no model", func(c *Config) { c.Targets = nil }, "no model or shape"},
		{"threads", func(c *Config) { c.Threads = 0 }, "threads is 0"},
		{"rounds and tokens", func(c *Config) { c.Rounds, c.Tokens = 0, 7 },
			"rounds is 0, expected 1 to 1000\ntokens is 7"},
		{"rank", func(c *Config) { c.Rank = 2000 }, "rank is 2000"},
		{"memory", func(c *Config) { c.KeepBytes = -1 }, "-1 bytes"},
		{"case", func(c *Config) { c.Cases = []string{"keptt"} }, "keptt"},
		{"shape", func(c *Config) { c.Targets[0] = Target{Shape: "gpt-5", Type: "q8_0"} }, "gpt-5"},
		{"type", func(c *Config) { c.Targets[0] = Target{Shape: "smollm2-135m", Type: "q99"} }, "q99"},
		{"integer type", func(c *Config) { c.Targets[0] = Target{Shape: "smollm2-135m", Type: "i32"} },
			"holds no weights"},
		{"both", func(c *Config) { c.Targets[0].Shape = "smollm2-135m" }, "either a file or a shape"},
	} {
		c := quick("model.gguf")
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.want)
		}
	}
	c := quick("")
	for _, typ := range []string{"q8_0", "Q4_K_M", "f16", "iq4_nl", "q3_K"} {
		c.Targets = []Target{{Shape: "tinyllama-1.1b", Type: typ}}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestRows(t *testing.T) {
	const n = 512
	row := packedRow(newRand(), n, 100)
	at := 0
	for _, s := range row.Segments {
		if s.Start != at || s.Parent != -1 || s.Len < 2 || s.Len > longest+1 {
			t.Errorf("segment %+v at %d", s, at)
		}
		at += s.Len
	}
	if at != n || len(row.Counted) != n-len(row.Segments) {
		t.Errorf("segments cover %d of %d tokens and %d are counted, want all but %d", at, n, len(row.Counted),
			len(row.Segments))
	}
	r, examples := newRand(), 0
	for range 100 {
		examples += len(packedRow(r, n, 100).Segments)
	}
	if mean := 100 * n / float64(examples); mean < 55 || mean > 65 {
		t.Errorf("examples have %.1f tokens on average, want about 60", mean)
	}
	for _, p := range workloads {
		row := p.row(newRand(), 8, 10)
		if len(row.Counted) == 0 {
			t.Errorf("%s: a row of 8 tokens has none counted", p.name)
		}
	}
}

func TestStatistics(t *testing.T) {
	for _, tc := range []struct {
		v    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}} {
		if got := median(tc.v); got != tc.want {
			t.Errorf("median of %v is %g, want %g", tc.v, got, tc.want)
		}
	}
	if got := spread([]float64{2, 9, 1}); got != [2]float64{1, 9} {
		t.Errorf("spread %v, want [1 9]", got)
	}
}

func TestPeakBytes(t *testing.T) {
	if n, err := peakBytes(); err != nil || n < 1<<20 {
		t.Errorf("this process has used %d bytes (%v)", n, err)
	}
}

// TestFlops holds the counts to a model whose sum is small enough to do by hand: 2 layers of q and o 64×64, k and v
// 64×32, three matrices 64×128; a vocabulary of 320.
func TestFlops(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const layer, down, first, head = 2*64*64 + 2*64*32 + 3*64*128, 64 * 128, 64*64 + 2*64*32, 64 * 320
	for _, tc := range []struct {
		name                    string
		full                    bool
		kept                    int
		forward, backward, head float64
	}{
		{"kept", false, 2, 2 * layer, 2*layer - first, 2 * head},
		{"recompute", false, 0, 4*layer - 2*down, 2*layer - first, 2 * head},
		{"full", true, 2, 2 * layer, 4 * layer, 4 * head},
	} {
		got := flops(m, tc.full, 10, 5, tc.kept)
		if got["linear forward"] != 20*tc.forward || got["linear backward"] != 20*tc.backward ||
			got["output head"] != 10*tc.head {
			t.Errorf("%s: %v, want forward %g, backward %g, head %g", tc.name, got, 20*tc.forward, 20*tc.backward,
				10*tc.head)
		}
	}
}

func TestCompare(t *testing.T) {
	r16, r64 := 16, 64
	report := func(ratio, other float64) *Report {
		return &Report{Cases: []Case{
			{Model: "m", Type: "q8_0", Case: "kept", Tokens: 512, Rank: &r16, Ratio: ratio},
			{Model: "m", Type: "q4_0", Case: "kept", Tokens: 512, Rank: &r64, Ratio: other},
		}}
	}
	for _, tc := range []struct {
		name      string
		old, now  *Report
		tolerance float64
		changes   int
		fell      bool
		want      string
	}{
		{"equal", report(0.5, 0.6), report(0.5, 0.6), 0, 2, false, ""},
		{"within", report(0.5, 0.6), report(0.46, 0.7), 0.1, 2, false, ""},
		{"fell", report(0.5, 0.6), report(0.44, 0.7), 0.1, 2, true, "1 of 2"},
		{"not a number", report(0.5, 0.6), report(math.NaN(), 0.6), 0.1, 2, true, "1 of 2"},
		{"others", &Report{}, report(0.5, 0.6), 0.1, 0, false, "no case"},
		{"tolerance", report(1, 1), report(1, 1), 1, 0, false, "tolerance is 1"},
	} {
		changes, err := Compare(tc.old, tc.now, tc.tolerance)
		if len(changes) != tc.changes || errors.Is(err, ErrFell) != tc.fell || (err == nil) != (tc.want == "") ||
			err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, error %v; want %d changes, error %q", tc.name, changes, err, tc.changes, tc.want)
		}
	}
}

// TestGroupAndApart: both train the same tokens behind the same ones, the one of them with the prompt once.
func TestGroupAndApart(t *testing.T) {
	group, apart := groupRow(newRand(), 512, 300), apartRow(newRand(), 512, 300)
	if n, m := len(group.Tokens), len(apart.Tokens); n != 200+8*100 || m != 8*300 {
		t.Errorf("rows of %d and %d tokens, want 1000 and 2400", n, m)
	}
	for i, at := range apart.Counted {
		if apart.Tokens[at] != group.Tokens[group.Counted[i]] {
			t.Fatalf("counted token %d is another", i)
		}
	}
	for _, g := range apart.Segments {
		if g.Parent != -1 || !slices.Equal(apart.Tokens[g.Start:g.Start+200], group.Tokens[:200]) {
			t.Errorf("the sequence at %d begins with another prompt", g.Start)
		}
	}
}
