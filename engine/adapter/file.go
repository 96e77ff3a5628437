package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/stream"
)

// Metadata keys of llama.cpp's adapter format (src/llama-adapter.cpp) and the prefix of our own.
const (
	keyType      = "general.type"
	keyArch      = "general.architecture"
	keyAdapter   = "adapter.type"
	keyAlpha     = "adapter.lora.alpha"
	infoPrefix   = "ggtune."
	suffixA      = "." + delta.A
	suffixB      = "." + delta.B
	fileTypeF32  = 0
	fileTypeF16  = 1
	keyFileType  = "general.file_type"
	keyQuantVers = "general.quantization_version"
)

// Save writes the adapter as llama.cpp reads it, atomically, with its pairs in Type.
func (a *Adapter) Save(ctx context.Context, fsys atomicfile.FS, path string) error {
	w, err := a.writer()
	if err != nil {
		return err
	}
	return w.WriteFile(ctx, fsys, path)
}

// Write writes what Save writes to dst.
func (a *Adapter) Write(ctx context.Context, dst io.Writer) error {
	w, err := a.writer()
	if err != nil {
		return err
	}
	_, err = w.Write(ctx, dst)
	return err
}

func (a *Adapter) writer() (*gguf.Writer, error) {
	a = a.Leaving()
	if err := a.writable(); err != nil {
		return nil, err
	}
	var w gguf.Writer
	w.SetString(keyType, "adapter")
	w.SetString(keyArch, a.Arch)
	w.SetString(keyAdapter, a.Kind.String())
	if a.Kind.Paired() {
		w.SetFloat32(keyAlpha, float32(a.Alpha))
	}
	a.Purpose.write(&w)
	w.SetUint32(keyFileType, map[bool]uint32{true: fileTypeF16, false: fileTypeF32}[a.Type == gguf.F16])
	w.SetUint32(keyQuantVers, 2)
	keys := make([]string, 0, len(a.Info))
	for k := range a.Info {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		w.SetString(infoPrefix+k, a.Info[k])
	}
	for i := range a.Pairs {
		for j, t := range a.tensors(&a.Pairs[i]) {
			if err := w.Add(t.name, a.Type, t.shape, a.source(a.Kind.values(&a.Pairs[i])[j], t.shape[0])); err != nil {
				return nil, err
			}
		}
	}
	return &w, nil
}

// source gives numbers, in rows of n, in the type that pairs are written in.
func (a *Adapter) source(x []float32, n int64) stream.Source {
	if a.Type == gguf.F32 {
		return stream.Floats(x)
	}
	return func(dst io.Writer) error {
		b, err := ggml.Quantize(ggml.Type(a.Type), x, n)
		if err != nil {
			return err
		}
		_, err = dst.Write(b)
		return err
	}
}

