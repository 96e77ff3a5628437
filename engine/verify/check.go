package verify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
)

// A Report is what Check found out about a model.
type Report struct {
	LogitsMaxDiff float64         `json:"logits_max_diff"` // largest absolute difference from llama.cpp's, fast mode
	ExactMaxDiff  float64         `json:"exact_max_diff"`  // the same in exact mode
	LargestLogit  float64         `json:"largest_logit"`
	Gradients     []GradientCheck `json:"gradients"`
}

// A GradientCheck compares one tensor's gradient with a finite difference of the loss along it.
type GradientCheck struct {
	Tensor string  `json:"tensor"`
	Slope  float64 `json:"slope"`  // the gradient's norm: the loss's slope along it
	Finite float64 `json:"finite"` // (loss(+h) − loss(−h)) / 2h
	Error  float64 `json:"error"`  // |Slope − Finite| / Slope
}

// Bounds of Check.
const (
	// GradientError is the largest relative error of a slope. Measured on generated and trained models: up to 4e-3, from the
	// loss's f32 rounding over the step.
	GradientError = 2e-2
	// checkTokens is the length of the sequence that gradients are checked on.
	checkTokens = 24
	// checkLossChange is what a step aims to change the loss by, in nats: far above f32 rounding of the sum, small enough for the
	// curve to be straight.
	checkLossChange = 5e-3
)

// Check compares a model's logits with llama.cpp's, and the gradients of a LoRA pair on every linear role (in one layer each,
// spread over the model) with finite differences, in exact mode. It opens the model three times, one after the other.
func Check(ctx context.Context, path string, threads int, seed uint64) (*Report, error) {
	rep := &Report{}
	var fast, exact *Probe
	if err := withSession(path, engine.SessionConfig{Threads: threads}, func(s *engine.Session) (err error) {
		fast, err = NewProbe(ctx, s, randomTokens(s.Model(), probeTokens, seed))
		return err
	}); err != nil {
		return nil, err
	}
	if err := withSession(path, engine.SessionConfig{Threads: threads, Exact: true}, func(s *engine.Session) (err error) {
		exact, err = NewProbe(ctx, s, fast.Tokens)
		if err == nil {
			rep.Gradients, err = checkGradients(ctx, s.Model(), threads, seed)
		}
		return err
	}); err != nil {
		return nil, err
	}
	for p, d := range map[*Probe]*float64{fast: &rep.LogitsMaxDiff, exact: &rep.ExactMaxDiff} {
		far, err := p.Distance(ctx, path, threads)
		if err != nil {
			return nil, err
		}
		*d = far.Max
	}
	for _, v := range exact.Trained {
		rep.LargestLogit = math.Max(rep.LargestLogit, math.Abs(float64(v)))
	}
	return rep, nil
}

func withSession(path string, cfg engine.SessionConfig, use func(*engine.Session) error) error {
	m, err := engine.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := engine.NewSession(m, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	return use(s)
}

func randomTokens(m *engine.Model, n int, seed uint64) []int32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.IntN(m.HParams().NVocab))
	}
	return out
}

// checkGradients trains nothing: it sets B off zero, so that A's gradient is not zero, and measures slopes.
func checkGradients(ctx context.Context, m *engine.Model, threads int, seed uint64) ([]GradientCheck, error) {
	roles := adapter.LayerRoles(m.Arch(), m.HParams())
	a, err := adapter.New(m.Arch(), m.HParams(), adapter.Config{Rank: 4, Alpha: 4, Init: "kaiming", Seed: seed})
	if err != nil {
		return nil, err
	}
	var pairs []adapter.Pair
	for i := range a.Pairs {
		if p := a.Pairs[i]; p.Layer == spread(roles, p.Role, m.HParams().NLayer) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for j := range p.B {
				p.B[j] = float32(0.02 * r.NormFloat64())
			}
			pairs = append(pairs, p)
		}
	}
	a.Pairs = pairs
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: threads, Exact: true, Adapter: a})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return slopes(ctx, s, randomTokens(m, min(checkTokens, s.Positions()), seed))
}

// spread chooses the layer that a role is checked in: the roles' layers are spread over the model.
func spread(roles []arch.Role, r arch.Role, layers int) int {
	for i := range roles {
		if roles[i] == r {
			return i * (layers - 1) / max(1, len(roles)-1)
		}
	}
	return 0
}

func slopes(ctx context.Context, s *engine.Session, tokens []int32) ([]GradientCheck, error) {
	row := engine.PlainRow(tokens)
	b := &engine.Batch{Rows: []engine.Row{row}}
	coef := make([]float32, len(row.Counted))
	for i := range coef {
		coef[i] = -1 / float32(len(coef))
	}
	loss := func(back bool) (float64, error) {
		out, err := s.Forward(ctx, b, engine.Options{Backward: back})
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for i, c := range coef {
			sum += float64(c) * float64(out.LogP[i])
		}
		return sum, nil
	}
	if _, err := loss(true); err != nil {
		return nil, err
	}
	if err := s.Backward(ctx, &engine.OutputGrad{LogP: coef}); err != nil {
		return nil, err
	}
	var out []GradientCheck
	for _, p := range s.Params() {
		c, err := slope(p, func() (float64, error) { return loss(false) })
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", p.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// slope moves p along its gradient, both ways, and measures what the loss does.
func slope(p *engine.Param, loss func() (float64, error)) (GradientCheck, error) {
	norm := 0.0
	for _, g := range p.Grad {
		norm += float64(g) * float64(g)
	}
	norm = math.Sqrt(norm)
	c := GradientCheck{Tensor: p.Name, Slope: norm}
	if norm == 0 {
		c.Error = math.Inf(1) // every pair is on the way to the loss: a zero gradient is a wrong one
		return c, nil
	}
	was := append([]float32(nil), p.Data...)
	defer copy(p.Data, was)
	step := checkLossChange / norm
	var l [2]float64
	for k, sign := range []float64{1, -1} {
		for i := range p.Data {
			p.Data[i] = was[i] + float32(sign*step*float64(p.Grad[i])/norm)
		}
		var err error
		if l[k], err = loss(); err != nil {
			return c, err
		}
	}
	c.Finite = (l[0] - l[1]) / (2 * step)
	c.Error = math.Abs(c.Slope-c.Finite) / c.Slope
	return c, nil
}
