package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/stream"
	mixes "github.com/ggtune/ggtune/quant/mix"
)

// Written is the storage type in which SaveModel writes a tensor that the set trains: of a matrix that mixes choose the
// type of that of Set.Types, or Set.Type, if there is one, or Set.Master if that is not F32; else the tensor's own, or
// F32 in place of a quantized one, whose values are too few for small updates to move.
func (t *Set) Written(x *gguf.TensorInfo) gguf.Type {
	as, own := t.Types[x.Name]
	free := !mixes.Kept(x.Name, x.Shape)
	switch {
	case free && own:
		return as
	case free && t.Type != nil:
		return *t.Type
	case free && t.Master != gguf.F32:
		return t.Master
	case x.Type.IsQuantized():
		return gguf.F32
	}
	return x.Type
}

// checkWritten says why a tensor cannot be trained, or not be written as Written says.
func (m *Model) checkWritten(t *Set, x *gguf.TensorInfo) error {
	if !ggml.Type(x.Type).Dequantizes() {
		return m.fault("tensor %q is storage type %v, which has no way back to numbers; train an adapter, or take the "+
			"model in another type", x.Name, x.Type)
	}
	as := ggml.Type(t.Written(x))
	if !as.Quantizes() || x.Shape[0]%as.BlockSize() != 0 {
		return m.fault("tensor %q has rows of %d numbers, which storage type %v cannot hold; write the model in "+
			"another",
			x.Name, x.Shape[0], as)
	}
	return nil
}

// A Whole is what a set has of the model's tensors.
type Whole struct {
	Dequantized int   // tensors of quantized storage types that are trained as F32, or as Set.Master
	Rounded     int   // tensors that passes compute with as they are written, in another type than F32 (Set.Rounded)
	Bytes       int64 // that these take so
	File        int64 // bytes of the tensors of the file that SaveModel writes
}

// Whole describes the tensors of the model that a set trains. It allocates nothing.
func (m *Model) Whole(t Set) (w Whole, err error) {
	for i := range m.file.Tensors {
		x := &m.file.Tensors[i]
		size := x.Size
		if m.chosen(&t, x.Name) {
			if err := m.checkWritten(&t, x); err != nil {
				return w, err
			}
			if size, err = ggml.Type(t.Written(x)).RowSize(x.Elements()); err != nil {
				return w, m.fault("tensor %q: %w", x.Name, err)
			}
			if t.Rounded && t.Written(x) != gguf.F32 {
				w.Rounded++
			}
			if x.Type.IsQuantized() {
				w.Dequantized++
				own := m.tensors[x.Name]
				w.Bytes += graph.TypeBytes(t.master(&own)) * x.Elements()
			}
		}
		w.File += size
	}
	return w, nil
}

// chosen says whether a set has numbers of its own for a tensor.
func (m *Model) chosen(t *Set, name string) bool {
	x, ok := m.tensors[name]
	return ok && t.Whole != nil && x.trainable() && t.Whole(x.part, m.layer(&x))
}

// RoundParams rounds a set's numbers, tensors of the model or those of an adapter, to the storage types that they are
// written in, so that the session computes what the file will; changed says that it did anything, which it does not
// where all are of that type. A value beyond the range of its type is an error. Training on goes on from the rounded
// values.
func (s *Session) RoundParams(set string) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, fmt.Errorf("engine: round parameters: session %w", ErrClosed)
	}
	if t := s.set(set); t != nil && t.Whole == nil && t.Adapter != nil {
		return s.roundAdapter(t)
	}
	own, err := s.wholeOf(set)
	if err != nil {
		return false, fmt.Errorf("engine: round parameters: %w", err)
	}
	if s.set(set).Rounded { // what passes compute is what is written
		return false, nil
	}
	f := s.model.file
	for i := range f.Tensors {
		t := &f.Tensors[i]
		p, ok := own[t.Name]
		as := s.set(set).Written(t)
		if !ok || as == gguf.F32 || as == gguf.Type(p.Value.Type) {
			continue
		}
		if err := roundTo(p.Value, t.Shape[0], ggml.Type(as)); err != nil {
			return changed, fmt.Errorf("round tensor %q to %v: %w", t.Name, as, err)
		}
		changed = true
	}
	return changed, nil
}

