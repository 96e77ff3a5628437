package llama_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/testdata"
)

// rewrite copies a GGUF file's metadata and, if tensors is true, tensors, after change, and returns the copy's name.
func rewrite(t *testing.T, path string, tensors bool, change func(*gguf.File, *gguf.Writer)) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	if change != nil {
		change(f, &w)
	}
	if tensors {
		for i := range f.Tensors {
			info := &f.Tensors[i]
			data, err := f.Data(info)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.AddBytes(info.Name, info.Type, info.Shape, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	return writeFile(t, &w)
}

func writeFile(t *testing.T, w *gguf.Writer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.gguf")
	if err := w.WriteFile(t.Context(), atomicfile.OS, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func strs(t *testing.T, f *gguf.File, key string) []string {
	t.Helper()
	s, err := f.Strings(key)
	if err != nil {
		t.Fatal(err)
	}
	return append([]string(nil), s...)
}

// What llama.cpp takes on trust, asserts or throws for, in a file's tokenizer.
func TestHostileTokenizers(t *testing.T) {
	const (
		tokens = "tokenizer.ggml.tokens"
		scores = "tokenizer.ggml.scores"
		types  = "tokenizer.ggml.token_type"
	)
	bpe := synth.Temp(t, synth.Tiny("gpt2", gguf.F32))
	spm := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	unigram := synth.Tiny("bert", gguf.F32)
	unigram.Tokenizer = synth.Unigram
	ugm := synth.Temp(t, unigram)
	for _, c := range []struct {
		name, base string
		change     func(*gguf.File, *gguf.Writer)
		says       string
		code       bindings.Code
	}{
		{"scores too short", spm,
			func(_ *gguf.File, w *gguf.Writer) { w.Set(scores, gguf.NumbersValue([]float32{1, 2})) }, "2 entries",
			bindings.Invalid},
		{"scores of another type", spm, func(_ *gguf.File, w *gguf.Writer) { w.SetFloat32(scores, 1) },
			"not an array of float32", bindings.Invalid},
		{"types too short", bpe, func(_ *gguf.File, w *gguf.Writer) { w.Set(types, gguf.NumbersValue([]int32{1})) },
			"1 entries", bindings.Invalid},
		{"types as text", bpe, func(_ *gguf.File, w *gguf.Writer) { w.SetStrings(types, []string{"a"}) },
			"not an array of int32", bindings.Invalid},
		{"no tokens", bpe, func(_ *gguf.File, w *gguf.Writer) { w.Delete(tokens) }, "0 tokens", bindings.Invalid},
		{"tokens as one text", bpe, func(_ *gguf.File, w *gguf.Writer) { w.SetString(tokens, "a b c") },
			"not an array of strings", bindings.Invalid},
		{"a token twice", bpe, func(f *gguf.File, w *gguf.Writer) {
			list := strs(t, f, tokens)
			list[10] = list[11]
			w.SetStrings(tokens, list)
		}, "internal check", bindings.Assertion},
		{"merges as numbers", bpe, func(_ *gguf.File, w *gguf.Writer) {
			w.Set("tokenizer.ggml.merges", gguf.NumbersValue([]int32{1}))
		}, "not an array of strings", bindings.Invalid},
		{"no merges", bpe, func(_ *gguf.File, w *gguf.Writer) { w.Delete("tokenizer.ggml.merges") }, "merges",
			bindings.Failed},
		{"replaced characters that lead nowhere", ugm, func(_ *gguf.File, w *gguf.Writer) {
			w.Set("tokenizer.ggml.precompiled_charsmap", gguf.NumbersValue([]uint8{4, 0, 0, 0, 255, 255, 255, 255, 0}))
		}, "out of array bounds", bindings.Failed},
		{"an unknown tokenizer", bpe,
			func(_ *gguf.File, w *gguf.Writer) { w.SetString("tokenizer.ggml.model", "abacus") }, "abacus",
			bindings.Failed},
		{"the model's kind as a number", bpe,
			func(_ *gguf.File, w *gguf.Writer) { w.SetUint32("tokenizer.ggml.model", 1) }, "tokenizer.ggml.model",
			bindings.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := llama.LoadVocab(rewrite(t, c.base, false, c.change))
			if err == nil {
				v.Close()
				t.Fatal("no error")
			}
			var e *bindings.Error
			if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Message, c.says) {
				t.Errorf("got %v, want one of code %d that says %q", err, c.code, c.says)
			}
			t.Log(err)
		})
	}
	t.Run("an unknown architecture", func(t *testing.T) {
		v, err := llama.LoadVocab(rewrite(t, bpe, false,
			func(_ *gguf.File, w *gguf.Writer) { w.SetString("general.architecture", "abacus") }))
		if !errors.Is(err, llama.ErrUnknownArch) || !strings.Contains(err.Error(), `"abacus"`) {
			v.Close()
			t.Errorf("got %v, want one that matches %q and says \"abacus\"", err, llama.ErrUnknownArch)
		}
	})
	t.Run("special tokens out of range", func(t *testing.T) {
		change := func(list ...string) string {
			return rewrite(t, bpe, false, func(_ *gguf.File, w *gguf.Writer) {
				w.SetStrings(tokens, list)
				w.Set(types, gguf.NumbersValue(slices.Repeat([]int32{1}, len(list))))
				w.SetUint32("tokenizer.ggml.bos_token_id", 1<<30)
				w.SetUint32("tokenizer.ggml.eos_token_id", uint32(len(list)))
				w.SetBool("tokenizer.ggml.add_bos_token", true)
			})
		}
		// llama.cpp's own choice, 11, is none of these
		if v, err := llama.LoadVocab(change("a", "b", "ab")); err == nil ||
			!strings.Contains(err.Error(), "at least 12") {
			v.Close()
			t.Errorf("a vocabulary of 3: got error %v, want one that says how many there must be", err)
		}
		v, err := llama.LoadVocab(change("a", "b", "ab", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11"))
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		for name, id := range map[string]int32{"BOS": v.BOS(), "EOS": v.EOS(), "EOT": v.EOT(), "UNK": v.UNK(),
			"PAD": v.PAD()} {
			if id < -1 || id >= int32(v.N()) {
				t.Errorf("%s is %d of %d tokens", name, id, v.N())
			}
		}
		if len(v.Warnings()) == 0 {
			t.Error("llama.cpp's warnings are lost")
		}
		// byte-level BPE without all bytes: llama.cpp drops what it lacks
		if ids, err := v.Encode("ab", false, true); err != nil || len(ids) == 0 {
			t.Errorf("got %v, %v", ids, err)
		}
		var u *llama.UnencodableError
		if ids, err := v.Encode("abcab", false, true); !errors.As(err, &u) || *u != (llama.UnencodableError{2, "c"}) {
			t.Errorf("a character without a token: got %v, %v; want an UnencodableError at 2", ids, err)
		}
	})
}

// Hyper-parameters that do not fit the tensors, each of another kind: llama.cpp throws, logs, or asserts while it
// computes.
func TestHostileHyperParameters(t *testing.T) {
	for _, c := range []struct {
		arch, key string
		value     uint32
	}{
		{"llama", "block_count", 0},
		{"llama", "embedding_length", 63},
		{"llama", "attention.head_count", 0},
		{"llama", "attention.head_count_kv", 1 << 31},
		{"llama", "rope.dimension_count", 7},
		{"qwen2", "attention.head_count", 3},
		{"gpt2", "attention.key_length", 7},
		{"gpt2", "vocab_size", 1<<32 - 1},
	} {
		path := rewrite(t, synth.Temp(t, synth.Tiny(c.arch, gguf.F32)), true, func(_ *gguf.File, w *gguf.Writer) {
			w.SetUint32(c.arch+"."+c.key, c.value)
		})
		err := func() error {
			m, err := llama.OpenModel(path, llama.VerifyModelOptions())
			if err != nil {
				return err
			}
			defer m.Close()
			ctx, err := m.NewContext(llama.VerifyContextOptions(32, 1))
			if err != nil {
				return err
			}
			defer ctx.Close()
			_, err = ctx.Logits(t.Context(), []int32{1, 2, 3}, nil)
			return err
		}()
		if err == nil && c.key != "vocab_size" { // the length of the token list is what counts
			t.Errorf("%s %s %d: no error", c.arch, c.key, c.value)
		}
	}
}

// The matcher of std::regex calls itself for each character: on an ordinary stack this text ends the process.
func TestEncodeLongRuns(t *testing.T) {
	const n = 100_000
	for name, chars := range map[string][]string{"rebuilt-qwen2.5.gguf": {"a", " "},
		"ggml-vocab-deepseek-coder.gguf": {"é"}} {
		v := loadVocab(t, "tokenizers", name)
		for _, s := range chars {
			text := strings.Repeat(s, n)
			ids, err := v.Encode(text, false, false)
			if err != nil {
				t.Errorf("%s: %q %d times: %v", name, s, n, err)
				continue
			}
			if back, err := v.Decode(ids, false); err != nil || back != text {
				t.Errorf("%s: %q %d times: came back as %d bytes, %v", name, s, n, len(back), err)
			}
		}
	}
}

// The log of ggml and llama.cpp goes to our ring.
func TestLog(t *testing.T) {
	since := bindings.LogNext()
	path := testdata.Path(t, "models", "stories260K", "stories260K-f32.gguf")
	v, err := llama.LoadVocab(path)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	lines := bindings.Log(since)
	if len(lines) < 10 {
		t.Fatalf("loading a vocabulary logged %d lines, want at least 10", len(lines))
	}
	found := false
	for i, l := range lines {
		if i > 0 && l.Serial != lines[i-1].Serial+1 {
			t.Errorf("line %d follows line %d", l.Serial, lines[i-1].Serial)
		}
		if strings.Contains(l.Text, "\n") {
			t.Errorf("line %d holds a line break: %q", l.Serial, l.Text)
		}
		found = found || strings.Contains(l.Text, "general.architecture")
	}
	if !found {
		t.Error("no line names the metadata")
	}
	for range 40 { // until the ring has gone round
		if v, err := llama.LoadVocab(path); err != nil {
			t.Fatal(err)
		} else {
			v.Close()
		}
	}
	if n := len(bindings.Log(0)); n < 200 || n > 300 {
		t.Errorf("%d lines are kept, want about 256", n)
	}
}

// Handles that nobody closes are freed by the collector, children and parents in any order.
func TestUnclosedHandles(t *testing.T) {
	path := testdata.Path(t, "models", "stories260K", "stories260K-f32.gguf")
	for range 3 {
		m, err := llama.OpenModel(path, llama.VerifyModelOptions())
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.NewContext(llama.VerifyContextOptions(16, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Decode(t.Context(), []int32{1, 2}); err != nil {
			t.Fatal(err)
		}
		if _, err := llama.NewSampler(llama.Greedy()); err != nil {
			t.Fatal(err)
		}
		if _, err := llama.LoadVocab(path); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		runtime.GC()
	}
}