// writable refuses numbers that no file can hold for llama.cpp, which reads alpha 0 as no alpha.
func (a *Adapter) writable() error {
	if alpha := float32(a.Alpha); a.Kind.Paired() && (alpha == 0 || alpha-alpha != 0) {
		return fmt.Errorf("the adapter's alpha is %g, and a file holds numbers from 1e-45 to 3e38; scale it otherwise",
			a.Alpha)
	}
	if a.Type != gguf.F32 && (a.Type != gguf.F16 || a.Kind != LoRA) {
		return fmt.Errorf("a %s adapter is not written in %s; expected f32, or a lora in f16", a.Kind, a.Type)
	}
	for i := range a.Pairs {
		if err := finite(&a.Pairs[i]); err != nil {
			return err
		}
		if a.Type == gguf.F16 {
			if err := withinF16(&a.Pairs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// withinF16 refuses numbers that f16 has none for.
func withinF16(p *Pair) error {
	const most = 65504
	for _, half := range [][]float32{p.A, p.B} {
		for _, x := range half {
			if max(x, -x) > most {
				return fmt.Errorf("pair %q holds %g, beyond f16's %d; write the adapter in f32", p.Tensor, x, most)
			}
		}
	}
	return nil
}

// A stored is one tensor of an adapter's file.
type stored struct {
	name  string
	shape []int64
}

// tensors lists those of a pair, in the order of its values.
func (a *Adapter) tensors(p *Pair) (out []stored) {
	if a.Kind == LoRA {
		a, b := p.AShape[:], p.BShape[:]
		if p.Experts > 0 {
			a, b = []int64{a[0], a[1], p.Experts}, []int64{b[0], b[1], p.Experts}
		}
		return []stored{{p.Tensor + suffixA, a}, {p.Tensor + suffixB, b}}
	}
	for _, q := range a.delta(p).Params(p.weight()) {
		t := stored{p.Tensor + "." + q.Name, q.Shape[:2]}
		if q.Shape[1] == 1 {
			t.shape = q.Shape[:1]
		}
		out = append(out, t)
	}
	return out
}

// Halves lists the tensors of the file and their numbers, which are the adapter's own.
func (a *Adapter) Halves(each func(name string, values []float32)) {
	for i := range a.Pairs {
		p := &a.Pairs[i]
		each(p.Tensor+suffixA, p.A)
		each(p.Tensor+suffixB, p.B)
	}
}

// Nothing is an adapter of the same form that changes nothing.
func (a *Adapter) Nothing() *Adapter {
	out := *a
	out.Pairs = slices.Clone(a.Pairs)
	for i := range out.Pairs {
		p := &out.Pairs[i]
		p.B = make([]float32, len(p.B)) // with which any A gives 0
	}
	return &out
}

// Load reads an adapter for a model of that architecture and size: a GGUF file, or the directory of one of PEFT's. An
// adapter of another model is refused.
func Load(path string, net *arch.Net) (*Adapter, error) {
	if IsPEFT(path) {
		return loadPEFT(path, net)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := loader{f: f, out: &Adapter{Info: map[string]string{}}, parts: map[string]place{}, tied: net.TiedOutput}
	net.Linear(func(p arch.Part, il int) { l.parts[p.Name(il)] = place{p, il} })
	if err := l.load(net.Arch); err != nil {
		return nil, err
	}
	if err := l.out.within(path, net.NVocab); err != nil {
		return nil, err
	}
	return l.out, nil
}

// Read reads an adapter's file without its model: pairs have no role and no layer.
func Read(path string) (*Adapter, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := loader{f: f, out: &Adapter{Info: map[string]string{}}}
	if err := l.load(""); err != nil {
		return nil, err
	}
	return l.out, nil
}

// load reads the file; base is the model's architecture, or "" where there is no model.
func (l *loader) load(base string) error {
	if err := l.header(base); err != nil {
		return err
	}
	read := l.tensor
	if l.out.Kind != LoRA {
		read = l.other
	}
	for i := range l.f.Tensors {
		if err := read(&l.f.Tensors[i]); err != nil {
			return err
		}
	}
	if len(l.out.Pairs) == 0 && l.out.Kind != LoRA {
		return l.fail("the adapter holds no tensor of type %s", l.out.Kind)
	}
	if len(l.out.Pairs) == 0 {
		return l.fail("the adapter holds no LoRA pair; expected tensors ending in %s and %s", suffixA, suffixB)
	}
	return nil
}

// A place is where a pair of some name stands.
type place struct {
	part  arch.Part
	layer int
}

type loader struct {
	f     *gguf.File
	out   *Adapter
	parts map[string]place // nil: there is no model, and a pair's halves need but fit each other
	tied  bool             // the model's output head is its token embedding
}

func (l *loader) fail(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{l.f.Path()}, args...)...)
}

func (l *loader) header(base string) error {
	f := l.f
	if err := f.CheckAdapter(); err != nil {
		return err
	}
	kind, err := f.String(keyAdapter)
	if err != nil {
		return err
	}
	known := []Kind{LoRA, DoRA, IA3} // that there are files of
	at := slices.IndexFunc(known, func(k Kind) bool { return k.String() == kind })
	if at < 0 {
		return l.fail("adapter type is %q; only %s, %s and %s can be used", kind, known[0], known[1], known[2])
	}
	if l.out.Kind = known[at]; l.out.Kind != LoRA && base == "" {
		return l.fail("adapter type is %q, which changes what the base's weights are, and cannot be taken without "+
			"them; make a model of both: ggtune merge", kind)
	}
	if l.out.Arch, err = f.Architecture(); err != nil {
		return err
	}
	if base != "" && l.out.Arch != base {
		return l.fail(
			"the adapter is for architecture %q, the model is %q; give the model that the adapter was trained on",
			l.out.Arch, base)
	}
	if l.out.Kind.Paired() {
		alpha, err := f.Float32(keyAlpha)
		if err != nil {
			return err
		}
		if !(alpha > 0) || math.IsInf(float64(alpha), 0) {
			return l.fail("%s is %g; expected a number above 0", keyAlpha, alpha)
		}
		l.out.Alpha = float64(alpha)
	}
	if l.out.Purpose, err = ReadPurpose(f); err != nil {
		return err
	}
	if l.out.Kind != LoRA && len(l.out.Invocation) > 0 {
		return l.fail("an adapter of type %s cannot act from an invocation on: only a pair can be switched off for a "+
			"token", l.out.Kind)
	}
	for _, kv := range f.KVs() {
		if name, ok := strings.CutPrefix(kv.Key, infoPrefix); ok && kv.Value.Type() == gguf.String {
			if l.out.Info[name], err = f.String(kv.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// tensor reads the pair that t is the first half of; its second half is looked up.
func (l *loader) tensor(t *gguf.TensorInfo) error {
	base, ok := strings.CutSuffix(t.Name, suffixA)
	if !ok {
		if base, ok = strings.CutSuffix(t.Name, suffixB); ok && l.f.HasTensor(base+suffixA) {
			return nil
		}
		return l.fail("tensor %q is no half of a LoRA pair; expected names ending in %s and %s", t.Name, suffixA,
			suffixB)
	}
	at, ok := l.parts[base]
	if ok && at.part.Role == arch.TokenEmbd && l.tied {
		return l.fail("tensor %q: the model's output head is its token embedding, and llama.cpp cannot run an "+
			"adapter on a tensor with both uses; train one without that target", t.Name)
	}
	if err := l.runs(t, at); err != nil {
		return err
	}
	if !ok && l.parts != nil {
		return l.fail("tensor %q: the model has no linear tensor %q; the adapter belongs to another model", t.Name,
			base)
	}
	b, err := l.f.Tensor(base + suffixB)
	if err != nil {
		return err
	}
	if n := len(t.Shape); n != len(b.Shape) || n != 2 && n != 3 {
		return l.fail("pair %q has shapes %v and %v, expected matrices, or as many of one as of the other", base,
			t.Shape, b.Shape)
	}
	var p Pair
	if l.parts == nil {
		p = alone(base, t.Shape, b.Shape)
	} else {
		p = newPair(at.part, at.layer, b.Shape[0])
	}
	halves := l.out.tensors(&p)
	switch fits := slices.Equal(halves[0].shape, t.Shape) && slices.Equal(halves[1].shape, b.Shape); {
	case !fits && l.parts == nil:
		return l.fail("pair %q has shapes %v and %v, whose ranks or experts differ", base, t.Shape, b.Shape)
	case !fits:
		return l.fail("pair %q has shapes %v and %v, the model needs %v and %v; the adapter belongs to another model",
			base, t.Shape, b.Shape, halves[0].shape, halves[1].shape)
	}
	p.A, p.B = make([]float32, t.Elements()), make([]float32, b.Elements())
	if err := errors.Join(l.read(p.A, t), l.read(p.B, b)); err != nil {
		return err
	}
	l.out.Pairs = append(l.out.Pairs, p)
	return nil
}

// runs refuses what llama.cpp cannot run.
func (l *loader) runs(t *gguf.TensorInfo, at place) error {
	if at.part.Alone == "" {
		return nil
	}
	return l.fail("tensor %q: llama.cpp cannot run an adapter there, %s; train one without that target", t.Name,
		at.part.Alone)
}

// other reads what of another kind than LoRA stands beside the weight whose first tensor t is; the rest are looked up.
func (l *loader) other(t *gguf.TensorInfo) error {
	base, name := t.Name, ""
	if dot := strings.LastIndexByte(t.Name, '.'); dot >= 0 {
		base, name = t.Name[:dot], t.Name[dot+1:]
	}
	at, ok := l.parts[base]
	if !ok || at.layer < 0 {
		return l.fail("tensor %q: the model has no matrix %q in its layers; the adapter belongs to another model",
			t.Name, base)
	}
	if err := l.runs(t, at); err != nil {
		return err
	}
	rank := int64(0)
	if l.out.Kind.Paired() {
		b, err := l.f.Tensor(base + suffixB)
		if err != nil {
			return err
		}
		if len(b.Shape) != 2 || b.Shape[0] > maxRank {
			return l.fail("tensor %q has shape %v, expected rows of at most %d", b.Name, b.Shape, maxRank)
		}
		rank = b.Shape[0]
	}
	p := l.out.Kind.pair(at.part, at.layer, rank)
	list := l.out.tensors(&p)
	if !slices.ContainsFunc(list, func(s stored) bool { return s.name == base+"."+name }) {
		return l.fail("tensor %q is no part of a %s adapter", t.Name, l.out.Kind)
	}
	if first := list[0].name; t.Name != first { // with which it is read
		if !l.f.HasTensor(first) {
			return l.fail("tensor %q has no %q beside it", t.Name, first)
		}
		return nil
	}
	for i, s := range list {
		x, err := l.f.Tensor(s.name)
		if err != nil {
			return err
		}
		if !slices.Equal(x.Shape, s.shape) {
			return l.fail("tensor %q has shape %v, the model needs %v; the adapter belongs to another model", x.Name,
				x.Shape, s.shape)
		}
		if err := l.read(l.out.Kind.values(&p)[i], x); err != nil {
			return err
		}
	}
	l.out.Pairs = append(l.out.Pairs, p)
	return nil
}

// alone is the pair, still without numbers, beside a tensor of an unknown model that has a B of that shape, and an A of
// the same rank and for as many experts.
func alone(tensor string, a, b []int64) Pair {
	p := Pair{Tensor: tensor, Layer: -1, Rank: b[0], AShape: [2]int64{a[0], b[0]}, BShape: [2]int64(b),
		Flipped: tensor == arch.TensorName(arch.TokenEmbd, ".weight", -1)}
	if p.Flipped {
		p.AShape = [2]int64{b[0], a[1]}
	}
	if len(b) > 2 {
		p.Experts = b[2]
	}
	return p
}

func (l *loader) read(dst []float32, t *gguf.TensorInfo) error {
	data, err := l.f.Data(t)
	if err != nil {
		return err
	}
	if err := ggml.DequantizeTo(ggml.Type(t.Type), dst, data); err != nil {
		return l.fail("tensor %q: %w", t.Name, err)
	}
	return nil
}
