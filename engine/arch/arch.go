// Package arch knows, for each model architecture, its metadata keys, the exact names of its tensors and its forward
// graph. It knows no memory, no storage type and no training method.
package arch

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/internal/registry"
)

// HParams are a model's sizes, named as in llama.cpp.
type HParams struct {
	NLayer, NEmbd, NFF, NHead, NHeadKV int
	HeadDim                            int // elements of one head
	NVocab                             int
	NCtxTrain                          int // tokens
	NormEps                            float64
	Rope                               graph.Rotary // Dim is 0 where positions are learned
	RopeFactors                        bool         // the file has rope_freqs.weight
	TiedOutput                         bool         // the output head is token_embd.weight
}

// A Role is a tensor's part in its layer or in the model: its name in the file without "blk.N." and ".weight".
type Role string

const (
	TokenEmbd    Role = "token_embd"
	PositionEmbd Role = "position_embd"
	RopeFreqs    Role = "rope_freqs"
	OutputNorm   Role = "output_norm"
	Output       Role = "output"
	AttnNorm     Role = "attn_norm"
	AttnQ        Role = "attn_q"
	AttnK        Role = "attn_k"
	AttnV        Role = "attn_v"
	AttnQKV      Role = "attn_qkv"
	AttnQNorm    Role = "attn_q_norm"
	AttnKNorm    Role = "attn_k_norm"
	AttnOutput   Role = "attn_output"
	FFNNorm      Role = "ffn_norm"
	FFNGate      Role = "ffn_gate"
	FFNUp        Role = "ffn_up"
	FFNDown      Role = "ffn_down"
)

// A Part is one tensor that an architecture uses.
type Part struct {
	Role     Role
	Suffix   string // ".weight" or ".bias"
	Shape    []int64
	Optional bool
	Linear   bool // a matrix that a LoRA pair may stand beside
}

// Name gives the part's tensor name in layer il, or in the model as a whole where il is below 0.
func (p Part) Name(il int) string { return TensorName(p.Role, p.Suffix, il) }

// TensorName gives the file's name of a tensor; il below 0 means one outside the layers.
func TensorName(role Role, suffix string, il int) string {
	if il < 0 {
		return string(role) + suffix
	}
	return fmt.Sprintf("blk.%d.%s%s", il, role, suffix)
}

// An Arch is one architecture.
type Arch struct {
	Name string
	// HParams reads the sizes from the metadata and checks that nothing is asked for which the graphs below lack.
	HParams func(f *gguf.File) (HParams, error)
	// Global and Layer list the tensors outside and inside a layer.
	Global, Layer func(hp HParams) []Part
	// Embed gives the first layer's input [n_embd, T]; Block a layer's output from its input; Final the rows that the output
	// head multiplies.
	Embed func(b *Builder) graph.ID
	Block func(b *Builder, x graph.ID) graph.ID
	Final func(b *Builder, x graph.ID) graph.ID
}

var archs = registry.New[Arch]("architecture")

func register(a Arch) Arch {
	archs.Register(a.Name, a)
	return a
}

// Names lists the architectures that can be trained.
func Names() []string { return archs.Names() }

// Of returns the architecture of a model file and its sizes.
func Of(f *gguf.File) (Arch, HParams, error) {
	name, err := f.Architecture()
	if err != nil {
		return Arch{}, HParams{}, err
	}
	a, err := archs.Get(name)
	if err != nil {
		return Arch{}, HParams{}, fmt.Errorf("%s: architecture %q cannot be trained; those that can: %s", f.Path(), name, strings.Join(Names(), ", "))
	}
	hp, err := a.HParams(f)
	return a, hp, err
}
