package merge

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// quantized writes a model in another type.
func quantized(t *testing.T, path, typ string) string {
	t.Helper()
	to, err := mix.ToWrite(typ)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	plan, err := quant.NewPlan(f, quant.Choice{Mix: to})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "quantized.gguf")
	if _, err := quant.Write(t.Context(), plan, quant.FileRows(f), out, quant.Output{}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFrom: what an adapter adds to is the original's, quantized once to the base's types; what it does not touch are
// the base's bytes.
func TestFrom(t *testing.T) {
	full := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	base := quantized(t, full, "q8_0")
	cfg := Config{Model: base, From: full, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
		Adapters: []Adapter{{lora(t, base, 1, []string{"attn_q", "ffn_down"}, nil), 1}}}
	r, err := Merge(t.Context(), cfg, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if *r.From != full || r.Merged != 4 {
		t.Errorf("got %+v", r)
	}
	orig, was, is := open(t, full), open(t, base), open(t, cfg.Output)
	for i := range was.Tensors {
		name := was.Tensors[i].Name
		_, want, info := numbers(t, was, name)
		if strings.Contains(name, "attn_q.") || strings.Contains(name, "ffn_down.") {
			x, _, _ := numbers(t, orig, name)
			if want, err = ggml.Quantize(ggml.Q8_0, expected(t, x, info, base, cfg.Adapters),
				info.Shape[0]); err != nil {
				t.Fatal(err)
			}
		}
		if _, got, now := numbers(t, is, name); now.Type != info.Type || !near(now.Type, got, want) {
			t.Errorf("%s is not the original's sum in the base's type", name)
		}
	}
	// In full precision, from a quantized base.
	cfg.Type, cfg.Output = "f32", filepath.Join(t.TempDir(), "f.gguf")
	if _, err := Merge(t.Context(), cfg, report.Silent{}); err != nil {
		t.Fatal(err)
	}
	is = open(t, cfg.Output)
	_, want, _ := numbers(t, orig, "blk.0.attn_k.weight")
	if _, got, _ := numbers(t, is, "blk.0.attn_k.weight"); !bytes.Equal(got, want) {
		t.Error("a tensor that is not adapted is not the original's")
	}
}

// TestFromRefuses: a file that the base was not made from.
func TestFromRefuses(t *testing.T) {
	base := synth.Temp(t, synth.Tiny("llama", gguf.Q8_0))
	path := lora(t, base, 1, nil, nil)
	other, wide := synth.Tiny("llama", gguf.F32), synth.Tiny("llama", gguf.F32)
	other.Seed, wide.FF = 2, 256
	for name, tc := range map[string]struct{ from, want string }{
		"other weights": {synth.Temp(t, other), "it is another model's"},
		"other shapes":  {synth.Temp(t, wide), "it has no tensor"},
		"architecture":  {synth.Temp(t, synth.Tiny("qwen2", gguf.F32)), `"qwen2", and the base is "llama"`},
		"no file":       {"nothing.gguf", "nothing.gguf"},
		"an adapter":    {path, "adapter"},
		"quantized":     {base, `"token_embd.weight" is storage type q8_0, quantized already: merging`},
	} {
		out := filepath.Join(t.TempDir(), "m.gguf")
		_, err := Merge(t.Context(), Config{Model: base, From: tc.from, Output: out, Threads: 1,
			Adapters: []Adapter{{path, 1}}}, report.Silent{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
		nothingLeft(t, filepath.Dir(out))
	}
}

// TestTemplate: a base model becomes one that converses, and that ends its turns.
func TestTemplate(t *testing.T) {
	for _, tc := range []struct {
		tokenizer synth.Tokenizer
		eos, note string
	}{{synth.Qwen2, "<|im_end|>", ""}, {synth.SPM, "</s>", "chatml ends no turn with a token by which"}} {
		spec := synth.Tiny("llama", gguf.F32)
		spec.Tokenizer = tc.tokenizer
		model := synth.Temp(t, spec)
		cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
			Adapters: []Adapter{{lora(t, model, 1, []string{"attn_q"}, func(a *adapter.Adapter) {
				a.Info = map[string]string{"template": "chatml"}
			}), 1}}}
		var told said
		if _, err := Merge(t.Context(), cfg, &told); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(told, "\n"); !strings.Contains(text, "--set-template chatml writes it") {
			t.Errorf("the template that the adapter was trained with is not told of: %q", text)
		}
		cfg.Template, cfg.Output, told = "chatml", filepath.Join(t.TempDir(), "c.gguf"), nil
		r, err := Merge(t.Context(), cfg, &told)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(told, "\n")
		if !strings.Contains(text, tc.note) || tc.note == "" && text != "" || *r.Template != "chatml" {
			t.Errorf("%s: told %q, of template %v", tc.tokenizer, text, r.Template)
		}
		if source, err := open(t, cfg.Output).String("tokenizer.chat_template"); err != nil ||
			!strings.Contains(source, "<|im_start|>") {
			t.Errorf("%s: the file's template is %q, %v", tc.tokenizer, source, err)
		}
		v, err := llama.LoadVocab(cfg.Output)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Piece(v.EOS(), true); err != nil || got != tc.eos {
			t.Errorf("%s: a text ends with %q (%v), want %q", tc.tokenizer, got, err, tc.eos)
		}
		v.Close()
	}
}
