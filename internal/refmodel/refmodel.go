// Package refmodel knows whole language models, forward and backward, as plain loops over float64: the yardstick that
// the engine is held against. It shares no graph, kernel, name table or arithmetic with the engine and knows nothing of
// speed, storage types or training.
//
// What it computes is stated by llama.cpp's
// src/models/{llama,qwen2,qwen3,gpt2,gemma2-iswa,gemma3,gemma4,phi3,mistral3,lfm2}.cpp; that it computes it rightly is
// shown by finite differences over every parameter and by recordings of PyTorch's transformers (testdata/torch).
package refmodel

import (
	"fmt"
	"maps"
	"slices"
)

// A Matrix holds Rows rows of Cols numbers, row after row. A GGUF tensor of shape [ne0, ne1] is a Matrix of ne1 rows
// and ne0 columns; a vector is one row.
type Matrix struct {
	Rows, Cols int
	Data       []float64
}

// NewMatrix gives a Matrix of zeros.
func NewMatrix(rows, cols int) *Matrix {
	return &Matrix{Rows: rows, Cols: cols, Data: make([]float64, rows*cols)}
}

// Row gives row i, sharing memory.
func (m *Matrix) Row(i int) []float64 { return m.Data[i*m.Cols : (i+1)*m.Cols] }

// HParams are a model's sizes and constants, named as in llama.cpp.
type HParams struct {
	NLayer, NEmbd, NFF, NHead, NHeadKV int
	HeadDim                            int // elements of one head
	NVocab                             int
	NTypes                             int     // of tokens; every one is of the first
	NCtxTrain                          int     // tokens; learned positions
	NormEps                            float64 // added to the variance (LayerNorm) or to the mean square
	Rope                               Rope    // unused where positions are learned
	Window                             int     // positions that a token of some layers sees, its own too; 0: all before
	AttnCap, LogitCap                  float64 // what scores and logits stay within; 0: any
	NExpert, NExpertUsed               int     // experts of a layer, and how many of them a token has; 0: none
	NFFExp, NFFShared                  int     // n_ff of an expert, if not NFF, and of what all tokens have beside it
	NDense                             int     // elements between two matrices behind the pooling; 0: there are none
	// What embeddings, scores (in the place of 1/√HeadDim), each half of a layer and logits are multiplied by; 0: by
	// nothing of their own.
	EmbdScale, AttnScale, Residual, LogitScale float64
	NoRope                                     bool // of a layer: positions are not looked at
	// Period: of so many layers the last sees everything, and the others a window, or convolve; 0: as the architecture
	// has it.
	Period int
	LCache int  // taps of convolutions
	Near   Near // where layers that see a window have heads of their own
}

// A Near is what heads are in layers that see a window.
type Near struct {
	NHeadKV, HeadDim int
	Base             float64 // of their rotary positions, which turn all of a head
}

// A Pair is a LoRA pair beside the weight W [N rows, K columns] of a linear layer: y = W x + Scale·B(A x), with A of r
// rows and K columns, B of N rows and r columns.
//
// Beside token_embd.weight [n_vocab, n_embd] the pair is stored flipped, as llama.cpp's build_inp_embd reads it: A has
// n_vocab rows of r columns and is indexed by token, B has n_embd rows of r columns. Beside the matrices of experts A
// and B hold a matrix of each, one behind the other.
type Pair struct {
	A, B  *Matrix
	Scale float64 // alpha / r
}

// A Model is the weights of one model, by GGUF tensor name, and the LoRA pairs, by the name of the weight they stand
// beside. It is not changed by Forward, and is safe for concurrent use as long as nobody writes to its matrices.
type Model struct {
	Arch string // one of Architectures
	HParams
	Weights map[string]*Matrix
	LoRA    map[string]Pair
	Value   *Matrix // a head of one row, n_embd columns, on the state after the output norm; nil: none
}

// A Segment is one run of tokens in a row's tree: its tokens see the earlier ones of the segment and all of its
// ancestors'.
type Segment struct {
	Start, Len int
	Parent     int // index of an earlier segment, or -1
}

// A Row is one packed sequence of tokens.
type Row struct {
	Tokens   []int32
	Segments []Segment // in order, covering Tokens
	Counted  []int32   // indices of the tokens whose log-probability is asked for
	Valued   []int32   // indices of the tokens whose value is asked for
	Pooled   []int32   // segments whose text's vector is asked for: its ancestors' tokens and its own
	Pooling  string    // which of their states the vector is: "mean", "cls" (the first) or "last"
	Temp     float64   // what logits are divided by before the softmax; 0 stands for 1
}

// Chain makes a row of one segment with the tokens named by counted.
func Chain(tokens, counted []int32) Row {
	return Row{Tokens: tokens, Counted: counted, Segments: []Segment{{0, len(tokens), -1}}}
}

