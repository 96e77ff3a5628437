package config

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// Session is the engine's share of the settings, with one set, named "": tensors of the model, or the adapter as
// training starts: that of InitAdapter, or a fresh one, whose numbers Begin fills where they follow from weights: then
// there may be a second set, that takes them away again. With the adapter of a method that gives scores or
// values there is a head, and of one that learns numbers of its own these. An error about the settings is an *Error.
func (c *Config) Session(m *engine.Model) (engine.SessionConfig, error) {
	sc := engine.SessionConfig{Threads: c.Threads, Exact: c.Exact, Seed: c.Seed,
		EmbedNoise: c.NEFTuneAlpha, ModelDropout: c.modelDropout()}
	if c.Whole() {
		set, err := c.whole(m)
		if err == nil {
			err = c.startOwn(&set)
		}
		sc.Sets = []engine.Set{set}
		return sc, err
	}
	a, err := c.adapter(m)
	sc.Sets = []engine.Set{{Adapter: a, Dropout: c.Dropout}}
	if err == nil {
		sc.Sets[0].Type, err = c.outType()
	}
	if err == nil && c.headed() && !c.OwnValues() {
		err = c.startHead(m, &sc.Sets[0])
	}
	if err == nil {
		err = c.startOwn(&sc.Sets[0])
	}
	if err == nil && adapter.Subtracts(c.Init) {
		sc.Sets = append(sc.Sets, engine.Set{Name: startSet, Adapter: a.Opposite(), Frozen: true})
	}
	if err == nil && c.OwnValues() {
		own := engine.Set{Name: ValueSet, Apart: true}
		if own.Adapter, err = c.freshFor(m); err == nil {
			err = c.startHead(m, &own)
		}
		sc.Sets = append(sc.Sets, own)
	}
	return sc, err
}

// modelDropout is ModelDropout, or what the method usually has.
func (c *Config) modelDropout() float64 {
	if how, err := c.Loss(); err == nil && c.ModelDropout.Auto {
		return how.Drops
	}
	return c.ModelDropout.N
}

// freshFor is a fresh adapter for values, shaped as that which is trained.
func (c *Config) freshFor(m *engine.Model) (*adapter.Adapter, error) {
	fresh := *c
	fresh.InitAdapter, fresh.Init, fresh.Mergeable, fresh.Seed = "", Default().Init, false, c.Seed+1
	return fresh.startAdapter(m)
}

// startHead gives a set the head as training starts: that of Head, or a fresh one.
func (c *Config) startHead(m *engine.Model, set *engine.Set) error {
	weight := head.New(m.HParams().NEmbd, c.Seed)
	if c.Head != "" {
		f, err := head.Load(c.Head)
		if err == nil {
			err = f.Of(c.Head, m)
		}
		if err != nil {
			return fmt.Errorf("--%s: %w", c.optionOf(&c.Head).Name, err)
		}
		weight = f.Weight
	}
	set.Heads = []engine.Head{head.Head(weight)}
	return nil
}

// startOwn gives a set the numbers that the method learns of its own, as training starts.
func (c *Config) startOwn(set *engine.Set) error {
	how, err := c.Loss()
	if err != nil {
		return err
	}
	for _, l := range how.Learned {
		set.Heads = append(set.Heads, engine.Head{Role: arch.Role(l.Name), Shape: []int64{1},
			Values: []float32{float32(l.Start)}})
	}
	return nil
}

// Invoke has the adapters of a session wait for an invocation.
func Invoke(sc engine.SessionConfig, invocation []int32) {
	for _, s := range sc.Sets {
		if a, ok := s.Adapter.(*adapter.Adapter); ok {
			a.Invocation = invocation
		}
	}
}

// whole chooses tensors of the model.
func (c *Config) whole(m *engine.Model) (set engine.Set, err error) {
	var layers []int
	if c.tunes() == tunePart {
		if layers, err = c.LayerNumbers(m.HParams().NLayer); err != nil {
			return set, err
		}
		if len(c.Train) == 0 && layers == nil {
			return set, errors.New("config: tune part without a choice of tensors") // Validate refuses it
		}
	}
	if set.Whole, err = m.Choose(c.Train, layers); err != nil {
		return set, &Error{fmt.Errorf("--%s: %w", c.optionOf(&c.Train).Name, err)}
	}
	if set.Master, err = gguf.ParseType(c.Master); err != nil {
		return set, err
	}
	if set.Type, err = c.outType(); err != nil {
		return set, err
	}
	return set, c.rounded(m, &set)
}

// outType reads OutType; nil: auto.
func (c *Config) outType() (*gguf.Type, error) {
	if c.OutType == autoWord {
		return nil, nil
	}
	t, err := gguf.ParseType(c.OutType)
	return &t, err
}

