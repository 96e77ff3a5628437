package generate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

func tiny(t *testing.T) string {
	t.Helper()
	return synth.Temp(t, synth.Tiny("llama", gguf.F32))
}

// tinyAdapter writes pairs beside attn_q of the tiny model, with both halves random: it changes what the model says.
func tinyAdapter(t *testing.T) string {
	t.Helper()
	s := synth.Tiny("llama", gguf.F32)
	rng := rand.New(rand.NewPCG(3, 4))
	var w gguf.Writer
	w.SetString("general.type", "adapter")
	w.SetString("general.architecture", "llama")
	w.SetString("adapter.type", "lora")
	w.SetFloat32("adapter.lora.alpha", 8)
	const rank = 4
	for i := range s.Layers {
		for _, half := range []struct {
			suffix string
			shape  []int64
		}{{"a", []int64{int64(s.Embd), rank}}, {"b", []int64{rank, int64(s.Embd)}}} {
			x := make([]float32, half.shape[0]*half.shape[1])
			for k := range x {
				x[k] = float32(rng.NormFloat64())
			}
			if err := w.AddFloats(fmt.Sprintf("blk.%d.attn_output.weight.lora_%s", i, half.suffix), half.shape,
				x); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, cfg Config) *Generator {
	t.Helper()
	cfg.Threads = 1
	g, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func write(t *testing.T, g *Generator, prompt []int32, n int) Result {
	t.Helper()
	return writeBy(t, g, prompt, n, llama.Greedy())
}

func writeBy(t *testing.T, g *Generator, prompt []int32, n int, by llama.Sampling) Result {
	t.Helper()
	var streamed strings.Builder
	r, err := g.Continue(context.Background(), prompt, n, by, func(s string) { streamed.WriteString(s) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Text != streamed.String() {
		t.Errorf("streamed %q, want the text %q", streamed.String(), r.Text)
	}
	return r
}

// What the context holds already is not read again, and that must not show.
func TestKeptContextChangesNothing(t *testing.T) {
	path := tiny(t)
	g := open(t, Config{Model: path})
	first, err := g.Raw("once upon")
	if err != nil {
		t.Fatal(err)
	}
	second, err := g.Raw("once upon a time there was")
	if err != nil {
		t.Fatal(err)
	}
	other, err := g.Raw("something else")
	if err != nil {
		t.Fatal(err)
	}
	for i, prompt := range [][]int32{first, second, second, other, first} {
		got := write(t, g, prompt, 12)
		want := write(t, open(t, Config{Model: path}), prompt, 12)
		if got != want {
			t.Errorf("text %d: got %+v, want %+v as from a fresh context", i, got, want)
		}
	}
}

func TestAdapterOnAndOff(t *testing.T) {
	model, adapter := tiny(t), tinyAdapter(t)
	g := open(t, Config{Model: model, Adapters: []Adapter{{adapter, 1}}})
	prompt, err := g.Raw("once upon")
	if err != nil {
		t.Fatal(err)
	}
	with := write(t, g, prompt, 16)
	if err := g.Use(Base); err != nil {
		t.Fatal(err)
	}
	without := write(t, g, prompt, 16)
	if err := g.Use(0); err != nil {
		t.Fatal(err)
	}
	if again := write(t, g, prompt, 16); again != with {
		t.Errorf("switched on again: got %q, want %q", again.Text, with.Text)
	}
	base := write(t, open(t, Config{Model: model}), prompt, 16)
	if without != base {
		t.Errorf("switched off: got %q, want the model's own %q", without.Text, base.Text)
	}
	if with.Text == base.Text {
		t.Errorf("the adapter changes nothing: %q", with.Text)
	}
	zero := write(t, open(t, Config{Model: model, Adapters: []Adapter{{adapter, 0}}}), prompt, 16)
	if zero.Text != base.Text {
		t.Errorf("scale 0: got %q, want the model's own %q", zero.Text, base.Text)
	}
}

// Two adapters on one model: each speaks as it would alone.
func TestTwoAdapters(t *testing.T) {
	model, adapter := tiny(t), tinyAdapter(t)
	g := open(t, Config{Model: model, Adapters: []Adapter{{adapter, 1}, {adapter, 3}}})
	prompt, err := g.Raw("once upon")
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range []int{1, 0, Base, 1} {
		if err := g.Use(use); err != nil {
			t.Fatal(err)
		}
		alone := Config{Model: model}
		if use != Base {
			alone.Adapters = []Adapter{{adapter, []float32{1, 3}[use]}}
		}
		if got, want := write(t, g, prompt, 16), write(t, open(t, alone), prompt, 16); got != want || g.InUse() != use {
			t.Errorf("adapter %d: got %q, want %q as alone", use, got.Text, want.Text)
		}
	}
	for _, use := range []int{-2, 2} {
		if err := g.Use(use); err == nil {
			t.Errorf("adapter %d is used", use)
		}
	}
}

func TestStops(t *testing.T) {
	g := open(t, Config{Model: tiny(t), Ctx: 32})
	prompt, err := g.Raw("once upon")
	if err != nil {
		t.Fatal(err)
	}
	if r := write(t, g, prompt, 3); r.Stop != StopLength || r.Tokens != 3 || r.PromptTokens != len(prompt) {
		t.Errorf("got %+v, want 3 tokens and a stop by length", r)
	}
	if r := write(t, g, prompt, 1000); r.Stop == StopLength || r.Tokens > 32 {
		t.Errorf("got %+v, want a stop by a full context or the model", r)
	}
	if _, err := g.Continue(context.Background(), slices.Repeat(prompt[:1], 32), 1, llama.Greedy(), nil); err == nil ||
		!strings.Contains(err.Error(), "the prompt has 32 tokens") {
		t.Errorf("a prompt as long as the context: got %v", err)
	}
}

func TestCancel(t *testing.T) {
	g := open(t, Config{Model: tiny(t)})
	prompt, err := g.Raw("once upon")
	if err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	n := 0
	_, err = g.Continue(ctx, prompt, 50, llama.Greedy(), func(string) {
		if n++; n == 3 {
			cancel(stopped)
		}
	})
	if !errors.Is(err, stopped) {
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
	if got, want := write(t, g, prompt, 5), write(t, open(t, Config{Model: g.model.Path()}), prompt, 5); got != want {
		t.Errorf("afterwards: got %+v, want %+v", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	bare := synth.Tiny("llama", gguf.F32)
	bare.Tokenizer = synth.NoTokenizer
	for name, tc := range map[string]struct{ path, want string }{
		"an adapter":   {tinyAdapter(t), "this is an adapter, not a model"},
		"no file":      {filepath.Join(t.TempDir(), "none.gguf"), "no such file"},
		"no tokenizer": {synth.Temp(t, bare), "the file has no tokenizer"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := Open(Config{Model: tc.path, Threads: 1})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if g != nil {
				t.Error("a generator beside the error")
			}
		})
	}
}

func TestWholeCharacters(t *testing.T) {
	for _, tc := range []struct {
		b    string
		want int
	}{{"", 0}, {"abc", 3}, {"aé", 3}, {"a\xc3", 1}, {"a\xe6\x9d", 1}, {"\xf0\x9f\x98", 0}, {"😀", 4},
		{"a\x80\x80\x80\x80", 5}, {"a\xff", 2}} {
		if got := wholeCharacters([]byte(tc.b)); got != tc.want {
			t.Errorf("%q: got %d, want %d", tc.b, got, tc.want)
		}
	}
}

// An adapter that names its base warns of another one, and brings the built-in template it was trained with.
func TestAdapterOrigin(t *testing.T) {
	model := tiny(t)
	f, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, err := f.SHA256(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, base, template, wantNote, wantTemplate string }{
		{"its own base", sum, "chatml", "", "chatml"},
		{"another base", strings.Repeat("0", 64), "chatml", "was trained on another base (sha256 000000000000…)",
			"chatml"},
		{"nothing said", "", "", "", "plain"},
		{"a file's template is not opened", sum, "/etc/passwd", "", "plain"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src, err := gguf.Open(tinyAdapter(t))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			var w gguf.Writer
			w.CopyMetadata(src)
			w.SetString("ggtune.base_sha256", tc.base)
			w.SetString("ggtune.template", tc.template)
			for i := range src.Tensors {
				if err := w.AddFrom(src, &src.Tensors[i]); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "adapter.gguf")
			if err := w.WriteFile(context.Background(), nil, path); err != nil {
				t.Fatal(err)
			}
			g := open(t, Config{Model: model, Adapters: []Adapter{{path, 1}}})
			notes, err := g.BaseNotes(context.Background())
			note := strings.Join(notes, "; ")
			if err != nil || (tc.wantNote == "") != (note == "") || !strings.Contains(note, tc.wantNote) {
				t.Errorf("note: got %q, %v, want %q", note, err, tc.wantNote)
			}
			chat, err := g.Chat("")
			if err != nil {
				t.Fatal(err)
			}
			if got := chat.Template().Name(); got != tc.wantTemplate {
				t.Errorf("template: got %q, want %q", got, tc.wantTemplate)
			}
		})
	}
}

// A held adapter, and one from a file, that waits for an invocation writes from there on over what the base has read,
// whatever the context holds already; without one it does nothing.
func TestInvocation(t *testing.T) {
	model := tiny(t)
	a := shaken(t, model, 3)
	a.Invocation = []int32{20, 21}
	file := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(t.Context(), nil, file); err != nil {
		t.Fatal(err)
	}
	waiting := Config{Model: model, Ctx: 64, Adapters: []Adapter{{Path: file, Scale: 1}}}
	a.Invocation = nil
	everywhere := filepath.Join(t.TempDir(), "everywhere.gguf")
	if err := a.Save(t.Context(), nil, everywhere); err != nil {
		t.Fatal(err)
	}
	base := open(t, Config{Model: model, Ctx: 64})
	always := open(t, Config{Model: model, Ctx: 64, Adapters: []Adapter{{Path: everywhere, Scale: 1}}})
	g, held := open(t, waiting), open(t, Config{Model: model, Ctx: 64})
	a.Invocation = []int32{20, 21}
	if err := held.Hold(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		prompt []int32
		acts   bool
	}{
		{[]int32{5, 6, 7, 20, 21, 9}, true},
		{[]int32{5, 6, 7, 20, 21, 9}, true},         // again
		{[]int32{5, 6, 7, 20, 21, 9, 20, 21}, true}, // a later one
		{[]int32{5, 6, 7, 20, 21, 9, 8, 8}, true},   // an earlier one
		{[]int32{5, 6, 7, 20, 22}, false},           // none
		{[]int32{5, 6, 7, 20, 22, 20, 21}, true},    // behind what was read without one
		{[]int32{20, 21, 7, 8}, true},               // from the beginning
	} {
		got := write(t, g, tc.prompt, 12)
		if want := write(t, open(t, waiting), tc.prompt, 12); got != want {
			t.Errorf("prompt %d: got %+v, want %+v as from a fresh context", i, got, want)
		}
		if of := write(t, held, tc.prompt, 12); of != got {
			t.Errorf("prompt %d: held it writes %+v, want %+v as from a file", i, of, got)
		}
		if g.Invoked(tc.prompt) != tc.acts {
			t.Errorf("prompt %d: it acts: %v, want %v", i, !tc.acts, tc.acts)
		}
		is := write(t, base, tc.prompt, 12)
		if (got == is) == tc.acts {
			t.Errorf("prompt %d: got %q, the base writes %q, and the adapter acts: %v", i, got.Text, is.Text, tc.acts)
		}
		all := write(t, always, tc.prompt, 12)
		if first := tc.prompt[0] == 20; (got == all) != first {
			t.Errorf("prompt %d: got %q, and from the first token on %q", i, got.Text, all.Text)
		}
	}
}
