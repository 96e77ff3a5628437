package engine

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/engine/gguf"
)

// ErrChanged is matched by the error of a pass during which the model's file was changed, or could not be read: what it
// computed is worthless, and so is every later one. Parameters and moments are in memory of their own, and sound.
var ErrChanged = gguf.ErrChanged

// intact gives err, or, where the model's file is no longer what was mapped, an error that matches ErrChanged.
func (m *Model) intact(err error) error {
	if errors.Is(err, bindings.ErrLost) {
		m.lost.Store(true)
	}
	if changed := m.file.CheckUnchanged(); changed != nil {
		return changed
	}
	if m.lost.Load() {
		return fmt.Errorf("%s: %w: parts of it could not be read", m.Path(), ErrChanged)
	}
	return err
}
