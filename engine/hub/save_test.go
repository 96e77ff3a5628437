package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

// rewritten is a recorded file with other metadata, and without the tensors whose name drop gives.
func rewritten(t testing.TB, name string, change func(f *gguf.File, w *gguf.Writer), drop string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(recorded + name + ".gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	for i := range f.Tensors {
		if f.Tensors[i].Name == drop {
			continue
		}
		if err := w.AddFrom(f, &f.Tensors[i]); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(f, &w)
	}
	path := filepath.Join(t.TempDir(), name+".gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	out, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

func none() Reading { return Reading{BOS: -1, EOS: -1, UNK: -1} }

// TestFromGGUFRefuses: what transformers would compute otherwise, and tokenizers that tokenizer.json cannot say.
func TestFromGGUFRefuses(t *testing.T) {
	str := func(key, v string) func(*gguf.File, *gguf.Writer) {
		return func(_ *gguf.File, w *gguf.Writer) { w.SetString(key, v) }
	}
	num := func(key string, x uint32) func(*gguf.File, *gguf.Writer) {
		return func(_ *gguf.File, w *gguf.Writer) { w.SetUint32(key, x) }
	}
	float := func(key string, x float32) func(*gguf.File, *gguf.Writer) {
		return func(_ *gguf.File, w *gguf.Writer) { w.SetFloat32(key, x) }
	}
	add := func(name string, n int) func(*gguf.File, *gguf.Writer) {
		return func(_ *gguf.File, w *gguf.Writer) {
			if err := w.AddFloats(name, []int64{int64(n)}, make([]float32, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := func(key string, change func([]string)) func(*gguf.File, *gguf.Writer) {
		return func(f *gguf.File, w *gguf.Writer) {
			ss, err := f.Strings(key)
			if err != nil {
				t.Fatal(err)
			}
			change(ss)
			w.SetStrings(key, ss)
		}
	}
	for name, tt := range map[string]struct {
		from   string
		change func(*gguf.File, *gguf.Writer)
		drop   string
		typ    string
		read   func(*Reading)
		want   string
	}{
		"another kind": {from: "qwen2", change: str("tokenizer.ggml.model", "t5"),
			want: `kind "t5"; known: gpt2`},
		"another cut": {from: "qwen2", change: str("tokenizer.ggml.pre", "tekken"), want: `"tekken" is not one`},
		"no cut": {from: "qwen2", change: func(_ *gguf.File, w *gguf.Writer) { w.Delete("tokenizer.ggml.pre") },
			want: `pre-tokenizer "" is`},
		"one score": {from: "llama_spm", want: "have one score, -1000"},
		"broken text": {from: "qwen2", change: list(keyTokens, func(s []string) { s[7] = "a\xff" }),
			want: `token 7, "a\xff", is not UTF-8`},
		"a token twice": {from: "qwen2", change: list(keyTokens, func(s []string) { s[7] = s[8] }),
			want: "tokens 7 and 8 are both"},
		"a merge to nothing": {from: "qwen2",
			change: list("tokenizer.ggml.merges", func(s []string) { s[1] = "zz yy" }),
			want:   `the merge "zz yy" is not one`},
		"half a merge": {from: "qwen2", change: list("tokenizer.ggml.merges", func(s []string) { s[1] = "zz" }),
			want: `the merge "zz" is not one`},
		"an id of words": {from: "qwen2", change: str("tokenizer.ggml.eos_token_id", "x"), want: "eos_token_id"},
		"an id beyond": {from: "qwen2", change: num("tokenizer.ggml.eos_token_id", 9999),
			want: "eos_token_id is 9999"},
		"a separator": {from: "qwen2", change: func(_ *gguf.File, w *gguf.Writer) {
			w.SetBool("tokenizer.ggml.add_sep_token", true)
		},
			want: "a separator between two texts"},
		"an ordinary BOS": {from: "qwen2", read: func(r *Reading) { r.BOS, r.AddBOS = 7, true },
			want: "the BOS (id 7) is put beside"},
		"half the biases": {from: "llama", change: add("blk.0.attn_q.bias", 32),
			want: "[attn_q attn_k attn_v attn_output] 1 have a bias of 8"},
		"no biases": {from: "qwen2", drop: "blk.1.attn_k.bias", want: "5 have a bias of 6"},
		"a weight less": {from: "qwen2", drop: "blk.1.ffn_up.weight",
			want: `of a Qwen2ForCausalLM are missing: blk.1.ffn_up.weight`},
		"a weight more": {from: "qwen2", change: add("blk.0.attn_sinks", 4),
			want: `1 tensors have no place in a Qwen2ForCausalLM: "blk.0.attn_sinks"`},
		"another shape": {from: "qwen2", drop: "output_norm.weight", change: add("output_norm.weight", 16),
			want: `"output_norm.weight" has shape [16], and the metadata makes it [32]`},
		"fewer angles": {from: "qwen2", change: num("qwen2.rope.dimension_count", 4),
			want: "is 4, expected the head size 8"},
		"louder angles": {from: "llama", change: float("llama.rope.scaling.attn_factor", 2),
			want: "has no place for what makes layer 0"},
		"other factors": {from: "llama", drop: "rope_freqs.weight", change: add("rope_freqs.weight", 4),
			want: "are not those of Llama 3's positions"},
		"factors and more": {from: "llama", change: func(_ *gguf.File, w *gguf.Writer) {
			w.SetString("llama.rope.scaling.type", "linear")
			w.SetFloat32("llama.rope.scaling.factor", 2)
		}, want: "has no place for what makes layer 0"},
		"a quantized type": {from: "qwen2", typ: "q8_0", want: "q8_0 cannot be written into a folder"},
		"no type":          {from: "qwen2", typ: "x", want: `"x"`},
		"sampling in words": {from: "qwen2", change: str("general.sampling.top_k", "many"),
			want: "general.sampling.top_k"},
	} {
		t.Run(name, func(t *testing.T) {
			f, r := rewritten(t, tt.from, tt.change, tt.drop), none()
			if tt.read != nil {
				tt.read(&r)
			}
			_, err := FromGGUF(f, tt.typ, r)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestFromGGUFLeavesOut: metadata without a place is named; what sampling and an older file say is carried over.
func TestFromGGUFLeavesOut(t *testing.T) {
	f := rewritten(t, "qwen2", func(_ *gguf.File, w *gguf.Writer) {
		w.SetString("general.license", "mit")
		w.SetUint32("tokenizer.ggml.eot_token_id", 319)
		w.SetString("qwen2.rope.scaling.type", "linear")
		w.Delete("qwen2.rope.scaling.factor")
		w.SetFloat32("qwen2.rope.scale_linear", 2)
		w.SetInt32("general.sampling.top_k", 20)
		w.SetFloat32("general.sampling.penalty_repeat", 1.1)
	}, "")
	m, err := FromGGUF(f, "", none())
	if err != nil {
		t.Fatal(err)
	}
	want := "qwen2.rope.scaling.original_context_length general.license tokenizer.ggml.eot_token_id " +
		"qwen2.rope.scale_linear"
	if got := strings.Join(m.LeftOut, " "); got != want {
		t.Errorf("left out %q, want %q", got, want)
	}
	for file, want := range map[string]string{configFile: `"rope_type": "linear"`,
		generationFile: `"repetition_penalty": 1.1`} {
		if !strings.Contains(string(m.texts[file]), want) {
			t.Errorf("%s lacks %s:\n%s", file, want, m.texts[file])
		}
	}
	if text := string(m.texts[generationFile]); !strings.Contains(text, `"top_k": 20`) ||
		!strings.Contains(text, `"do_sample": true`) || !strings.Contains(text, "319") {
		t.Errorf("%s lacks top_k, do_sample or the end of a turn:\n%s", generationFile, text)
	}
}

// TestSaveEveryFault: whatever fails, nothing is there, or all of it.
func TestSaveEveryFault(t *testing.T) {
	f, err := gguf.Open(recorded + "qwen3.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := 1; ; at++ {
		m, err := FromGGUF(f, "", none())
		if err != nil {
			t.Fatal(err)
		}
		parent := t.TempDir()
		fsys := faultfs.New(nil, at, faultfs.Fail, nil)
		err = m.Save(context.Background(), fsys, filepath.Join(parent, "model"), 40e3)
		if err == nil {
			if at < 20 {
				t.Errorf("only %d operations could fail", at)
			}
			return
		}
		left, readErr := os.ReadDir(parent)
		if readErr != nil {
			t.Fatal(readErr)
		}
		for _, e := range left {
			whole, err := Open(filepath.Join(parent, e.Name()))
			if err != nil && !atomicfile.IsTemp(e.Name()) {
				t.Errorf("operation %d: %s is left: %v", at, e.Name(), err)
			}
			whole.Close()
		}
	}
}

// TestSaveStops: a cancelled conversion leaves nothing.
func TestSaveStops(t *testing.T) {
	f, err := gguf.Open(recorded + "qwen3.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := FromGGUF(f, "", none())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stopped")
	cancel(stop)
	parent := t.TempDir()
	if err := m.Save(ctx, nil, filepath.Join(parent, "model"), 1e9); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}
