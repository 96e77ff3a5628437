package config

import (
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
)

// Session is the engine's share of the settings, with one set, named "": the full model, or the adapter as training
// starts: that of InitAdapter, or a fresh one. An error about the settings is an *Error.
func (c *Config) Session(m *engine.Model) (engine.SessionConfig, error) {
	sc := engine.SessionConfig{Threads: c.Threads, Exact: c.Exact, Seed: c.Seed}
	if c.Full {
		sc.Sets = []engine.Set{{Whole: engine.Everything}}
		return sc, nil
	}
	a, err := c.adapter(m)
	sc.Sets = []engine.Set{{Adapter: a, Dropout: c.Dropout}}
	return sc, err
}

func (c *Config) adapter(m *engine.Model) (*adapter.Adapter, error) {
	if c.InitAdapter != "" {
		return adapter.Load(c.InitAdapter, m.Net())
	}
	layers, err := c.LayerNumbers(m.HParams().NLayer)
	if err != nil {
		return nil, err
	}
	return adapter.New(m.Net(), adapter.Config{Rank: c.Rank, Alpha: c.Alpha, RSLoRA: c.RSLoRA,
		Targets: c.Targets, Layers: layers, Init: c.Init, Seed: c.Seed})
}
