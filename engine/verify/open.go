package verify

import (
	"errors"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
)

// OpenModel opens a model with llama.cpp, after our own reader has looked at it: it trusts no length, refuses what
// llama.cpp does not survive, and says better what is wrong. No other function of the module hands a model to
// llama.cpp. Close it.
func OpenModel(path string, o llama.ModelOptions) (*llama.Model, error) {
	if err := checked(path, (*gguf.File).CheckRuns); err != nil {
		return nil, err
	}
	return llama.OpenModel(path, o)
}

// PlanMemory says what OpenModel and a context with these options would take, of a file that OpenModel would open.
func PlanMemory(path string, mo llama.ModelOptions, co llama.ContextOptions) (llama.Memory, error) {
	if err := checked(path, (*gguf.File).CheckRuns); err != nil {
		return llama.Memory{}, err
	}
	return llama.PlanMemory(path, mo, co)
}

// LoadAdapter is OpenModel for an adapter of m. Close it before m.
func LoadAdapter(m *llama.Model, path string) (*llama.Adapter, error) {
	if err := checked(path, func(f *gguf.File) error {
		_, err := adapter.ReadPurpose(f)
		return errors.Join(err, f.CheckAdapterRuns())
	}); err != nil {
		return nil, err
	}
	return m.LoadAdapter(path)
}

func checked(path string, check func(*gguf.File) error) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return check(f)
}

// applied loads an adapter ("": none) and has a context of m apply it, until release.
func applied(m *llama.Model, c *llama.Context, adapter string) (release func(), err error) {
	if adapter == "" {
		return func() {}, nil
	}
	lora, err := LoadAdapter(m, adapter)
	if err != nil {
		return nil, err
	}
	release = func() {
		c.SetAdapters(nil, nil)
		lora.Close()
	}
	if err := c.SetAdapters([]*llama.Adapter{lora}, []float32{1}); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
