package rollout

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
)

func tiny(t *testing.T, name string, typ gguf.Type) string {
	t.Helper()
	return synth.Temp(t, synth.Tiny(name, typ))
}

func open(t *testing.T, c Config) *Writer {
	t.Helper()
	c.Threads, c.Parallel = max(c.Threads, 1), max(c.Parallel, 1)
	if c.Ctx == 0 {
		c.Ctx = 48
	}
	w, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

var (
	somePrompts = []Prompt{{Tokens: []int32{5, 6, 7, 8}}, {Tokens: []int32{9, 10, 11, 12, 13, 14, 15}},
		{Tokens: []int32{20}}}
	someHow = Sampling{Temp: 1, MaxTokens: 20, Seed: 11, Step: 3}
)

func write(t *testing.T, w *Writer, prompts []Prompt, samples int, s Sampling) []Answer {
	t.Helper()
	out, err := w.Write(t.Context(), prompts, samples, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shaken is an adapter of every linear role of a model, with random numbers that change what the model says.
func shaken(t *testing.T, model string, seed uint64) *adapter.Adapter {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 2, Alpha: 4, Init: "gaussian", Targets: []string{"all-linear"},
		Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	a.Halves(func(_ string, values []float32) {
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
	})
	return a
}

// logps are the log-probabilities that llama.cpp gives an answer where it reads it alone.
func logps(t *testing.T, c *llama.Context, p Prompt, a Answer, temp float64) (out []float64) {
	t.Helper()
	var at []int
	for i := range a.Tokens {
		at = append(at, len(p.Tokens)-1+i)
	}
	all := append(append([]int32{}, p.Tokens...), a.Tokens...)
	err := c.EachLogits(t.Context(), all[:len(all)-1], at, func(pos int, row []float32) error {
		top, sum := math.Inf(-1), 0.0
		for _, x := range row {
			top = max(top, float64(x)/temp)
		}
		for _, x := range row {
			sum += math.Exp(float64(x)/temp - top)
		}
		out = append(out, float64(row[a.Tokens[pos-len(p.Tokens)+1]])/temp-top-math.Log(sum))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Of every architecture that generates: what a token is said to be worth is what llama.cpp finds when it reads prompt
// and answer alone, at the temperature; answers differ from each other; and they end as they may.
func TestWriteEveryArchitecture(t *testing.T) {
	// Kernels for one row and for many differ by 2e-6, in any architecture; by the draw of the answers that turns the
	// rounding of what llama.cpp keeps in F16, of a token of ten in gemma, and those are off by up to 1.1e-3.
	const usual, turned, tolerance = 1e-6, 1e-4, 3e-3
	for _, name := range arch.Predicting() {
		t.Run(name, func(t *testing.T) {
			model := verify.NeedLlama(t, tiny(t, name, gguf.F32))
			w, err := Open(Config{Model: model, Ctx: 24, Threads: 1, Parallel: 4})
			if err != nil {
				t.Skip(err) // it does not predict text
			}
			defer w.Close()
			m, err := llama.OpenModel(model, llama.VerifyModelOptions())
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			c, err := m.NewContext(llama.UserContextOptions(64, 1))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s := someHow
			s.Temp, s.MaxTokens = 0.7, 18
			var off []float64
			different := map[int32]bool{}
			for i, a := range write(t, w, somePrompts, 5, s) {
				p := somePrompts[i/5]
				n := len(a.Tokens)
				if full := len(p.Tokens)+n == 24; n == 0 || n != len(a.LogP) || len(p.Tokens)+n > 24 || n > 18 ||
					a.Ended != m.Vocab().IsEOG(a.Tokens[n-1]) || !a.Ended && n < 18 && !full {
					t.Errorf("answer %d: %+v", i, a)
				}
				for j, want := range logps(t, c, p, a, s.Temp) {
					off = append(off, math.Abs(float64(a.LogP[j])-want))
				}
				different[a.Tokens[0]] = true
			}
			slices.Sort(off)
			half, most, worst := off[len(off)/2], off[len(off)*9/10], off[len(off)-1]
			if !(half <= usual) || !(most <= turned) || !(worst <= tolerance) || len(different) < 3 {
				t.Errorf("log p differ by %g from those of the answers alone, nine of ten by up to %g, half by up "+
					"to %g; %d different first tokens", worst, most, half, len(different))
			}
			t.Logf("log p differ by %g, half of them by up to %g", worst, half)
		})
	}
}

// Answers are a function of what the doc says, and of all of it: a Writer that has written before, with another
// adapter, writes what a new one does.
func TestWriteIsAFunction(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.Q8_0, gguf.Q4_K} {
		model := tiny(t, "llama", typ)
		a, b := shaken(t, model, 1), shaken(t, model, 2)
		used := open(t, Config{Model: model, Parallel: 3})
		base := write(t, used, somePrompts, 4, someHow)
		for _, held := range []*adapter.Adapter{a, b, a.Nothing(), a} {
			if err := used.Hold(t.Context(), held); err != nil {
				t.Fatal(err)
			}
			got := write(t, used, somePrompts, 4, someHow)
			fresh := open(t, Config{Model: model, Parallel: 3})
			if err := fresh.Hold(t.Context(), held); err != nil {
				t.Fatal(err)
			}
			if want := write(t, fresh, somePrompts, 4, someHow); !reflect.DeepEqual(got, want) {
				t.Errorf("%v: a Writer that was used writes something else than a new one", typ)
			}
			if same := reflect.DeepEqual(tokensOf(got), tokensOf(base)); same != (held != a && held != b) {
				t.Errorf("%v: with an adapter the base's answers: %v", typ, same)
			}
		}
		first := write(t, used, somePrompts, 4, someHow)
		for name, other := range map[string]Sampling{
			"seed": {1, 20, 12, 3, false}, "step": {1, 20, 11, 4, false}, "temperature": {0.5, 20, 11, 3, false}} {
			if reflect.DeepEqual(tokensOf(write(t, used, somePrompts, 4, other)), tokensOf(first)) {
				t.Errorf("another %s writes the same", name)
			}
		}
		if err := used.Hold(t.Context(), a.Nothing()); err != nil {
			t.Fatal(err)
		}
		short := someHow
		short.MaxTokens = 4 // threads that other programs keep from running are slow
		threads := write(t, open(t, Config{Model: model, Parallel: 3, Threads: 2}), somePrompts[:1], 3, short)
		if !reflect.DeepEqual(threads, write(t, used, somePrompts[:1], 3, short)) {
			t.Errorf("%v: 2 threads write something else than one", typ)
		}
		// An answer does not depend on how many are asked for, nor on later prompts.
		few := write(t, used, somePrompts[:1], 2, someHow)
		if !reflect.DeepEqual(tokensOf(few), tokensOf(base[:2])) {
			t.Errorf("%v: of fewer answers the first are others", typ)
		}
	}
}

func tokensOf(answers []Answer) (out [][]int32) {
	for _, a := range answers {
		out = append(out, a.Tokens)
	}
	return out
}

// At temperature 0 every sample is the same, the one that generation writes greedily.
func TestWriteGreedily(t *testing.T) {
	model := tiny(t, "llama", gguf.F32)
	w := open(t, Config{Model: model, Parallel: 2})
	got := write(t, w, somePrompts[:1], 3, Sampling{MaxTokens: 10})
	m, err := llama.OpenModel(model, llama.UserModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.NewContext(llama.UserContextOptions(48, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want, err := c.Generate(t.Context(), somePrompts[0].Tokens, 10, llama.Greedy(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range got {
		if a.Ended {
			a.Tokens = a.Tokens[:len(a.Tokens)-1]
		}
		if !reflect.DeepEqual(a.Tokens, want) {
			t.Errorf("sample %d is %v, want %v", i, a.Tokens, want)
		}
	}
}

// Answers without end are as long as they may be, and go on where others end.
func TestWriteEndless(t *testing.T) {
	w := open(t, Config{Model: tiny(t, "llama", gguf.F32), Parallel: 4})
	s := someHow
	s.Temp = 5 // so that ends are drawn
	ended, endless := write(t, w, somePrompts, 40, s), s
	endless.Endless = true
	n := 0
	for i, a := range write(t, w, somePrompts, 40, endless) {
		if len(a.Tokens) != s.MaxTokens || a.Ended || !slices.Equal(a.Tokens[:len(ended[i].Tokens)], ended[i].Tokens) {
			t.Errorf("answer %d: got %v, want %v and more", i, a.Tokens, ended[i].Tokens)
		}
		if ended[i].Ended {
			n++
		}
	}
	if n == 0 {
		t.Error("no answer ended: the test proves nothing")
	}
}

func TestWriteRefusals(t *testing.T) {
	model := tiny(t, "llama", gguf.F32)
	for _, c := range []Config{{Model: model, Ctx: 1, Parallel: 1}, {Model: model, Ctx: 32},
		{Model: model, Ctx: 32, Parallel: llama.MaxSequences() + 1}, {Model: model, Ctx: 32, Parallel: 1, Threads: -1},
		{Model: filepath.Join(t.TempDir(), "none.gguf"), Ctx: 32, Threads: 1}} {
		if w, err := Open(c); err == nil {
			w.Close()
			t.Errorf("%+v: no error", c)
		}
	}
	w := open(t, Config{Model: model, Ctx: 32, Parallel: 2})
	long := make([]int32, 32)
	_, err := w.Write(t.Context(), []Prompt{somePrompts[0], {Tokens: long}}, 1, someHow)
	var e *LongError
	if !errors.As(err, &e) || *e != (LongError{1, 32, 32}) || !strings.Contains(err.Error(), "prompt 1 has 32 tokens") {
		t.Errorf("a prompt that fills the row: got %v", err)
	}
	if a := write(t, w, []Prompt{{Tokens: long[1:]}}, 1, someHow); len(a[0].Tokens) != 1 {
		t.Errorf("with room for one token got %v", a)
	}
	for name, p := range map[string]Prompt{"empty": {}, "beyond": {Tokens: []int32{1, 1 << 30}},
		"negative": {Tokens: []int32{-1}}} {
		if _, err := w.Write(t.Context(), []Prompt{p}, 1, someHow); err == nil {
			t.Errorf("prompt %s: no error", name)
		}
	}
	for _, s := range []Sampling{{Temp: -1, MaxTokens: 1}, {Temp: math.NaN(), MaxTokens: 1}, {Temp: 1},
		{Temp: 1, MaxTokens: 1, Step: -1}, {Temp: 1, MaxTokens: 1, Step: 1 << 40}} {
		if _, err := w.Write(t.Context(), somePrompts, 1, s); err == nil {
			t.Errorf("%+v: no error", s)
		}
	}
	for _, n := range []int{0, -1, math.MaxInt} {
		if _, err := w.Write(t.Context(), somePrompts, n, someHow); err == nil {
			t.Errorf("%d samples: no error", n)
		}
	}
	if a := write(t, w, nil, 3, someHow); len(a) != 0 {
		t.Errorf("no prompts: got %v", a)
	}
	waits := shaken(t, model, 1)
	waits.Invocation = []int32{5}
	if err := w.Hold(t.Context(), waits); err == nil || !strings.Contains(err.Error(), "invocation") {
		t.Errorf("an adapter that waits: got %v", err)
	}
}

// What is stopped gives no answers and leaves nothing behind: written again, they are what they would have been.
func TestWriteStops(t *testing.T) {
	model := tiny(t, "llama", gguf.F32)
	w := open(t, Config{Model: model, Parallel: 3})
	want := write(t, w, somePrompts, 4, someHow)
	cause := errors.New("told to stop")
	for _, after := range []int{0, 1, 5, 30} {
		ctx, cancel := context.WithCancelCause(t.Context())
		w.Progress = func(_, tokens int) {
			if tokens >= after {
				cancel(cause)
			}
		}
		if after == 0 {
			cancel(cause)
		}
		if got, err := w.Write(ctx, somePrompts, 4, someHow); !errors.Is(err, cause) || got != nil {
			t.Errorf("stopped after %d tokens: got %v, %v", after, got, err)
		}
		cancel(nil)
		w.Progress = nil
		if got := write(t, w, somePrompts, 4, someHow); !reflect.DeepEqual(got, want) {
			t.Errorf("after a stop at %d tokens answers are others", after)
		}
	}
}

// An adapter that has left the range of numbers is said to be the reason.
func TestWriteNotFinite(t *testing.T) {
	model := tiny(t, "llama", gguf.F32)
	w := open(t, Config{Model: model, Parallel: 2})
	a := shaken(t, model, 1)
	a.Halves(func(_ string, values []float32) {
		for i := range values {
			values[i] = 1e30
		}
	})
	if err := w.Hold(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	_, err := w.Write(t.Context(), somePrompts, 2, someHow)
	if !errors.Is(err, bindings.ErrNotFinite) || !strings.Contains(err.Error(), "--lr") {
		t.Errorf("got %v", err)
	}
}

// Of a model whose file names no end llama.cpp takes a word for it, which is said to be none.
func TestEnds(t *testing.T) {
	for _, named := range []bool{true, false} {
		path := tiny(t, "gpt2", gguf.F32)
		if !named {
			path = synth.Endless(t)
		}
		w := open(t, Config{Model: path, Parallel: 1})
		if ends, err := w.Ends(); err != nil || ends != named {
			t.Errorf("end named: %v; got %v, %v", named, ends, err)
		}
	}
}

// The plan counts the memory of every sequence.
func TestPlanMemory(t *testing.T) {
	c := Config{Model: tiny(t, "llama", gguf.F32), Ctx: 4096, Threads: 1, Parallel: 8, Lean: true}
	many, err := PlanMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Parallel = 2
	few, err := PlanMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	if few.KV == 0 || many.KV != 4*few.KV {
		t.Errorf("keys and values take %d bytes for 8 answers, %d for 2", many.KV, few.KV)
	}
	c.Ctx = 0
	if _, err := PlanMemory(c); err == nil {
		t.Error("a plan of no room: no error")
	}
}

// TestPaceIsKept: what is known of how fast one thread reads is known in the next call too, which reads with all at
// once.
func TestPaceIsKept(t *testing.T) {
	w := open(t, Config{Model: tiny(t, "llama", gguf.Q8_0), Threads: 2})
	write(t, w, somePrompts, 2, someHow)
	for i := range w.pace.one {
		if w.pace.one[i].tokens == 0 {
			t.Fatalf("kind %d of reading was never timed with one thread", i)
		}
		w.pace.one[i].time = time.Hour // no reading by all is given up
	}
	w.pace.rest = 0
	before := w.pace.one
	write(t, w, somePrompts, 2, someHow)
	if w.pace.one != before || w.pace.set != 2 {
		t.Errorf("one thread read again: %+v, before %+v; threads in force: %d", w.pace.one, before, w.pace.set)
	}
}
