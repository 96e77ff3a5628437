package refmodel

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/registry"
)

// An Architecture is what the reference knows of one, in a file of its own: a second description, which shares nothing
// with the engine's.
type Architecture struct {
	Name      string
	LayerNorm bool // otherwise RMSNorm
	// NoNormBias: LayerNorm without biases.
	NoNormBias bool
	Positions  bool // learned, one vector each; otherwise rotary
	Neox       bool // the halves of a head are rotated, not adjacent elements
	Scaled     bool // embeddings are multiplied by √n_embd
	// Factors are the tensors that may divide frequencies, those in use first; nil: rope_freqs.weight.
	Factors []string
	// Both: tokens see the later ones of their segment too.
	Both bool
	// Types: every token has the vector of the first type added.
	Types bool
	// EmbedNorm: embeddings are normalised, and nothing behind the last layer.
	EmbedNorm bool
	// LastNorm is the norm behind the last layer; "": output_norm.
	LastNorm string
	// Headless: there is no output head.
	Headless bool
	// AlwaysFactors: every model has these tensors.
	AlwaysFactors bool
	// AlwaysTied: the output head is token_embd.weight in every model.
	AlwaysTied bool
	// AlwaysUntied: every model has an output matrix of its own.
	AlwaysUntied bool
	// LogitsDivided: LogitScale is what logits are divided by.
	LogitsDivided bool
	// Keys are metadata that only this one has, with where each is kept: *int or *float64, 0 for a missing key.
	Keys func(hp *HParams) map[string]any
	// Lists writes and reads metadata of one number for each layer; nil: there is none.
	Lists interface {
		write(hp HParams, set func(key string, v gguf.Value))
		read(hp *HParams, f *gguf.File) error
	}
	// Tensors lists those of layer il.
	Tensors func(hp HParams, il int) []Tensor
	// Layer gives the output of layer il.
	Layer func(p *Pass, il int, x *node) *node
	// Examples are tiny models of awkward sizes, which the engine is compared with.
	Examples []Example
}

// An Example is a model that Generate makes.
type Example struct {
	Name     string
	HParams  HParams
	Optional func(name string) bool // which optional tensors it has; nil: none
}

var archs = registry.New[Architecture]("architecture")

func register(a Architecture) Architecture { return archs.Register(a.Name, a) }

// Architectures lists those that are known.
func Architectures() []Architecture { return archs.All() }

// of is the architecture of a model that has been validated.
func (m *Model) of() Architecture {
	a, err := archs.Get(m.Arch)
	if err != nil {
		panic(err)
	}
	return a
}

// keys is Keys, of none where it has none.
func (a Architecture) keys(hp *HParams) map[string]any {
	if a.Keys == nil {
		return nil
	}
	return a.Keys(hp)
}

func (a Architecture) lastNorm() string {
	if a.LastNorm == "" {
		return "output_norm"
	}
	return a.LastNorm
}

func (a Architecture) factors() []string {
	if a.Factors == nil {
		return []string{"rope_freqs.weight"}
	}
	return a.Factors
}

// epsilonKey is the metadata key of NormEps, without the architecture's name.
func (a Architecture) epsilonKey() string {
	if a.LayerNorm {
		return "attention.layer_norm_epsilon"
	}
	return "attention.layer_norm_rms_epsilon"
}

// exampleEps is the NormEps of examples, exact in float32.
const exampleEps = 1.0 / 65536

func exampleRope(dim int, neox bool) Rope {
	return Rope{Dim: dim, Base: 10000, Scale: 1, Neox: neox, AttnFactor: 1}
}

func onlyOutput(name string) bool { return name == "output.weight" }