// roundAdapter is RoundParams of what stands beside weights.
func (s *Session) roundAdapter(t *set) (changed bool, err error) {
	if t.Type == nil || *t.Type == gguf.F32 {
		return false, nil
	}
	for _, d := range t.deltas() {
		for _, p := range d.Params(d.Weight) {
			v := s.byName[t.prefix()+d.Tensor+"."+p.Name].Value
			if err := roundTo(v, p.Shape[0], ggml.Type(*t.Type)); err != nil {
				return changed, fmt.Errorf("round %q beside tensor %q to %v: %w", p.Name, d.Tensor, *t.Type, err)
			}
			changed = true
		}
	}
	return changed, nil
}

// wholeOf gives the parameters of a set that are tensors of the model, by name.
func (s *Session) wholeOf(name string) (map[string]*Param, error) {
	t := s.set(name)
	if t == nil || t.Whole == nil {
		return nil, fmt.Errorf("set %q has no tensors of the model", name)
	}
	own := map[string]*Param{}
	for x := range t.own {
		own[x] = s.byName[t.prefix()+x]
	}
	return own, nil
}

// roundTo replaces numbers, in rows of n, with what a storage type makes of them, a few rows at a time.
func roundTo(v backend.Floats, n int64, as ggml.Type) error {
	return eachRows(v, n, func(part []float32, at int64) error {
		b, err := ggml.Quantize(as, part, n)
		if err != nil {
			return err
		}
		if err := ggml.DequantizeTo(as, part, b); err != nil {
			return err
		}
		for _, x := range part {
			if x-x != 0 {
				return errors.New("a value of it is beyond that type's range; write the model in another type " +
					"(--outtype f32), or train with a lower learning rate (--lr)")
			}
		}
		return v.Upload(part, at)
	})
}

// eachRows downloads a few rows of v at a time, of n numbers each, and gives them to do, with the number of the first
// element.
func eachRows(v backend.Floats, n int64, do func(part []float32, at int64) error) error {
	step := max(1, piece/n) * n
	buffer := make([]float32, min(step, v.N))
	for at := int64(0); at < v.N; at += step {
		part := buffer[:min(step, v.N-at)]
		if err := v.Download(part, at); err != nil {
			return err
		}
		if err := do(part, at); err != nil {
			return err
		}
	}
	return nil
}

// SaveModel writes the model with a set's tensors as Set.Written says, everything else as in the base, atomically.
// Where a pooling is given, the file says that vectors of texts are made so.
func (s *Session) SaveModel(ctx context.Context, fsys atomicfile.FS, path, set string, pooling arch.Pooling) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("engine: save %s: session %w", path, ErrClosed)
	}
	own, err := s.wholeOf(set)
	if err != nil {
		return fmt.Errorf("engine: save %s: %w", path, err)
	}
	f := s.model.file
	var w gguf.Writer
	w.CopyMetadata(f)
	if pooling.Pools() {
		pooling.Write(&w, s.model.net.Arch)
	}
	var types []gguf.Type // of matrices
	for i := range f.Tensors {
		t := &f.Tensors[i]
		p, ok := own[t.Name]
		as := t.Type
		switch {
		case !ok:
			err = w.AddFrom(f, t)
		case s.rounded[p.Name] != nil:
			as = s.set(set).Written(t)
			err = w.Add(t.Name, as, t.Shape, s.stored(s.rounded[p.Name]))
		default:
			as = s.set(set).Written(t)
			err = w.Add(t.Name, as, t.Shape, quantized(p.Value, t.Shape[0], ggml.Type(as)))
		}
		if err != nil {
			return err
		}
		if !mixes.Kept(t.Name, t.Shape) && !slices.Contains(types, as) {
			types = append(types, as)
		}
	}
	// The key names what most tensors are, for people; no reader of tensors asks it.
	if n := s.set(set).FileType; n != nil {
		w.SetUint32("general.file_type", *n)
	} else if len(types) == 1 {
		if n, ok := fileTypes[types[0]]; ok {
			w.SetUint32("general.file_type", n)
		}
	}
	return w.WriteFile(ctx, fsys, path)
}

// fileTypes are llama.cpp's numbers (enum llama_ftype) of files whose matrices are all of one type.
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7, gguf.BF16: 32}

// quantized writes numbers, in rows of n, in a storage type, a few rows at a time.
func quantized(v backend.Floats, n int64, as ggml.Type) stream.Source {
	return func(dst io.Writer) error {
		return eachRows(v, n, func(part []float32, _ int64) error {
			b, err := ggml.Quantize(as, part, n)
			if err != nil {
				return err
			}
			_, err = dst.Write(b)
			return err
		})
	}
}
