package refmodel

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A Dequantize turns the bytes of n elements of a storage type into numbers, exactly as stored.
type Dequantize func(t gguf.Type, data []byte, n int) ([]float32, error)

// Load reads a model from an open file. Tensors in F32 are read as they are; dequantize is asked for all others and may
// be nil where there are none.
func Load(f *gguf.File, dequantize Dequantize) (*Model, error) {
	m := &Model{Weights: map[string]*Matrix{}}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		w, err := loadTensor(f, t, dequantize)
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", f.Path(), t.Name, err)
		}
		m.Weights[t.Name] = w
	}
	embd := m.Weights["token_embd.weight"]
	if embd == nil {
		return nil, fmt.Errorf("%s: tensor token_embd.weight is missing", f.Path())
	}
	if err := m.loadHParams(f); err != nil {
		return nil, err
	}
	m.NVocab = embd.Rows
	if types := m.Weights["token_types.weight"]; types != nil {
		m.NTypes = types.Rows
	}
	return m, m.Validate()
}

func loadTensor(f *gguf.File, t *gguf.TensorInfo, dequantize Dequantize) (*Matrix, error) {
	data, err := f.Data(t)
	if err != nil {
		return nil, err
	}
	rows := 1
	for _, n := range t.Shape[1:] {
		rows *= int(n)
	}
	w := NewMatrix(rows, int(t.Shape[0]))
	if t.Type == gguf.F32 {
		for i := range w.Data {
			b := data[4*i:]
			w.Data[i] = float64(
				math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24))
		}
		return w, nil
	}
	if dequantize == nil {
		return nil, fmt.Errorf("storage type %v, and nothing to dequantize it with", t.Type)
	}
	values, err := dequantize(t.Type, data, len(w.Data))
	if err != nil {
		return nil, err
	}
	if len(values) != len(w.Data) {
		return nil, fmt.Errorf("%d elements dequantized of %d", len(values), len(w.Data))
	}
	for i, v := range values {
		w.Data[i] = float64(v)
	}
	return w, nil
}

// loadHParams reads the sizes from the metadata, with llama.cpp's defaults (src/llama-model.cpp, load_hparams).
func (m *Model) loadHParams(f *gguf.File) error {
	var err error
	if m.Arch, err = f.Architecture(); err != nil {
		return err
	}
	key := func(name string) string { return m.Arch + "." + name }
	fail := func(e error) {
		if err == nil {
			err = e
		}
	}
	size := func(name string, missing int) int {
		v, e := f.IntOr(key(name), int64(missing))
		if e == nil && v <= 0 {
			e = fmt.Errorf("%s: metadata key %q is missing or not positive", f.Path(), key(name))
		}
		if e != nil {
			fail(e)
		}
		return int(v)
	}
	number := func(name string, missing float32) float64 {
		v, e := f.Float32Or(key(name), missing)
		if e != nil {
			fail(e)
		}
		return float64(v)
	}
	m.NLayer, m.NEmbd, m.NFF = size("block_count", 0), size("embedding_length", 0), size("feed_forward_length", 0)
	m.NHead, m.NCtxTrain = size("attention.head_count", 0), size("context_length", 0)
	if err != nil {
		return err
	}
	m.HeadDim = size("attention.key_length", m.NEmbd/m.NHead)
	a, err := archs.Get(m.Arch)
	if err != nil {
		return err
	}
	if a.Lists != nil {
		err = a.Lists.read(&m.HParams, f)
	} else {
		m.NHeadKV = size("attention.head_count_kv", m.NHead)
	}
	m.NormEps = number(a.epsilonKey(), 0)
	for name, at := range a.keys(&m.HParams) {
		switch at := at.(type) {
		case *int:
			v, e := f.IntOr(key(name), 0)
			*at, err = int(v), errors.Join(err, e)
		case *float64:
			*at = number(name, 0)
		}
	}
	if a.Positions {
		return err
	}
	m.Rope = Rope{
		Dim: size("rope.dimension_count", m.HeadDim), Neox: a.Neox, Base: number("rope.freq_base", 10000),
		Scale: 1, CtxOrig: size("rope.scaling.original_context_length", m.NCtxTrain),
		AttnFactor: number("rope.scaling.attn_factor", 1),
		Temp:       m.Rope.Temp, BetaFast: m.Rope.BetaFast, LogMul: m.Rope.LogMul, // read above
	}
	kind, e := f.StringOr(key("rope.scaling.type"), "linear")
	if e != nil {
		return e
	}
	if kind == "linear" || kind == "yarn" {
		m.Rope.Scale = 1 / number("rope.scaling.factor", 1)
	}
	if kind == "yarn" {
		m.Rope.Yarn = true
	}
	return err
}

