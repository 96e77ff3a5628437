package engine

import (
	"maps"

	"github.com/ggtune/ggtune/engine/gguf"
)

// Stored is a tensor's numbers in a storage type.
type Stored struct {
	Type gguf.Type
	Data []byte // rows of the model's shape
}

// With gives the model with other numbers in place of some tensors' own: what a storage type does to predictions can be
// measured without a file. It lives on m, which must not be closed before its sessions are, and is not closed itself.
// File still describes what lies on disk.
func (m *Model) With(instead map[string]Stored) (*Model, error) {
	out := &Model{file: m.file, net: m.net, tensors: maps.Clone(m.tensors)}
	for name, s := range instead {
		t, ok := m.tensors[name]
		if !ok {
			return nil, m.fault("tensor %q is none that the model has", name)
		}
		size, err := s.Type.Size(t.info.Shape)
		if err != nil {
			return nil, m.fault("tensor %q: %w", name, err)
		}
		if int64(len(s.Data)) != size {
			return nil, m.fault("tensor %q: %d bytes given in its place, expected %d of storage type %s", name,
				len(s.Data), size, s.Type)
		}
		info := *t.info
		info.Type, info.Size = s.Type, size
		t.info, t.data, t.row = &info, s.Data, size/t.rows()
		out.tensors[name] = t
	}
	return out, nil
}