// rounded has a set computed with as QAT says: each matrix in the type that ggtune quantize would give it.
func (c *Config) rounded(m *engine.Model, set *engine.Set) error {
	if c.QAT == "" {
		return nil
	}
	p, err := c.rounding(m)
	if err != nil {
		return err
	}
	set.Rounded, set.Types, set.FileType = true, map[string]gguf.Type{}, p.FileType
	for _, ch := range p.Changes {
		set.Types[ch.Tensor.Name] = ch.To
	}
	if w, err := m.Whole(*set); err != nil || w.Rounded > 0 {
		return err
	}
	return &Error{fmt.Errorf("--%s %s rounds none of the tensors that are trained; norms and biases stay f32, and so "+
		"does what is written in it: leave it out, or train matrices", c.optionOf(&c.QAT).Name, c.QAT)}
}

// rounding is the plan of QAT. What is quantized already is trained as it is dequantized: nothing is rounded twice.
func (c *Config) rounding(m *engine.Model) (quant.Plan, error) {
	chosen, err := mix.ToWrite(c.QAT)
	if err != nil {
		return quant.Plan{}, &Error{fmt.Errorf("--%s: %w", c.optionOf(&c.QAT).Name, err)}
	}
	p, err := quant.NewPlan(m.File(), quant.Choice{Mix: chosen, Requantize: true})
	switch {
	case errors.Is(err, quant.ErrImportance):
		return p, &Error{fmt.Errorf("--%s %s: it is rounded to by an importance matrix, and training has none; choose "+
			"another type, such as q2_k or iq3_s", c.optionOf(&c.QAT).Name, c.QAT)}
	case err != nil:
		return p, &Error{fmt.Errorf("--%s: %w", c.optionOf(&c.QAT).Name, err)}
	}
	return p, nil
}

// Unfit counts the tensors whose rows are no whole blocks of the type that QAT gives them, which are rounded to a
// larger one.
func (c *Config) Unfit(m *engine.Model) (n int, err error) {
	if c.QAT == "" {
		return 0, nil
	}
	p, err := c.rounding(m)
	for _, ch := range p.Changes {
		if ch.Fallback {
			n++
		}
	}
	return n, err
}

func (c *Config) adapter(m *engine.Model) (*adapter.Adapter, error) {
	a, err := c.startAdapter(m)
	if err != nil {
		return a, err
	}
	if c.TaskName != "" {
		a.TaskName = c.TaskName
	}
	if c.PromptPrefix != "" {
		a.PromptPrefix = c.PromptPrefix
	}
	if !c.Mergeable {
		return a, nil
	}
	// The model first: of one that is unfit, an adapter's rows need not be whole blocks.
	if err := c.checkMergeable(m, a); err != nil {
		return nil, err
	}
	if err := a.Tie(quant.MinimumBlock); err != nil {
		return nil, &Error{fmt.Errorf("--mergeable: %w", err)}
	}
	return a, nil
}

// checkMergeable refuses weights that an adapter cannot be merged into by their minima alone.
func (c *Config) checkMergeable(m *engine.Model, a *adapter.Adapter) error {
	for i := range a.Pairs {
		t, err := m.File().Tensor(a.Pairs[i].Tensor)
		if err != nil {
			return err
		}
		if quant.HasMinima(t.Type) {
			continue
		}
		why := "which keeps no minimum of its own, in f16, for each block of 32"
		if t.Type.IsFloat() {
			why = "into which any adapter is merged without quantizing"
		}
		return &Error{fmt.Errorf("--mergeable: tensor %q is storage type %s, %s; it is for q4_1 and q5_1: quantize "+
			"the "+
			"model to one of them, choose --targets of such a type, or leave --mergeable out", t.Name, t.Type, why)}
	}
	return nil
}

// startAdapter is the adapter that training starts from.
func (c *Config) startAdapter(m *engine.Model) (*adapter.Adapter, error) {
	if c.InitAdapter != "" {
		return c.initAdapter(m)
	}
	if _, err := adapter.Targets(m.Net(), c.Targets); err != nil {
		return nil, &Error{fmt.Errorf("--targets: %w", err)}
	}
	block := int64(0)
	if c.Mergeable {
		block = quant.MinimumBlock
	}
	layers, err := c.LayerNumbers(m.HParams().NLayer)
	if err != nil {
		return nil, err
	}
	return adapter.New(m.Net(), adapter.Config{Kind: c.Kind(), Rank: c.Rank, Alpha: c.Alpha, RSLoRA: c.RSLoRA,
		Targets: c.Targets, Layers: layers, Init: c.Init, Seed: c.Seed, Block: block})
}

// initAdapter is that of InitAdapter, which must be of the kind that is trained.
func (c *Config) initAdapter(m *engine.Model) (*adapter.Adapter, error) {
	a, err := adapter.Load(c.InitAdapter, m.Net())
	if err != nil {
		return nil, err
	}
	if kind := c.Kind(); kind == adapter.LoRAFA && a.Kind == adapter.LoRA {
		a.Kind = kind
	} else if a.Kind != kind {
		return nil, &Error{fmt.Errorf("--init-adapter: %s is a %s adapter; expected --tune %[2]s with it, and it is "+
			"--tune %s", c.InitAdapter, a.Kind, kind)}
	}
	return a, nil
}
