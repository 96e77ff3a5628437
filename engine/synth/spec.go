// Package synth makes GGUF models of any supported architecture, shape and storage type with generated weights, which
// llama.cpp loads and runs: for tests, and for `ggtune bench --shape`. It knows the metadata keys and tensor names of
// llama.cpp; it does not know how to quantize: it writes random blocks directly.
//
// The same Spec gives the same bytes on every machine. Weights are scaled so that activations neither vanish nor explode
// over any number of layers; the models have learned nothing.
package synth

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Spec describes a model. Lengths are in elements unless said otherwise.
type Spec struct {
	Name    string // general.name; empty: the architecture's
	Arch    string // "llama", "qwen2", "qwen3" or "gpt2"
	Layers  int    // block_count
	Embd    int    // n_embd
	FF      int    // n_ff
	Heads   int    // n_head
	KVHeads int    // n_head_kv, divides Heads; 0: Heads
	HeadDim int    // elements a head; 0: Embd/Heads. llama and qwen3 only may differ from that
	Vocab   int    // tokens; at least what the tokenizer has of its own
	Ctx     int    // context_length, tokens; gpt2: rows of position_embd
	Tied    bool   // no output.weight: token_embd serves as output

	// Type is the storage type of every matrix. A matrix whose rows are not a whole number of its blocks takes llama.cpp's
	// fall-back (q4_K → q5_0, …). Mix, if its Of is set, takes the place of Type.
	Type gguf.Type
	Mix  mix.Mix

	Seed        uint64
	NormEps     float32 // 0: 1e-5
	RopeBase    float32 // 0: 10000
	RopeFactors bool    // llama only: Llama 3.1's rope_freqs.weight
	Bias        bool    // llama only: the optional biases of attention and feed-forward. qwen2 and gpt2 always have theirs

	Tokenizer    Tokenizer // zero: the architecture's usual one
	ChatTemplate string    // tokenizer.chat_template, Jinja; empty: none
}

// Archs lists the architectures.
func Archs() []string { return []string{"gpt2", "llama", "qwen2", "qwen3"} }

// Tiny is a small model of an architecture for tests: 2 layers, 4 heads, 2 KV heads (gpt2: 4), 320 tokens, context 128,
// tied for qwen2 and gpt2. Rows are 256 elements (feed-forward 512) for types with blocks of 256, else 64 (and 128).
func Tiny(arch string, t gguf.Type) Spec {
	s := Spec{Arch: arch, Layers: 2, Embd: 64, FF: 128, Heads: 4, KVHeads: 2, Vocab: 320, Ctx: 128, Type: t, Seed: 1}
	if t.BlockSize() == 256 {
		s.Embd, s.FF = 256, 512
	}
	switch arch {
	case "gpt2":
		s.KVHeads, s.Tied = 4, true
	case "qwen2":
		s.Tied = true
	case "qwen3":
		s.HeadDim = 32 // differs from Embd/Heads, as in the published models
	}
	return s
}

func (s Spec) headDim() int {
	if s.HeadDim == 0 && s.Heads > 0 {
		return s.Embd / s.Heads
	}
	return s.HeadDim
}

func (s Spec) kvHeads() int {
	if s.KVHeads == 0 {
		return s.Heads
	}
	return s.KVHeads
}

func (s Spec) normEps() float32 {
	if s.NormEps == 0 {
		return 1e-5
	}
	return s.NormEps
}

func (s Spec) ropeBase() float32 {
	if s.RopeBase == 0 {
		return 10000
	}
	return s.RopeBase
}

