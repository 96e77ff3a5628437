package synth

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Tensor is one tensor of a generated model.
type Tensor struct {
	gguf.TensorInfo // Offset is not set
	Part            arch.Part
	Layer           int     // -1 outside the layers
	mean, std       float64 // of its elements
	values          []float32
}

// list gives all tensors, with types that fit their rows where there is a fall-back.
func (s Spec) list(a arch.Arch, net *arch.Net) []Tensor {
	var ts, shared []Tensor
	add := func(parts []arch.Part, layer int) {
		for _, p := range s.order(a, parts) {
			t := s.tensor(a, p, layer)
			switch {
			case !p.Shared:
				ts = append(ts, t)
			case !slices.ContainsFunc(shared, func(o Tensor) bool { return o.Name == t.Name }): // each layer lists it
				t.Layer = -1
				shared = append(shared, t)
			}
		}
	}
	add(net.Global(), -1)
	global := len(ts)
	for il := range net.NLayer {
		add(net.Layer(il).Parts(), il)
	}
	ts = append(ts[:global:global], append(shared, ts[global:]...)...)
	infos := make([]gguf.TensorInfo, len(ts))
	for i := range ts {
		infos[i] = ts[i].TensorInfo
	}
	m := s.mix()
	for i, place := range mix.Places(infos, s.places()) {
		if ts[i].Part.Linear && !place.Kept {
			ts[i].Type = mix.Fit(m.Of(place), place.Row())
		}
	}
	return ts
}

// places says what mixes ask of a model.
func (s Spec) places() mix.Model {
	return mix.Model{Arch: s.Arch, Layers: s.Layers, Heads: int64(s.Heads), KVHeads: int64(s.kvHeads())}
}

// order gives the parts that the model has in the order of files: each weight's bias behind it.
func (s Spec) order(a arch.Arch, parts []arch.Part) []arch.Part {
	biases := map[arch.Role]arch.Part{}
	for _, p := range parts {
		if p.Suffix == ".bias" {
			biases[p.Role] = p
		}
	}
	var out []arch.Part
	add := func(p arch.Part) {
		if !p.Optional || s.has(a, p) {
			out = append(out, p)
		}
	}
	for _, p := range parts {
		if p.Suffix == ".bias" {
			continue
		}
		add(p)
		if b, ok := biases[p.Role]; ok {
			add(b)
		}
	}
	return out
}

// has says whether the model has an optional part.
func (s Spec) has(a arch.Arch, p arch.Part) bool {
	switch {
	case p.Role == arch.Output:
		return !s.Tied
	case p.Role == arch.RopeFreqs:
		return s.RopeFactors
	case p.Suffix == ".bias":
		return s.Bias || a.Example.Biases
	}
	return true // whatever else a model may have, the generated one shows
}

// tensor chooses a part's elements. Rows of matrices outside the layers have deviation 2/√n: logits of normalized
// activations then have deviation about 2, tied or not, and the first norm brings the embedding to size. Those of the
// layers, and those that vectors go through, have unit gain (deviation 1/√n), norms are about 1 and biases about 0.
// What is not linear is never quantized.
func (s Spec) tensor(a arch.Arch, p arch.Part, layer int) Tensor {
	t := Tensor{TensorInfo: gguf.TensorInfo{Name: p.Name(layer), Type: gguf.F32, Shape: p.Shape}, Part: p, Layer: layer,
		std: 0.1}
	switch {
	case p.Role == arch.RopeFreqs:
		t.values = s.ropeFactors()
	case len(p.Shape) > 1 && layer < 0 && p.Role != arch.Dense2 && p.Role != arch.Dense3:
		t.std = 2 / math.Sqrt(float64(p.Shape[0]))
	case len(p.Shape) > 1:
		t.std = 1 / math.Sqrt(float64(p.Shape[0]))
	case p.Role == arch.AttnQNorm && a.Example.QNorm != 0:
		t.mean = a.Example.QNorm
	case p.Suffix == ".weight":
		t.mean = 1
	}
	return t
}

// ropeFactors are Llama 3.1's divisors of the rotary frequencies: 1 for short wavelengths, 8 for long ones, blended
// between (rope_scaling "llama3" of transformers' modeling_rope_utils.py, with its published factor 8, low 1, high 4,
// context 8192).
func (s Spec) ropeFactors() []float32 {
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
	return out
}

func (t Tensor) source(s Spec) func(w io.Writer) error {
	return func(w io.Writer) error {
		if t.values != nil {
			return binary.Write(w, binary.LittleEndian, t.values)
		}
		return newStream(s.Seed, t.Name).generate(w, t.Type, t.Elements(), t.mean, t.std)
	}
}

// Numbers gives n random elements of a storage type, of mean 0 and deviation std. The same seed gives the same ones.
func Numbers(t gguf.Type, n int64, std float64, seed uint64) ([]byte, error) {
	var b bytes.Buffer
	err := newStream(seed, "numbers").generate(&b, t, n, 0, std)
	return b.Bytes(), err
}
