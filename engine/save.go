package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// CheckFull says why the model cannot be trained in full: quantized weights hold too few values for small updates to move
// them.
func (m *Model) CheckFull() error {
	for name, t := range m.tensors {
		if t.info.Type.IsQuantized() {
			return m.fault("tensor %q is storage type %v; full-parameter training needs f32, f16 or bf16 weights: train a LoRA adapter on this file, or take the model in one of those types", name, t.info.Type)
		}
	}
	return nil
}

// SaveModel writes the model with its trained tensors in the base's own storage types, everything else as in the base,
// atomically. The session must train the full model.
func (s *Session) SaveModel(ctx context.Context, fsys atomicfile.FS, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("engine: save %s: session %w", path, ErrClosed)
	}
	f := s.model.file
	var w gguf.Writer
	w.CopyMetadata(f)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		p, ok := s.byName[t.Name]
		if !ok {
			if err := w.AddFrom(f, t); err != nil {
				return err
			}
			continue
		}
		if err := w.Add(t.Name, t.Type, t.Shape, quantized(p.Data, t)); err != nil {
			return err
		}
	}
	return w.WriteFile(ctx, fsys, path)
}

// quantized writes numbers in t's storage type, a few rows at a time.
func quantized(data []float32, t *gguf.TensorInfo) gguf.TensorSource {
	return func(dst io.Writer) error {
		row := int(t.Shape[0])
		rows := max(1, (1<<20)/row)
		for at := 0; at < len(data); {
			n := min(rows*row, len(data)-at)
			b, err := ggml.Quantize(ggml.Type(t.Type), data[at:at+n], int64(row))
			if err != nil {
				return err
			}
			if _, err := dst.Write(b); err != nil {
				return err
			}
			at += n
		}
		return nil
	}
}
