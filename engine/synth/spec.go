// Package synth makes GGUF models of any supported architecture, shape and storage type with generated weights, which
// llama.cpp loads and runs: for tests, and for `ggtune bench --shape`. Which tensors a model has it asks the
// architecture; it does not know how to quantize: it writes random blocks directly.
//
// The same Spec gives the same bytes on every machine. Weights are scaled so that activations neither vanish nor
// explode over any number of layers; the models have learned nothing.
package synth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Spec describes a model. Lengths are in elements unless said otherwise.
type Spec struct {
	Name    string // general.name; empty: the architecture's
	Arch    string // one of arch.Names
	Layers  int    // block_count
	Embd    int    // n_embd
	FF      int    // n_ff
	Heads   int    // n_head
	KVHeads int    // n_head_kv, divides Heads; 0: Heads
	HeadDim int    // elements a head; 0: Embd/Heads. Where q has a bias it is that
	Vocab   int    // tokens; at least what the tokenizer has of its own
	Ctx     int    // context_length, tokens; learned positions
	Tied    bool   // no output.weight: token_embd serves as output

	// Type is the storage type of every matrix. A matrix whose rows are not a whole number of its blocks takes
	// llama.cpp's fall-back (q4_K → q5_0, …). Mix, if its Of is set, takes the place of Type.
	Type gguf.Type
	Mix  mix.Mix

	Seed        uint64
	NormEps     float32 // 0: 1e-5
	RopeBase    float32 // 0: 10000
	RopeFactors bool    // Llama 3.1's rope_freqs.weight
	// Keys take the place of the architecture's own metadata (arch.Example), or say how positions are stretched
	// (rope.scaling.…). Their types are those of Example.Keys.
	Keys map[string]any
	Bias bool // the optional biases, which llama has; those of qwen2 and gpt2 are always there

	Tokenizer    Tokenizer // zero: the architecture's usual one
	ChatTemplate string    // tokenizer.chat_template, Jinja; empty: none
}

// Tiny is a small model of an architecture for tests: 2 layers (more, where the kinds of layer are more), 4 heads, 2 KV
// heads, 320 tokens, context 128, and what else is usual there (arch.Example). Rows are 256 elements (feed-forward 512)
// for types with blocks of 256, else 64 (and 128).
func Tiny(name string, t gguf.Type) Spec {
	s := Spec{Arch: name, Layers: 2, Embd: 64, FF: 128, Heads: 4, KVHeads: 2, Vocab: 320, Ctx: 128, Type: t, Seed: 1}
	if t.BlockSize() == 256 {
		s.Embd, s.FF = 256, 512
	}
	a, err := arch.Get(name)
	if err != nil {
		return s // Validate says so
	}
	s.Tied = a.Example.Tied
	if a.Example.AllHeads {
		s.KVHeads = s.Heads
	}
	if a.Example.Layers > 0 {
		s.Layers = a.Example.Layers
	}
	if a.Example.WideHeads {
		s.HeadDim = 32
	}
	return s
}

