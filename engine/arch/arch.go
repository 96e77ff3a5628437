// Package arch knows, for each model architecture, its metadata keys, the exact names of its tensors and its forward
// graph. It knows no memory, no storage type and no training method.
package arch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/internal/registry"
)

// HParams are the sizes that every model has, named as in llama.cpp. What else an architecture reads is in its layers.
type HParams struct {
	NLayer, NEmbd, NVocab int
	NCtxTrain             int // tokens
	// Positions is how many positions there are: no longer sequence can be placed. They are learned, or those of the
	// context up to which factors of frequencies are the ones for short contexts. 0: as many as one likes.
	Positions  int
	TiedOutput bool // the output head is token_embd.weight
	// LogitCap keeps logits within ±LogitCap, as LogitCap·tanh(logit/LogitCap); 0: they may be any.
	LogitCap float64
	// LogitScale is what logits are multiplied by; 0: by nothing. Not with a LogitCap.
	LogitScale float64
	TokenTypes int     // types of tokens that have a vector of their own; every token is of the first
	Pooling    Pooling // how the file says that one vector is made of a text's states; 0: it does not
}

// A Role is a tensor's part in its layer or in the model: its name in the file without "blk.N." and ".weight".
type Role string

// Roles that several architectures have, or that others ask for; one that a single architecture has may stand in its
// file.
const (
	TokenEmbd    Role = "token_embd"
	PositionEmbd Role = "position_embd"
	RopeFreqs    Role = "rope_freqs"
	RopeShort    Role = "rope_factors_short"
	RopeLong     Role = "rope_factors_long"
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
	AttnPostNorm Role = "post_attention_norm"
	AttnSinks    Role = "attn_sinks"
	FFNNorm      Role = "ffn_norm"
	FFNGate      Role = "ffn_gate"
	FFNUp        Role = "ffn_up"
	FFNDown      Role = "ffn_down"
	FFNPostNorm  Role = "post_ffw_norm"
	FFNGateInp   Role = "ffn_gate_inp"
	FFNGateExps  Role = "ffn_gate_exps"
	FFNUpExps    Role = "ffn_up_exps"
	FFNDownExps  Role = "ffn_down_exps"
	FFNGateShexp Role = "ffn_gate_shexp"
	FFNUpShexp   Role = "ffn_up_shexp"
	FFNDownShexp Role = "ffn_down_shexp"
	LayerScale   Role = "layer_output_scale"
	ConvIn       Role = "shortconv.in_proj"
	ConvTaps     Role = "shortconv.conv"
	ConvOut      Role = "shortconv.out_proj"
)

// A Part is one tensor that an architecture uses.
type Part struct {
	Role     Role
	Suffix   string // ".weight" or ".bias"
	Shape    []int64
	Optional bool
	Linear   bool // a matrix, or one of each expert, that a LoRA pair may stand beside
	// Routed says that a token meets it only by way of its experts: a matrix of each of them, or the one that chooses
	// them. It has a pair only where its role is named.
	Routed bool
	Used   int64 // of several experts' matrices: those that a token meets
	// Alone says why llama.cpp cannot run a pair beside a linear part; "": it can.
	Alone  string
	Shared bool // a table outside the layers that all of them read; never trained
	Fixed  bool // a constant of the layer's; never trained
	Taps   bool // those of convolutions, a few for each channel: no rows that multiply
	// PairedHeads is the number of heads that the rows belong to, where each head's rows are the pairs that positions
	// rotate, one behind the other, and transformers has all first halves of the pairs before the second ones; else 0.
	PairedHeads int
}

// Dims is its shape in graphs.
func (p Part) Dims() graph.Shape {
	s := graph.Matrix(1, 1)
	copy(s[:], p.Shape)
	return s
}

// Matrix says that its rows, of one matrix or of several, multiply, or are looked up.
func (p Part) Matrix() bool { return p.Suffix == ".weight" && len(p.Shape) > 1 && !p.Taps }

// Name gives the part's tensor name in layer il, or in the model as a whole where il is below 0.
func (p Part) Name(il int) string {
	if p.Shared {
		il = -1
	}
	return TensorName(p.Role, p.Suffix, il)
}

// TensorName gives the file's name of a tensor; il below 0 means one outside the layers.
func TensorName(role Role, suffix string, il int) string {
	name := string(role) + suffix
	if il < 0 {
		return name
	}
	return InLayer(il, name)
}

// InLayer gives the file's name of what layer il calls name.
func InLayer(il int, name string) string { return fmt.Sprintf("blk.%d.%s", il, name) }

// A Layer is a kind of layer: a comparable value that holds all its graph depends on but the storage types and what is
// trained. Layers of equal value share one graph. The embedding and what follows the last layer are such values too.
type Layer interface {
	// Parts lists the layer's tensors. Those of the output head belong to what follows the last layer, save a tied one.
	Parts() []Part
	// Build gives the layer's output from its input x: [n_embd, T] both. The embedding has no input; what follows the
	// last layer gives the rows that the output head multiplies.
	Build(b *Builder, x graph.ID) graph.ID
}

// A Size is a number that people want to see of a model, named as in llama.cpp.
type Size struct {
	Name string
	N    int
}

