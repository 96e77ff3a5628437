package engine

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/llama"
)

// A Probe holds the logits that a session computes for a few tokens, to be compared with llama.cpp's after the session and its
// model are closed (so that the weights are not in memory twice).
type Probe struct {
	Tokens []int32
	// Base and Trained are rows of the vocabulary's logits, one for every token but the last. Base is nil where the base cannot be
	// computed any more (full training).
	Base, Trained []float32
}

// probeTokens is how many tokens a probe reads: enough that every layer mixes positions, few enough that the logits of a
// vocabulary of 150,000 stay near 20 MB.
const probeTokens = 32

// Logits gives the logits of the whole vocabulary for every token but the last of a plain sequence.
func (s *Session) Logits(ctx context.Context, tokens []int32, opt Options) ([]float32, error) {
	row := plainRow(tokens)
	opt.Logits = true
	out, err := s.Forward(ctx, &Batch{Rows: []Row{row}}, opt)
	if err != nil {
		return nil, err
	}
	return out.Logits, nil
}

// Probe computes the logits of the first tokens of a sequence of 2 or more, with what is trained and, where that can be
// switched off, without.
func (s *Session) Probe(ctx context.Context, tokens []int32) (*Probe, error) {
	p := &Probe{Tokens: append([]int32(nil), tokens[:min(len(tokens), probeTokens)]...)}
	var err error
	if p.Trained, err = s.Logits(ctx, p.Tokens, Options{}); err != nil {
		return nil, err
	}
	if !s.full {
		p.Base, err = s.Logits(ctx, p.Tokens, Options{NoAdapter: true})
	}
	return p, err
}

// An Agreement says how far llama.cpp's logits are from ours: the largest absolute difference over all tokens of the
// vocabulary and all positions of the probe.
type Agreement struct {
	Base    float64 // without what was trained; NaN where the probe has no base
	Trained float64
}

// ErrDisagree is what an Agreement beyond its bound matches.
var ErrDisagree = errors.New("llama.cpp computes something else from the file than was trained")

// agreementFactor bounds the trained model's difference by the base's own, measured in the same check: both have the same
// sources (llama.cpp rounds activations to 8 bits where weights are quantized, ours to bf16).
const agreementFactor = 2

// agreementFloor, relative to the largest logit, is what f32 sums in another order may differ by; it matters where the base agrees almost
// exactly (f32 models: 1e-5 measured).
const agreementFloor = 1e-4

// agreementFloorFull is the same for a model trained in full: its logits may be far from the base's in size (a fresh model's
// are near zero), so that the base's own difference says little. The fast mode rounds to bf16; 5e-3 was measured on trained
// f32 models. A wrong tensor makes more than 0.5.
const agreementFloorFull = 2e-2

// VerifyAdapter opens base and adapter with llama.cpp and compares its logits with the probe's. No session or Model may
// have the base mapped meanwhile.
func (p *Probe) VerifyAdapter(ctx context.Context, base, adapter string, threads int) (Agreement, error) {
	var a Agreement
	err := withLlama(base, len(p.Tokens), threads, func(m *llama.Model, c *llama.Context) error {
		var err error
		if a.Base, err = p.difference(ctx, c, p.Base); err != nil {
			return err
		}
		lora, err := m.LoadAdapter(adapter)
		if err != nil {
			return err
		}
		defer lora.Close()
		if err := c.SetAdapters([]*llama.Adapter{lora}, []float32{1}); err != nil {
			return err
		}
		a.Trained, err = p.difference(ctx, c, p.Trained)
		return errors.Join(err, c.SetAdapters(nil, nil))
	})
	if err != nil {
		return a, err
	}
	return a, p.judge(a, adapter, agreementFloor)
}

// VerifyModel opens a trained model with llama.cpp and compares its logits with the probe's. baseDifference is the same
// difference before training, from Difference.
func (p *Probe) VerifyModel(ctx context.Context, path string, baseDifference float64, threads int) (Agreement, error) {
	a := Agreement{Base: baseDifference}
	err := withLlama(path, len(p.Tokens), threads, func(_ *llama.Model, c *llama.Context) error {
		var err error
		a.Trained, err = p.difference(ctx, c, p.Trained)
		return err
	})
	if err != nil {
		return a, err
	}
	return a, p.judge(a, path, agreementFloorFull)
}

// Difference opens a model with llama.cpp and gives the largest difference of its logits from the probe's Trained ones.
func (p *Probe) Difference(ctx context.Context, path string, threads int) (float64, error) {
	var d float64
	err := withLlama(path, len(p.Tokens), threads, func(_ *llama.Model, c *llama.Context) error {
		var err error
		d, err = p.difference(ctx, c, p.Trained)
		return err
	})
	return d, err
}

// judge demands a difference of at most agreementFactor times the base's, or floor times the largest logit.
func (p *Probe) judge(a Agreement, path string, floor float64) error {
	largest := 0.0
	for _, v := range p.Trained {
		largest = math.Max(largest, math.Abs(float64(v)))
	}
	bound := math.Max(agreementFactor*a.Base, floor*largest)
	if a.Trained <= bound { // false for NaN
		return nil
	}
	return fmt.Errorf("verify %s: %w: logits differ by up to %.3g, expected at most %.3g (%d times the base model's own %.3g, or %g of the largest); run ggtune check on the base, and report this with its output", path, ErrDisagree, a.Trained, bound, agreementFactor, a.Base, floor)
}

// difference compares llama.cpp's logits with rows, a position at a time.
func (p *Probe) difference(ctx context.Context, c *llama.Context, rows []float32) (float64, error) {
	worst, at := 0.0, 0
	positions := make([]int, len(p.Tokens)-1)
	for i := range positions {
		positions[i] = i
	}
	err := c.EachLogits(ctx, p.Tokens, positions, func(_ int, row []float32) error {
		for i, v := range row {
			d := math.Abs(float64(v) - float64(rows[at+i]))
			if d > worst || math.IsNaN(d) {
				worst = d
			}
		}
		at += len(row)
		return nil
	})
	return worst, err
}

func withLlama(path string, n, threads int, use func(*llama.Model, *llama.Context) error) (err error) {
	m, err := llama.OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	c, err := m.NewContext(llama.VerifyContextOptions(max(n, 32), threads))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return use(m, c)
}
