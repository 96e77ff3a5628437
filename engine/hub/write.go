package hub

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/safetensors"
)

// fileTypes are general.file_type of the types that matrices are written in (llama.h, enum llama_ftype).
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.BF16: 32}

// Types lists those that matrices can be written in.
func Types() []gguf.Type { return []gguf.Type{gguf.F32, gguf.F16, gguf.BF16} }

// Type is the one that most of the weights have, in which nothing is lost.
func (f *Folder) Type() gguf.Type {
	of := map[gguf.Type]int64{}
	for _, one := range f.files {
		for i := range one.Tensors {
			t := &one.Tensors[i]
			switch t.DType {
			case safetensors.F16:
				of[gguf.F16] += t.Elements()
			case safetensors.BF16:
				of[gguf.BF16] += t.Elements()
			default:
				of[gguf.F32] += t.Elements()
			}
		}
	}
	return most(of)
}

// most is the type with the largest number.
func most(of map[gguf.Type]int64) gguf.Type {
	best := gguf.F32
	for _, t := range Types() {
		if of[t] > of[best] {
			best = t
		}
	}
	return best
}

// across says whether transformers has a matrix the other way round (Conv1D).
func across(h arch.Hub, p arch.Part) bool {
	return h.Conv1D && p.Linear && p.Role != arch.TokenEmbd && p.Role != arch.Output
}

// A weight is a tensor of the folder and where it goes.
type weight struct {
	file *safetensors.File
	from *safetensors.Tensor
	name string // in GGUF
	part arch.Part
	skip int64 // rows of from that the part has not: the first ones
}

// Writer gathers the whole model, its matrices in type t. The folder must stay open until it is written; rows are
// converted as they are written, so that memory does not grow with the model.
func (f *Folder) Writer(t gguf.Type) (*gguf.Writer, error) {
	fileType, ok := fileTypes[t]
	if !ok {
		return nil, fmt.Errorf("storage type %s cannot be written from a folder; write f32, f16 or bf16, and quantize "+
			"that: ggtune quantize", t)
	}
	net, err := f.net()
	if err != nil {
		return nil, err
	}
	weights, err := f.place(net)
	if err != nil {
		return nil, err
	}
	var w gguf.Writer
	var parameters int64
	for i := range weights {
		parameters += weights[i].from.Elements() - weights[i].skip*weights[i].part.Shape[0]
	}
	factors, err := f.config.factors()
	if err != nil {
		return nil, err
	}
	if err := f.metadata(&w, parameters+int64(len(factors)), fileType); err != nil {
		return nil, err
	}
	if err := f.Tokenizer.Metadata(&w); err != nil {
		return nil, err
	}
	if factors != nil {
		if err := w.AddFloats("rope_freqs.weight", []int64{int64(len(factors))}, factors); err != nil {
			return nil, err
		}
	}
	for i := range weights {
		if err := f.add(&w, &weights[i], t); err != nil {
			return nil, err
		}
	}
	return &w, nil
}

// eachPart calls do with each tensor that both a file and a folder have, and its names.
func eachPart(net *arch.Net, do func(p arch.Part, gguf, folder string)) {
	each := func(list []arch.Part, il int) {
		for _, p := range list {
			if !p.Shared && !(p.Role == arch.Output && net.TiedOutput) {
				do(p, p.Name(il), net.Hub().Module(p, il)+p.Suffix)
			}
		}
	}
	each(net.Global(), -1)
	for il := range net.NLayer {
		each(net.Layer(il).Parts(), il)
	}
}

