package synth

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant/mix"
)

// Roles of matrices. Vectors have the role "vector".
const (
	TokenEmbd    = "token_embd"
	PositionEmbd = "position_embd"
	Output       = "output"
	AttnQ        = "attn_q"
	AttnK        = "attn_k"
	AttnV        = "attn_v"
	AttnQKV      = "attn_qkv"
	AttnOutput   = "attn_output"
	FFNGate      = "ffn_gate"
	FFNUp        = "ffn_up"
	FFNDown      = "ffn_down"
	Vector       = "vector"
)

// A Tensor is one tensor of a generated model.
type Tensor struct {
	gguf.TensorInfo         // Offset is not set
	Role            string  // one of the constants above
	Layer           int     // -1 outside the layers
	matrix          bool    // its type is the mix's
	mean, std       float64 // of its elements
	values          []float32
}

// plan lists all tensors, with types that fit their rows where there is a fall-back.
func (s Spec) plan() []Tensor {
	p := &planner{s: s}
	// Embedding and output rows have deviation 2/√n_embd: logits of normalized activations then have deviation about 2, tied
	// or not. The first norm brings the embedding to size.
	embdStd := 2 / math.Sqrt(float64(s.Embd))
	p.matrix(TokenEmbd, -1, s.Embd, s.Vocab, embdStd)
	if s.Arch == "gpt2" {
		p.vectors("position_embd.weight", PositionEmbd, -1, []int64{int64(s.Embd), int64(s.Ctx)}, 0, embdStd)
	}
	p.norm("output_norm", -1, s.Embd)
	if !s.Tied {
		p.matrix(Output, -1, s.Embd, s.Vocab, embdStd)
	}
	if s.RopeFactors {
		p.ts = append(p.ts, s.ropeFactors())
	}
	for i := range s.Layers {
		p.layer(i)
	}
	p.types()
	return p.ts
}

// types gives each matrix its storage type, which depends on the whole model.
func (p *planner) types() {
	infos := make([]gguf.TensorInfo, len(p.ts))
	for i := range p.ts {
		infos[i] = p.ts[i].TensorInfo
	}
	m := p.s.mix()
	for i, place := range mix.Places(infos) {
		if t := &p.ts[i]; t.matrix {
			t.Type = mix.Fit(m.Of(place), place.Row())
		}
	}
}

type planner struct {
	s  Spec
	ts []Tensor
}

func (p *planner) layer(i int) {
	s := p.s
	q, kv := s.Heads*s.headDim(), s.kvHeads()*s.headDim()
	p.norm("attn_norm", i, s.Embd)
	if s.Arch == "gpt2" {
		p.linear(AttnQKV, i, s.Embd, q+2*kv, true)
	} else {
		bias := s.Arch == "qwen2" || s.Bias
		p.linear(AttnQ, i, s.Embd, q, bias)
		p.linear(AttnK, i, s.Embd, kv, bias)
		p.linear(AttnV, i, s.Embd, kv, bias)
	}
	if s.Arch == "qwen3" {
		p.norm("attn_q_norm", i, s.headDim())
		p.norm("attn_k_norm", i, s.headDim())
	}
	bias := s.Arch == "gpt2" || s.Bias
	p.linear(AttnOutput, i, q, s.Embd, bias)
	p.norm("ffn_norm", i, s.Embd)
	if s.Arch != "gpt2" {
		p.linear(FFNGate, i, s.Embd, s.FF, bias)
	}
	p.linear(FFNUp, i, s.Embd, s.FF, bias)
	p.linear(FFNDown, i, s.FF, s.Embd, bias)
}

func tensorName(stem string, layer int, suffix string) string {
	if layer < 0 {
		return stem + "." + suffix
	}
	return fmt.Sprintf("blk.%d.%s.%s", layer, stem, suffix)
}

// linear adds a matrix of in-element rows and unit gain (deviation 1/√in), and its bias.
func (p *planner) linear(role string, layer, in, out int, bias bool) {
	p.matrix(role, layer, in, out, 1/math.Sqrt(float64(in)))
	if bias {
		p.vectors(tensorName(role, layer, "bias"), Vector, layer, []int64{int64(out)}, 0, 0.1)
	}
}

func (p *planner) matrix(role string, layer, in, out int, std float64) {
	p.ts = append(p.ts, Tensor{
		TensorInfo: gguf.TensorInfo{Name: tensorName(role, layer, "weight"), Shape: []int64{int64(in), int64(out)}},
		Role:       role, Layer: layer, std: std, matrix: true,
	})
}

// norm adds a norm's weight, and its bias where the architecture's norm is LayerNorm.
func (p *planner) norm(stem string, layer, n int) {
	p.vectors(tensorName(stem, layer, "weight"), Vector, layer, []int64{int64(n)}, 1, 0.1)
	if p.s.Arch == "gpt2" {
		p.vectors(tensorName(stem, layer, "bias"), Vector, layer, []int64{int64(n)}, 0, 0.1)
	}
}

// vectors adds a tensor that is never quantized.
func (p *planner) vectors(name, role string, layer int, shape []int64, mean, std float64) {
	p.ts = append(p.ts, Tensor{TensorInfo: gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: shape}, Role: role, Layer: layer, mean: mean, std: std})
}

// ropeFactors are Llama 3.1's divisors of the rotary frequencies: 1 for short wavelengths, 8 for long ones, blended between
// (rope_scaling "llama3" of transformers' modeling_rope_utils.py, with its published factor 8, low 1, high 4, context 8192).
func (s Spec) ropeFactors() Tensor {
	const factor, low, high, ctx = 8.0, 1.0, 4.0, 8192.0
	d := s.headDim()
	out := make([]float32, d/2)
	for i := range out {
		wavelength := 2 * math.Pi * math.Pow(float64(s.ropeBase()), float64(2*i)/float64(d))
		switch {
		case wavelength < ctx/high:
			out[i] = 1
		case wavelength > ctx/low:
			out[i] = factor
		default:
			smooth := (ctx/wavelength - low) / (high - low)
			out[i] = float32(1 / ((1-smooth)/factor + smooth))
		}
	}
	return Tensor{TensorInfo: gguf.TensorInfo{Name: "rope_freqs.weight", Type: gguf.F32, Shape: []int64{int64(d / 2)}}, Role: Vector, Layer: -1, values: out}
}

func (t Tensor) source(s Spec) gguf.TensorSource {
	return func(w io.Writer) error {
		if t.values != nil {
			return binary.Write(w, binary.LittleEndian, t.values)
		}
		return newStream(s.Seed, t.Name).generate(w, t.Type, t.Elements(), t.mean, t.std)
	}
}