// Validate reports every fault of the Spec at once.
func (s Spec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(Archs(), s.Arch) {
		bad("architecture %q is unknown; known: %s", s.Arch, strings.Join(Archs(), ", "))
	}
	for _, f := range []struct {
		name string
		n    int
	}{{"layers", s.Layers}, {"embedding length", s.Embd}, {"feed-forward length", s.FF}, {"heads", s.Heads}, {"vocabulary", s.Vocab}, {"context", s.Ctx}} {
		if f.n <= 0 || f.n > 1<<24 {
			bad("%s is %d; expected 1 to %d", f.name, f.n, 1<<24)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // the checks below divide by these
	}
	d, plain := s.headDim(), s.Embd/s.Heads*s.Heads == s.Embd && s.headDim() == s.Embd/s.Heads
	switch {
	case s.kvHeads() < 0 || s.Heads%s.kvHeads() != 0:
		bad("%d KV heads do not divide %d heads", s.kvHeads(), s.Heads)
	case d <= 0 || d%2 != 0 && s.Arch != "gpt2":
		bad("head dimension is %d; expected a positive even number", d)
	case !plain && (s.Arch == "gpt2" || s.Arch == "qwen2" || s.Bias):
		bad("%d heads of %d do not make an embedding of %d, which %s without a head dimension of its own needs", s.Heads, d, s.Embd, s.Arch)
	}
	if (s.RopeFactors || s.Bias) && s.Arch != "llama" {
		bad("rope factors and optional biases exist for llama only, not %s", s.Arch)
	}
	if _, err := s.tokenizer(); err != nil {
		errs = append(errs, err)
	}
	for _, t := range s.plan() {
		if _, err := t.Type.Size(t.Shape); err != nil {
			bad("tensor %s %w", t.Name, err)
		}
		if t.Type.Known() && !holdsWeights(t.Type) {
			bad("tensor %s: storage type %s holds no weights; choose one that llama.cpp runs", t.Name, t.Type)
			break
		}
	}
	return errors.Join(errs...)
}

// Tensors lists the tensors with their roles, types and sizes, in the order in which they are written.
func (s Spec) Tensors() ([]Tensor, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	ts := s.plan()
	for i := range ts {
		ts[i].Size, _ = ts[i].Type.Size(ts[i].Shape) // Validate has tried it
	}
	return ts, nil
}

// Writer makes the model's GGUF writer, to which more can be added. Weights are generated while it writes.
func (s Spec) Writer() (*gguf.Writer, error) {
	ts, err := s.Tensors()
	if err != nil {
		return nil, fmt.Errorf("generated model: %w", err)
	}
	w := &gguf.Writer{}
	s.metadata(w)
	tok, err := s.tokenizer()
	if err != nil {
		return nil, err
	}
	tok.write(w)
	if s.ChatTemplate != "" {
		w.SetString("tokenizer.chat_template", s.ChatTemplate)
	}
	for _, t := range ts {
		if err := w.Add(t.Name, t.Type, t.Shape, t.source(s)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// WriteFile writes the model under path, atomically.
func (s Spec) WriteFile(ctx context.Context, path string) error {
	w, err := s.Writer()
	if err != nil {
		return err
	}
	return w.WriteFile(ctx, atomicfile.OS, path)
}

// TB is the part of testing.TB that Temp needs; naming it here keeps the testing package out of the binary.
type TB interface {
	Helper()
	Fatal(args ...any)
	TempDir() string
}

// Temp writes the model into a new temporary folder of the test and returns its path.
func Temp(tb TB, s Spec) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), s.Arch+".gguf")
	if err := s.WriteFile(context.Background(), path); err != nil {
		tb.Fatal(err)
	}
	return path
}

func (s Spec) metadata(w *gguf.Writer) {
	name := s.Name
	if name == "" {
		name = "generated " + s.Arch
	}
	w.SetString("general.architecture", s.Arch)
	w.SetString("general.type", "model")
	w.SetString("general.name", name)
	w.SetUint32("general.file_type", s.mix().FileType)
	w.SetUint32("general.quantization_version", 2) // GGML_QNT_VERSION
	u32 := func(key string, x int) { w.SetUint32(s.Arch+"."+key, uint32(x)) }
	u32("context_length", s.Ctx)
	u32("embedding_length", s.Embd)
	u32("block_count", s.Layers)
	u32("feed_forward_length", s.FF)
	u32("attention.head_count", s.Heads)
	u32("attention.head_count_kv", s.kvHeads())
	u32("vocab_size", s.Vocab)
	if s.Arch == "gpt2" {
		w.SetFloat32("gpt2.attention.layer_norm_epsilon", s.normEps())
		return
	}
	w.SetFloat32(s.Arch+".attention.layer_norm_rms_epsilon", s.normEps())
	w.SetFloat32(s.Arch+".rope.freq_base", s.ropeBase())
	u32("rope.dimension_count", s.headDim())
	u32("attention.key_length", s.headDim())
	u32("attention.value_length", s.headDim())
}

// mix says which storage type each matrix has.
func (s Spec) mix() mix.Mix {
	if s.Mix.Of != nil {
		return s.Mix
	}
	return mix.Single(s.Type)
}