// place finds for each tensor its part of the model, and wants each part once.
func (f *Folder) place(net *arch.Net) ([]weight, error) {
	hub := f.Arch.Hub
	parts := map[string]weight{} // by name in the folder
	var needed []string
	eachPart(net, func(p arch.Part, gguf, folder string) {
		parts[folder] = weight{name: gguf, part: p}
		if !p.Optional {
			needed = append(needed, folder)
		}
	})
	var out []weight
	var unknown []string
	found := map[string]bool{}
	for _, file := range f.files {
		for i := range file.Tensors {
			t := &file.Tensors[i]
			name := f.own(file, t.Name, parts)
			w, ok := parts[name]
			switch {
			case idle(t.Name), hub.Leaves(name), !ok && net.TiedOutput && t.Name == hub.Modules[arch.Output]+".weight":
			case !ok:
				unknown = append(unknown, fmt.Sprintf("%q", t.Name))
			case found[name]:
				return nil, fmt.Errorf("%s: tensor %q is in two files", f.Dir, name)
			default:
				if w.part.Role == arch.PositionEmbd {
					w.skip = f.config.skipped
				}
				if err := checkShape(file, t, w, hub); err != nil {
					return nil, err
				}
				w.file, w.from, found[name] = file, t, true
				out = append(out, w)
			}
		}
	}
	missing := slices.DeleteFunc(needed, func(name string) bool { return found[name] })
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%s: %d tensors have no place in a %s: %s", f.Dir, len(unknown), hub.Class,
			some(unknown))
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: %d tensors of a %s are missing: %s", f.Dir, len(missing), hub.Class, some(missing))
	}
	return out, nil
}

// own gives the name by which a tensor is looked for. Files of models that share a tensor name it once, and say in
// their metadata what else it is; GPT-2's published files begin below its module, and those of models with a head have
// an encoder below one.
func (f *Folder) own(file *safetensors.File, name string, parts map[string]weight) string {
	if _, ok := parts[name]; ok {
		return name
	}
	for _, alias := range slices.Sorted(maps.Keys(file.Metadata)) {
		if _, ok := parts[alias]; ok && file.Metadata[alias] == name {
			return alias
		}
	}
	hub := f.Arch.Hub
	if len(hub.Roots) == 0 {
		root, _, _ := strings.Cut(hub.Layers, ".")
		return root + "." + name
	}
	for _, root := range hub.Roots {
		name = strings.TrimPrefix(name, root+".")
	}
	for old, now := range map[string]string{".gamma": ".weight", ".beta": ".bias"} { // TensorFlow's
		if module, ok := strings.CutSuffix(name, old); ok {
			return module + now
		}
	}
	return name
}