// A Net is a model as its architecture reads it.
type Net struct {
	HParams
	Arch string // the architecture's name
	// Headless says that there is no output head: it makes vectors of texts, and predicts no tokens.
	Headless bool
	Sizes    []Size // beside those of HParams
	Embed    Layer
	Layer    func(il int) Layer // il from 0 to below NLayer; a function, for a file may say that it has millions
	Final    Layer
	// OwnOrder says why the file has rows in another order than transformers, which Part.PairedHeads does not tell; "":
	// it has not.
	OwnOrder string
}

// Global lists the tensors outside the layers.
func (n *Net) Global() []Part { return append(n.Embed.Parts(), n.Final.Parts()...) }

// Linear calls f for each matrix that a LoRA pair may stand beside: those outside the layers (il −1), then layer by
// layer.
func (n *Net) Linear(f func(p Part, il int)) {
	each := func(parts []Part, il int) {
		for _, p := range parts {
			if p.Linear {
				f(p, il)
			}
		}
	}
	each(n.Global(), -1)
	for il := range n.NLayer {
		each(n.Layer(il).Parts(), il)
	}
}

// LinearRoles lists the roles of the layers' linear parts that may have a pair.
func (n *Net) LinearRoles() []Role { return n.linearRoles(func(Part) bool { return true }) }

// UsualRoles are those of LinearRoles that every token meets.
func (n *Net) UsualRoles() []Role { return n.linearRoles(func(p Part) bool { return !p.Routed }) }

func (n *Net) linearRoles(of func(Part) bool) []Role {
	var roles []Role
	seen := map[Role]bool{}
	n.Linear(func(p Part, il int) {
		if il >= 0 && !seen[p.Role] && p.Alone == "" && of(p) {
			seen[p.Role] = true
			roles = append(roles, p.Role)
		}
	})
	return roles
}

// An Arch is one architecture.
type Arch struct {
	Name string
	// Example says what generated models of the architecture have.
	Example Example
	// Read makes a model's net from its metadata, and checks that nothing is asked for which the graphs lack. Arch and
	// Headless are filled in by Of.
	Read func(f Metadata) (*Net, error)
	Hub  Hub
	// Headless is Net's.
	Headless bool
	// Newer says that the llama.cpp of the Go module does not know it, or opens no file of it: such a file is refused
	// there, and wants one that is installed.
	Newer bool
	// Ranks says that llama.cpp's graph of it has a classification head (LLAMA_POOLING_TYPE_RANK): of the tensor
	// cls.output, at the last token, with a softmax behind it.
	Ranks bool
}

// An Example says how a usual model of an architecture differs from a plain one: one with the sizes that every model
// has, an output matrix of its own, fewer key heads than heads, and no optional tensor.
type Example struct {
	Tokenizer string // tokenizer.ggml.pre of byte-level BPE; empty: SPM
	Tied      bool   // the output head is token_embd.weight
	AllHeads  bool   // every head has keys and values of its own
	WideHeads bool   // heads are larger than n_embd/n_head
	Biases    bool   // the optional biases are there
	Layers    int    // so many, for one of each kind to be among them; 0: two do
	// Rounded says that llama.cpp computes a part of it in f16 whatever the weights: it reads GELU from a table.
	Rounded bool
	// Keys are metadata below the architecture's name (int, float32, string, bool or []int32) beside those of all
	// models. []int and []bool have one for each layer, and are repeated where there are more.
	Keys map[string]any
	// QNorm is what weights of norms of queries are about, where scores are divided by nothing; 0: 1, as of other
	// norms.
	QNorm float64
	// Where names, for roles that a layer may do without, the key of bools that says which layers have their weight.
	Where map[Role]string
}

var archs = registry.New[Arch]("architecture")

func register(a Arch) Arch {
	archs.Register(a.Name, a)
	return a
}

// Names lists the architectures that can be trained.
func Names() []string { return archs.Names() }

// Predicting lists those of them that have an output head.
func Predicting() []string {
	return slices.DeleteFunc(Names(), func(name string) bool {
		a, err := Get(name)
		return err == nil && a.Headless
	})
}

// Get finds an architecture by name.
func Get(name string) (Arch, error) { return archs.Get(name) }

// Of reads a model.
func Of(f Metadata) (*Net, error) {
	name, err := f.Architecture()
	if err != nil {
		return nil, err
	}
	a, err := archs.Get(name)
	if err != nil {
		return nil, fmt.Errorf("%s: architecture %q cannot be trained; those that can: %s", f.Path(), name,
			strings.Join(Names(), ", "))
	}
	n, err := a.Read(f)
	if err != nil {
		return nil, err
	}
	n.Arch, n.Headless = name, a.Headless
	return n, nil
}

// Metadata is what an architecture asks of a model file.
type Metadata interface {
	Path() string
	Architecture() (string, error)
	// These answer a missing key with gguf.ErrNoKey.
	Int(key string) (int64, error)
	Float32(key string) (float32, error)
	Bool(key string) (bool, error)
	Ints(key string) ([]int64, error)
	Bools(key string) ([]bool, error)
	StringOr(key, missing string) (string, error)
	HasTensor(name string) bool
	Tensor(name string) (*gguf.TensorInfo, error)
}
