package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// CheckFull says why the model cannot be trained in full: quantized weights hold too few values for small updates to
// move them.
func (m *Model) CheckFull() error {
	for i := range m.file.Tensors { // the file's order: the same is named each time
		name := m.file.Tensors[i].Name
		if _, used := m.tensors[name]; !used {
			continue
		}
		if err := m.checkWhole(name); err != nil {
			return err
		}
	}
	return nil
}

// checkWhole is CheckFull for one tensor.
func (m *Model) checkWhole(name string) error {
	if t := m.tensors[name].info.Type; t.IsQuantized() {
		return m.fault("tensor %q is storage type %v; full-parameter training needs f32, f16 or bf16 weights: train "+
			"a LoRA adapter on this file, or take the model in one of those types", name, t)
	}
	return nil
}

// RoundParams rounds a set's tensors of the model to the base's own storage types, so that the session computes what
// SaveModel writes; changed says that it did anything, which it does not where all are F32. A value beyond the range
// of its type is an error. Training on goes on from the rounded values.
func (s *Session) RoundParams(set string) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, fmt.Errorf("engine: round parameters: session %w", ErrClosed)
	}
	own, err := s.wholeOf(set)
	if err != nil {
		return false, fmt.Errorf("engine: round parameters: %w", err)
	}
	f := s.model.file
	for i := range f.Tensors {
		t := &f.Tensors[i]
		p, ok := own[t.Name]
		if !ok || t.Type == gguf.F32 {
			continue
		}
		if err := roundTo(p.Value, t); err != nil {
			return changed, fmt.Errorf("round tensor %q to %v: %w", t.Name, t.Type, err)
		}
		changed = true
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

// roundTo replaces numbers with what t's storage type makes of them, a few rows at a time.
func roundTo(v backend.Floats, t *gguf.TensorInfo) error {
	return eachRows(v, t, func(part []float32, at int64) error {
		b, err := ggml.Quantize(ggml.Type(t.Type), part, t.Shape[0])
		if err != nil {
			return err
		}
		if err := ggml.DequantizeTo(ggml.Type(t.Type), part, b); err != nil {
			return err
		}
		for _, x := range part {
			if x-x != 0 {
				return errors.New("a value of it is beyond that type's range; take the model in f32, or train with " +
					"a lower learning rate (--lr)")
			}
		}
		return v.Upload(part, at)
	})
}

// eachRows downloads a few rows of v at a time and gives them to do, with the number of the first element.
func eachRows(v backend.Floats, t *gguf.TensorInfo, do func(part []float32, at int64) error) error {
	step := max(1, piece/t.Shape[0]) * t.Shape[0]
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

// SaveModel writes the model with a set's tensors in the base's own storage types, everything else as in the base,
// atomically.
func (s *Session) SaveModel(ctx context.Context, fsys atomicfile.FS, path, set string) error {
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
	for i := range f.Tensors {
		t := &f.Tensors[i]
		p, ok := own[t.Name]
		if !ok {
			if err := w.AddFrom(f, t); err != nil {
				return err
			}
			continue
		}
		if err := w.Add(t.Name, t.Type, t.Shape, quantized(p.Value, t)); err != nil {
			return err
		}
	}
	return w.WriteFile(ctx, fsys, path)
}

// quantized writes numbers in t's storage type, a few rows at a time.
func quantized(v backend.Floats, t *gguf.TensorInfo) gguf.TensorSource {
	return func(dst io.Writer) error {
		return eachRows(v, t, func(part []float32, _ int64) error {
			b, err := ggml.Quantize(ggml.Type(t.Type), part, t.Shape[0])
			if err != nil {
				return err
			}
			_, err = dst.Write(b)
			return err
		})
	}
}