// WriteGGUF writes the model, without its LoRA pairs, as F32 tensors under path, with a vocabulary of made-up words of
// the model's size. Every number must be exact in float32.
func (m *Model) WriteGGUF(path string) error {
	if err := m.Validate(); err != nil {
		return err
	}
	w := &gguf.Writer{}
	m.setHParams(w)
	setVocabulary(w, m.NVocab)
	list, err := Tensors(m.Arch, m.HParams)
	if err != nil {
		return err
	}
	for _, t := range list {
		v := m.Weights[t.Name]
		if v == nil {
			continue
		}
		data, err := Float32s(v.Data)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		shape := []int64{int64(v.Cols), int64(v.Rows)}
		switch {
		case t.Linear && t.Experts > 0:
			shape = []int64{int64(v.Cols), int64(v.Rows / t.Experts), int64(t.Experts)}
		case !t.Linear && t.Experts == 0 && v.Rows == 1:
			shape = shape[:1]
		}
		if err := w.AddFloats(t.Name, shape, data); err != nil {
			return err
		}
	}
	return w.WriteFile(context.Background(), nil, path)
}

// Float32s converts numbers that are exact in float32, and refuses others.
func Float32s(data []float64) ([]float32, error) {
	out := make([]float32, len(data))
	for i, v := range data {
		out[i] = float32(v)
		if float64(out[i]) != v {
			return nil, fmt.Errorf("number %d is %v, which is not exact in float32", i, v)
		}
	}
	return out, nil
}

// setHParams writes the metadata that loadHParams reads, and what else llama.cpp asks for.
func (m *Model) setHParams(w *gguf.Writer) {
	key := func(name string) string { return m.Arch + "." + name }
	w.SetString("general.architecture", m.Arch)
	for _, s := range []struct {
		name string
		v    int
	}{
		{"block_count", m.NLayer}, {"context_length", m.NCtxTrain}, {"embedding_length", m.NEmbd},
		{"feed_forward_length", m.NFF}, {"attention.head_count", m.NHead}, {"attention.head_count_kv", m.NHeadKV},
		{"attention.key_length", m.HeadDim}, {"attention.value_length", m.HeadDim}, {"vocab_size", m.NVocab},
	} {
		w.SetUint32(key(s.name), uint32(s.v))
	}
	a := m.of()
	w.SetFloat32(key(a.epsilonKey()), float32(m.NormEps))
	for name, at := range a.keys(&m.HParams) {
		switch at := at.(type) {
		case *int:
			if *at > 0 {
				w.SetUint32(key(name), uint32(*at))
			}
		case *float64:
			if *at > 0 {
				w.SetFloat32(key(name), float32(*at))
			}
		}
	}
	if a.Both {
		w.SetBool(key("attention.causal"), false)
		w.SetUint32(key("pooling_type"), 1) // the mean
	}
	if a.Types {
		w.SetUint32("tokenizer.ggml.token_type_count", uint32(m.NTypes))
	}
	if a.Lists != nil {
		a.Lists.write(m.HParams, func(name string, v gguf.Value) { w.Set(key(name), v) })
	}
	if a.Positions {
		return
	}
	w.SetUint32(key("rope.dimension_count"), uint32(m.Rope.Dim))
	w.SetFloat32(key("rope.freq_base"), float32(m.Rope.Base))
	if m.Rope.AttnFactor != 1 {
		w.SetFloat32(key("rope.scaling.attn_factor"), float32(m.Rope.AttnFactor))
	}
	if m.Rope.CtxOrig > 0 {
		w.SetUint32(key("rope.scaling.original_context_length"), uint32(m.Rope.CtxOrig))
	}
	switch {
	case m.Rope.Yarn:
		w.SetString(key("rope.scaling.type"), "yarn")
		w.SetFloat32(key("rope.scaling.factor"), float32(1/m.Rope.Scale))
	case m.Rope.Scale != 1:
		w.SetString(key("rope.scaling.type"), "linear")
		w.SetFloat32(key("rope.scaling.factor"), float32(1/m.Rope.Scale))
	}
}

// setVocabulary writes n made-up words in SentencePiece's form, so that llama.cpp opens the file.
func setVocabulary(w *gguf.Writer, n int) {
	const unknown, control, normal = 2, 3, 1 // llama.cpp's token types
	words, scores, types := make([]string, n), make([]float32, n), make([]int32, n)
	for i := range words {
		words[i], scores[i], types[i] = fmt.Sprintf("▁w%d", i), -float32(i), normal
	}
	for i, special := range []string{"<unk>", "<s>", "</s>"} {
		if i < n {
			words[i], scores[i], types[i] = special, 0, control
		}
	}
	if n > 0 {
		types[0] = unknown
	}
	w.SetString("tokenizer.ggml.model", "llama")
	w.SetStrings("tokenizer.ggml.tokens", words)
	w.Set("tokenizer.ggml.scores", gguf.NumbersValue(scores))
	w.Set("tokenizer.ggml.token_type", gguf.NumbersValue(types))
	w.SetUint32("tokenizer.ggml.bos_token_id", 1)
	w.SetUint32("tokenizer.ggml.eos_token_id", 2)
}
