package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Target is a model to measure: a file, or a published shape whose weights are generated.
type Target struct {
	Path  string // of a GGUF file; then Shape and Type are empty
	Shape string // a name of Shapes
	Type  string // a storage type or a mix, such as q8_0 or q4_K_M
}

// Shapes lists the shapes that need no file.
func Shapes() []string { return synth.ShapeNames() }

func (t Target) String() string {
	if t.Path != "" {
		return filepath.Base(t.Path)
	}
	return t.Shape + " " + t.Type
}

func (t Target) validate() error {
	switch {
	case t.Path != "" && (t.Shape != "" || t.Type != ""):
		return fmt.Errorf("model %s: a file has a shape and types of its own; give either a file or a shape", t.Path)
	case t.Path != "":
		return nil
	}
	s, err := t.spec()
	if err != nil {
		return err
	}
	a, err := arch.Get(s.Arch)
	if err != nil {
		return err
	}
	_, system, err := llama.System()
	if err == nil && a.Newer && !system { // which would be found out when gigabytes are written
		err = llama.UnknownArch("shape "+t.Shape, s.Arch)
	}
	return err
}

func (t Target) spec() (synth.Spec, error) {
	s, err := synth.ShapeByName(t.Shape)
	if err != nil {
		return s, err
	}
	if s.Mix, err = mix.Get(t.Type); err == nil {
		return s, nil
	}
	typ, typeErr := gguf.ParseType(t.Type)
	if typeErr != nil {
		return s, err // the mixes are the better list of what there is
	}
	s.Mix, s.Type = mix.Mix{}, typ
	return s, s.Validate()
}

// file gives the path of the model, generated if need be. remove deletes what was generated.
func (t Target) file(ctx context.Context) (path string, remove func(), err error) {
	if t.Path != "" {
		return t.Path, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "ggtune-bench-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "model.gguf")
	if err := t.Write(ctx, path, nil); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

// Write writes the model of a shape to a file, with the weights that Run generates. keys take the place of the shape's
// metadata of the same names (synth.Spec.Keys, and block_count).
func (t Target) Write(ctx context.Context, path string, keys map[string]any) error {
	s, err := t.spec()
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		s.Keys = maps.Clone(s.Keys)
		if s.Keys == nil {
			s.Keys = map[string]any{}
		}
		maps.Copy(s.Keys, keys)
		if n, ok := s.Keys["block_count"].(int); ok {
			s.Layers = n
			delete(s.Keys, "block_count")
		}
	}
	if err := s.WriteFile(ctx, path); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

// label gives the model's name and storage type for the report: as asked for, or from the file.
func (t Target) label(m *engine.Model) (name, typ string) {
	if t.Path == "" {
		return t.Shape, t.Type
	}
	sizes := map[gguf.Type]int64{}
	most := gguf.F32
	for i := range m.File().Tensors {
		info := &m.File().Tensors[i]
		if len(info.Shape) < 2 {
			continue
		}
		sizes[info.Type] += info.Size
		if sizes[info.Type] > sizes[most] {
			most = info.Type
		}
	}
	return filepath.Base(t.Path), most.String()
}