// AllExperts is the same model but that a token has all experts of each layer: where two compute with numbers that they
// round differently, they differ in no choice then.
func (s Spec) AllExperts() Spec {
	a, err := arch.Get(s.Arch)
	if err != nil {
		return s // Validate says so
	}
	keys := map[string]any{}
	maps.Copy(keys, a.Example.Keys)
	maps.Copy(keys, s.Keys)
	if n, ok := keys["expert_count"]; ok {
		keys["expert_used_count"] = n
		s.Keys = keys
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
	_, err := s.model()
	return err
}

// A model is what a Spec makes.
type model struct {
	keys    []key
	tok     *vocabulary
	tensors []Tensor
}

// model decides all that the file will hold.
func (s Spec) model() (*model, error) {
	a, err := arch.Get(s.Arch)
	errs := []error{err}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range []struct {
		name string
		n    int
	}{{"layers", s.Layers}, {"embedding length", s.Embd}, {"feed-forward length", s.FF}, {"heads",
		s.Heads}, {"vocabulary", s.Vocab}, {"context", s.Ctx}} {
		if f.n <= 0 || f.n > 1<<24 {
			bad("%s is %d; expected 1 to %d", f.name, f.n, 1<<24)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err // what follows divides by these
	}
	for name := range s.Keys {
		if _, ok := a.Example.Keys[name]; !ok && !scales(name) {
			bad("metadata key %q is none that %s has of its own", name, s.Arch)
		}
	}
	if n := s.kvHeads(); n < 0 || s.Heads%n != 0 {
		bad("%d KV heads do not divide %d heads", n, s.Heads)
	}
	if d := s.headDim(); d <= 0 {
		bad("head dimension is %d; expected a positive number", d)
	}
	var m model
	if m.tok, err = s.tokenizer(); err != nil {
		errs = append(errs, err)
	}
	net, keys, err := s.read(a)
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	m.keys, m.tensors = keys, s.list(a, net)
	return &m, errors.Join(append(errs, s.checkParts(m.tensors, a.Example.WideHeads), checkTypes(m.tensors))...)
}

// checkParts finds what was asked for and is not there.
func (s Spec) checkParts(ts []Tensor, wide bool) error {
	var errs []error
	has := func(ok func(arch.Part) bool) bool {
		return slices.ContainsFunc(ts, func(t Tensor) bool { return ok(t.Part) })
	}
	if s.RopeFactors && !has(func(p arch.Part) bool { return p.Role == arch.RopeFreqs }) {
		errs = append(errs, fmt.Errorf("rope factors do not exist for %s", s.Arch))
	}
	if s.Bias && !has(func(p arch.Part) bool { return p.Optional && p.Suffix == ".bias" }) {
		errs = append(errs, fmt.Errorf("optional biases do not exist for %s", s.Arch))
	}
	// llama.cpp expects n_embd elements in the bias of q (create_tensor calls of llama-model.cpp), but where heads are
	// usually wider.
	biased := !wide && has(func(p arch.Part) bool {
		return p.Suffix == ".bias" && (p.Role == arch.AttnQ || p.Role == arch.AttnQKV)
	})
	if d := s.headDim(); biased && d*s.Heads != s.Embd {
		errs = append(errs,
			fmt.Errorf("%d heads of %d do not make an embedding of %d, which a bias of q needs", s.Heads, d,
				s.Embd))
	}
	return errors.Join(errs...)
}

// checkTypes finds tensors that their storage type cannot hold.
func checkTypes(ts []Tensor) error {
	var errs []error
	for i := range ts {
		t := &ts[i]
		var err error
		if t.Size, err = t.Type.Size(t.Shape); err != nil {
			errs = append(errs, fmt.Errorf("tensor %s %w", t.Name, err))
		}
		if t.Type.Known() && !HoldsWeights(t.Type) {
			errs = append(errs,
				fmt.Errorf("tensor %s: storage type %s holds no weights; choose one that llama.cpp runs",
					t.Name, t.Type))
			break
		}
	}
	return errors.Join(errs...)
}

// Tensors lists the tensors with their parts, types and sizes, in the order in which they are written.
func (s Spec) Tensors() ([]Tensor, error) {
	m, err := s.model()
	if err != nil {
		return nil, err
	}
	return m.tensors, nil
}

// Writer makes the model's GGUF writer, to which more can be added. Weights are generated while it writes.
func (s Spec) Writer() (*gguf.Writer, error) {
	m, err := s.model()
	if err != nil {
		return nil, fmt.Errorf("generated model: %w", err)
	}
	w := &gguf.Writer{}
	s.metadata(w, m.keys)
	m.tok.write(w)
	if s.ChatTemplate != "" {
		w.SetString("tokenizer.chat_template", s.ChatTemplate)
	}
	for _, t := range m.tensors {
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

// mix says which storage type each matrix has.
func (s Spec) mix() mix.Mix {
	if s.Mix.Of != nil {
		return s.Mix
	}
	return mix.Single(s.Type)
}