// idle are tensors that hold no weights: masks and angles, which older files have.
func idle(name string) bool {
	for _, s := range []string{".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"} {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

func some(names []string) string {
	const shown = 12
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// checkShape compares a tensor with what its part has, outermost dimension first, and what is skipped before it.
func checkShape(file *safetensors.File, t *safetensors.Tensor, w weight, h arch.Hub) error {
	want := slices.Clone(w.part.Shape)
	if !across(h, w.part) {
		slices.Reverse(want)
	}
	want[0] += w.skip
	if !slices.Equal(t.Shape, want) {
		return fmt.Errorf("%s: tensor %q has shape %v, and config.json makes it %v; the two belong to different models",
			file.Path(), t.Name, t.Shape, want)
	}
	if !t.DType.IsFloat() {
		return fmt.Errorf("%s: tensor %q is %s, and no weight of F32, F16 or BF16; take the original model",
			file.Path(), t.Name, t.DType)
	}
	return nil
}

// add appends one tensor. Norms, biases, learned positions and types of token stay f32, as llama.cpp wants them.
func (f *Folder) add(w *gguf.Writer, one *weight, t gguf.Type) error {
	p := one.part
	if len(p.Shape) == 1 || p.Role == arch.PositionEmbd || p.Role == arch.TokenTypes {
		t = gguf.F32
	}
	row, rows := p.Shape[0], int64(1)
	if len(p.Shape) > 1 {
		rows = p.Shape[1]
	}
	return w.Add(one.name, t, p.Shape, func(dst io.Writer) error {
		read := func(x []float32, first int64) error { return one.file.ReadFloats(x, one.from, (first+one.skip)*row) }
		if across(f.Arch.Hub, p) { // GPT-2's largest has 10 M numbers
			all := make([]float32, row*rows)
			if err := one.file.ReadFloats(all, one.from, 0); err != nil {
				return err
			}
			all = transposed(all, rows, row)
			read = func(x []float32, first int64) error { copy(x, all[first*row:]); return nil }
		}
		heads := int64(p.PairedHeads)
		if heads > 0 && len(p.Shape) == 1 { // of a bias each number is a row
			row, rows = 1, row
		}
		step := max(1, chunkElements/row)
		if heads > 0 {
			step = rows / heads // head by head
		}
		for at := int64(0); at < rows; at += step {
			x := make([]float32, min(step, rows-at)*row)
			if err := read(x, at); err != nil {
				return err
			}
			if heads > 0 {
				x = arch.Paired(x, 1, row)
			}
			b, err := encode(one.file.Path(), one.from.Name, t, x, at*row)
			if err != nil {
				return err
			}
			if _, err := dst.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// chunkElements bounds the memory of a conversion: 4 MB of f32.
const chunkElements = 1 << 20

// transposed turns a matrix of so many rows.
func transposed(x []float32, row, rows int64) []float32 {
	out := make([]float32, len(x))
	for i := range rows {
		for j := range row {
			out[j*rows+i] = x[i*row+j]
		}
	}
	return out
}

const maxF16 = 65504

// encode gives the bytes of elements of a tensor from number at on.
func encode(path, tensor string, t gguf.Type, x []float32, at int64) ([]byte, error) {
	for i, v := range x {
		if v-v != 0 || t == gguf.F16 && (v > maxF16 || v < -maxF16) {
			return nil, fmt.Errorf("%s: tensor %q: element %d is %v, which %s does not hold; write bf16 or f32, or "+
				"the file is damaged", path, tensor, at+int64(i), v, t)
		}
	}
	return ggml.Quantize(ggml.Type(t), x, int64(len(x)))
}

// net reads the architecture's parts from what the metadata will be.
func (f *Folder) net() (*arch.Net, error) {
	d := &draft{path: f.Dir, tied: f.tied(), vocab: int64(len(f.Tokenizer.tokens)), values: map[string]any{}}
	if err := errors.Join(f.metadata(d, 0, 0), f.config.tokenTypes(d)); err != nil {
		return nil, err
	}
	return arch.Of(d)
}

// tied says whether the output head is the token embedding.
func (f *Folder) tied() bool {
	if v, ok := f.config.values["tie_word_embeddings"].(bool); ok {
		return v
	}
	return f.Arch.Hub.Tied
}

// factors are what llama 3's long contexts divide the angles of positions by, computed in float32 as PyTorch does; nil
// if positions are not stretched so.
func (s *settings) factors() ([]float32, error) {
	r := s.ropeSettings()
	if r.values["rope_type"] != "llama3" {
		return nil, nil
	}
	dim, _, err := s.number(arch.HubSetting{Names: []string{"head_dim"}, Missing: arch.HubPerHead})
	if err != nil {
		return nil, err
	}
	get := map[string]float32{}
	for _, name := range []string{"rope_theta", "factor", "low_freq_factor", "high_freq_factor",
		"original_max_position_embeddings"} {
		x, err := r.need(name)
		if err != nil || !(x > 0) {
			return nil, fmt.Errorf("%s: rope_parameters' %s is %v, expected a number above 0", s.path, name,
				r.values[name])
		}
		get[name] = float32(x)
	}
	low, high := get["low_freq_factor"], get["high_freq_factor"]
	old, factor := get["original_max_position_embeddings"], get["factor"]
	out := make([]float32, 0, int(dim)/2)
	for i := 0; i < int(dim); i += 2 {
		power := float32(math.Pow(float64(get["rope_theta"]), float64(float32(i)/float32(dim))))
		wave := float32(2*math.Pi) / (1 / power)
		switch {
		case wave < old/high:
			out = append(out, 1)
		case wave > old/low:
			out = append(out, factor)
		default:
			smooth := (old/wave - low) / (high - low)
			out = append(out, 1/((1-smooth)/factor+smooth))
		}
	}
	return out, nil
}