// A Tensor is the name and size of one tensor of a model.
type Tensor struct {
	Name       string
	Rows, Cols int
	Optional   bool
	Linear     bool // a matrix that a LoRA pair may stand beside
	Experts    int  // the rows are those of so many experts, one behind the other; 0: of none
}

// Tensors lists the tensors of an architecture with the given sizes, in an order that never changes.
func Tensors(arch string, hp HParams) ([]Tensor, error) {
	a, err := archs.Get(arch)
	if err != nil {
		return nil, err
	}
	list := []Tensor{{Name: "token_embd.weight", Rows: hp.NVocab, Cols: hp.NEmbd, Linear: true}}
	if a.Positions {
		list = append(list, Tensor{Name: "position_embd.weight", Rows: hp.NCtxTrain, Cols: hp.NEmbd})
	}
	if a.Types {
		list = append(list, Tensor{Name: "token_types.weight", Rows: hp.NTypes, Cols: hp.NEmbd})
	}
	last := a.lastNorm()
	if a.EmbedNorm {
		last = "token_embd_norm"
	}
	for il := range hp.NLayer {
		list = append(list, a.Tensors(hp, il)...)
	}
	list = append(list, Tensor{Name: last + ".weight", Rows: 1, Cols: hp.NEmbd})
	if a.LayerNorm && !a.NoNormBias {
		list = append(list, Tensor{Name: last + ".bias", Rows: 1, Cols: hp.NEmbd})
	}
	if hp.NDense > 0 {
		list = append(list, Tensor{Name: "dense_2.weight", Rows: hp.NDense, Cols: hp.NEmbd},
			Tensor{Name: "dense_3.weight", Rows: hp.NEmbd, Cols: hp.NDense})
	}
	if !a.Positions {
		for _, name := range a.factors() {
			list = append(list, Tensor{Name: name, Rows: 1, Cols: hp.Rope.Dim / 2, Optional: !a.AlwaysFactors})
		}
	}
	if a.AlwaysTied || a.Headless {
		return list, nil
	}
	return append(list, Tensor{Name: "output.weight", Rows: hp.NVocab, Cols: hp.NEmbd, Optional: !a.AlwaysUntied,
		Linear: true}), nil
}

func tensorName(il int, role, suffix string) string {
	return fmt.Sprintf("blk.%d.%s.%s", il, role, suffix)
}

// PairShapes gives the sizes of A and B beside a weight: rows and columns of each.
func PairShapes(t Tensor, rank int) (aRows, aCols, bRows, bCols int) {
	if t.Name == "token_embd.weight" {
		return t.Rows, rank, t.Cols, rank
	}
	return max(t.Experts, 1) * rank, t.Cols, t.Rows, rank
}

// untied says that token_embd is no output head.
func (m *Model) untied() bool { return m.Weights["output.weight"] != nil || m.of().Headless }

// Validate checks that every tensor is there, known, and of the size that the architecture asks for.
func (m *Model) Validate() error {
	list, err := Tensors(m.Arch, m.HParams)
	if err != nil {
		return err
	}
	if m.Value != nil && (m.Value.Rows != 1 || m.Value.Cols != m.NEmbd) {
		return fmt.Errorf("%s model: the head of values has %d rows and %d columns, expected 1 and %d", m.Arch,
			m.Value.Rows, m.Value.Cols, m.NEmbd)
	}
	known := map[string]Tensor{}
	for _, t := range list {
		known[t.Name] = t
		w, ok := m.Weights[t.Name]
		if !ok && !t.Optional {
			return fmt.Errorf("%s model: tensor %q is missing", m.Arch, t.Name)
		}
		if ok && (w.Rows != t.Rows || w.Cols != t.Cols || len(w.Data) != t.Rows*t.Cols) {
			return fmt.Errorf("%s model: tensor %q has %d rows and %d columns, expected %d and %d", m.Arch, t.Name,
				w.Rows, w.Cols, t.Rows, t.Cols)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Weights)) {
		if _, ok := known[name]; !ok {
			return fmt.Errorf("%s model: tensor %q is not used by the architecture", m.Arch, name)
		}
	}
	untied := m.untied()
	for _, name := range slices.Sorted(maps.Keys(m.LoRA)) {
		p, t := m.LoRA[name], known[name]
		if !t.Linear {
			return fmt.Errorf("%s model: LoRA pair beside %q, which is not a linear weight", m.Arch, name)
		}
		if !untied && (name == "token_embd.weight" || name == "output.weight") {
			return fmt.Errorf("%s model: LoRA pair beside %q of a model with tied embeddings", m.Arch, name)
		}
		ar, ac, br, bc := PairShapes(t, p.B.Cols)
		if p.A.Rows != ar || p.A.Cols != ac || p.B.Rows != br || p.B.Cols != bc {
			return fmt.Errorf("%s model: LoRA pair beside %q has A %dx%d and B %dx%d, expected %dx%d and %dx%d",
				m.Arch, name, p.A.Rows, p.A.Cols, p.B.Rows, p.B.Cols, ar, ac, br, bc)
		}
	}
	return nil
}
