package verify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// A Report is what Check found out about a model.
type Report struct {
	Tokens        string  `json:"tokens"` // what was computed on: "text", or "random"
	Note          string  `json:"note,omitempty"`
	What          string  `json:"what"`            // what is compared: "logits", or "vectors" of texts
	LogitsMaxDiff float64 `json:"logits_max_diff"` // largest absolute difference from llama.cpp's, fast mode
	ExactMaxDiff  float64 `json:"exact_max_diff"`  // the same in exact mode
	LargestLogit  float64 `json:"largest_logit"`   // of vectors their length: 1, at which they are compared
	LogitsRMSDiff float64 `json:"logits_rms_diff"` // root mean squared difference from llama.cpp's, fast mode
	ExactRMSDiff  float64 `json:"exact_rms_diff"`  // the same in exact mode
	LogitsRMS     float64 `json:"logits_rms"`      // the logits' own root mean square: their size
	LogitError    float64 `json:"logit_error"`     // the larger root mean squared difference over the size
	LogitBound    float64 `json:"logit_bound"`     // what LogitError may be
	ExactError    float64 `json:"exact_error"`     // ExactRMSDiff over the size
	ExactBound    float64 `json:"exact_bound"`     // what ExactError may be
	GradientError float64 `json:"gradient_error"`  // the largest of all tensors

	Gradients []GradientCheck `json:"gradients"`
}

// A GradientCheck compares one tensor's gradient with a finite difference of the loss along it.
type GradientCheck struct {
	Tensor string  `json:"tensor"`
	Slope  float64 `json:"slope"`  // the gradient's norm: the loss's slope along it
	Finite float64 `json:"finite"` // (loss(+h) − loss(−h)) / 2h
	Error  float64 `json:"error"`  // |Slope − Finite| / Slope
}

// Bounds of Check. Those of logits are shares of their size (see allowed). llama.cpp rounds activations to 8 bits
// before it multiplies them by quantized weights, and to bf16 by those of bf16.
const (
	// textBound is for text: measured up to 0.042, on SmolLM2-135M-Instruct q4_1, and 0.035 over generated models in
	// all storage types. One wrong matrix in a model of 5 to 30 layers makes 0.18 and more.
	textBound = 0.15
	// randomBound is for tokens that make no text: measured up to 0.14 on the same model, whose logits are then
	// sensitive to any rounding. One wrong matrix makes 0.2 to 0.6: most are found out.
	randomBound = 0.25
	// floatBound is for the exact mode where all matrices are f32 or f16: measured up to 6e-4 (f16 activations; GELU's
	// table).
	floatBound = 1e-2
	// GradientBound is the largest relative error of a slope. Measured on generated and trained models: up to 4e-3,
	// from the loss's f32 rounding over the step.
	GradientBound = 2e-2
	// checkTokens is the length of the sequence that gradients are checked on.
	checkTokens = 24
	// checkLossChange is what a step aims to change the loss by, in nats: far above f32 rounding of the sum, small
	// enough for the curve to be straight.
	checkLossChange = 5e-3
)

// checkText is what Check computes on, as its tokenizer reads it: plain English that the smallest tokenizer has
// letters for, and longer than a probe in all.
const checkText = "The old keeper of the lighthouse climbed the stairs every evening at six, lit the lamp, and wrote " +
	"in a small green book what the weather had been. One night the wind blew so hard that the door would not open, " +
	"and " +
	"she had to sing to stay awake."

// Check compares a model's logits with llama.cpp's, and the gradients of a LoRA pair on every linear role (in one
// layer each, spread over the model) with finite differences, in exact mode. It opens the model three times, one after
// the other. What is out of bounds is no error of Check's, but of the report's Err; a weight that is no number is one.
func Check(ctx context.Context, path string, threads int, seed uint64) (*Report, error) {
	rep := &Report{}
	var fast, exact *Probe
	if err := withSession(path, engine.SessionConfig{Threads: threads}, func(s *engine.Session) (err error) {
		// A weight that is no number is the file's fault, and not to be taken for one of what computes with it.
		if _, _, err := quant.Largest(ctx, s.Model().File()); err != nil {
			return err
		}
		fast, err = NewProbe(ctx, s, rep.tokens(s, seed), 0)
		return err
	}); err != nil {
		return nil, err
	}
	if err := withSession(path, engine.SessionConfig{Threads: threads, Exact: true},
		func(s *engine.Session) (err error) {
			if exact, err = fast.of(ctx, s); err == nil {
				rep.Gradients, err = checkGradients(ctx, s.Model(), fast, threads, seed)
			}
			return err
		}); err != nil {
		return nil, err
	}
	far, err := fast.Distance(ctx, path, threads)
	if err != nil {
		return nil, err
	}
	exactFar, err := exact.Distance(ctx, path, threads)
	if err != nil {
		return nil, err
	}
	rep.judge(exact, far, exactFar)
	return rep, nil
}

// tokens are those of checkText, or random ones where the file has no tokenizer that can write them: there is no text
// for such a model, and llama.cpp computes on any tokens. Bounds go with them.
func (r *Report) tokens(s *engine.Session, seed uint64) []int32 {
	m := s.Model()
	ids, err := textTokens(m.Path())
	r.Tokens, r.LogitBound = "text", textBound
	if err != nil {
		r.Tokens, r.LogitBound = "random", randomBound
		r.Note = fmt.Sprintf(
			"no text can be computed on, so that tokens were drawn at random, and logits may differ by "+
				"more: %v", err)
		rng := rand.New(rand.NewPCG(seed, 1))
		for ids = nil; len(ids) < probeTokens; {
			ids = append(ids, int32(rng.IntN(m.HParams().NVocab)))
		}
	}
	if r.ExactBound = r.LogitBound; float(m.File()) {
		r.ExactBound = floatBound
	}
	return ids[:min(len(ids), s.Positions())]
}

// textTokens reads checkText with the model's own tokenizer.
func textTokens(path string) ([]int32, error) {
	v, err := llama.LoadVocab(path)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	return v.Encode(checkText, true, false)
}

// float says whether every matrix is f32 or f16, by which llama.cpp multiplies without rounding activations to 8 bits.
func float(f *gguf.File) bool {
	for _, t := range f.Tensors {
		if t.Type != gguf.F32 && t.Type != gguf.F16 {
			return false
		}
	}
	return true
}

// judge sums the measurements up.
func (r *Report) judge(exact *Probe, fast, exactFar Distance) {
	r.What, r.LogitsMaxDiff, r.LogitsRMSDiff = exact.what(), fast.Max, fast.RMS
	r.ExactMaxDiff, r.ExactRMSDiff = exactFar.Max, exactFar.RMS
	for _, v := range exact.Trained {
		r.LargestLogit = max(r.LargestLogit, math.Abs(float64(v)))
	}
	if exact.Pooling != 0 {
		r.LargestLogit = 1
	}
	r.LogitsRMS = rms(exact.Trained, nil)
	r.LogitError, r.ExactError = max(fast.RMS, exactFar.RMS)/r.LogitsRMS, exactFar.RMS/r.LogitsRMS
	for _, g := range r.Gradients {
		r.GradientError = max(r.GradientError, g.Error)
	}
}

// Err says what is out of bounds, or is nil. What is no number is out of bounds.
func (r *Report) Err() error {
	size := r.LogitsRMS
	fast, exact := allowed(size, r.LogitBound, 0), allowed(size, r.ExactBound, 0)
	if size > 0 && r.LogitsRMSDiff <= fast && r.ExactRMSDiff <= exact && r.GradientError <= GradientBound {
		return nil
	}
	return fmt.Errorf(
		"out of bounds: %s (of size %.3g) differ from llama.cpp's by %.3g in the root mean square, at "+
			"most %.3g expected, in exact mode by %.3g, at most %.3g; gradients by %.3g of theirs, at most %g",
		r.What, size, r.LogitsRMSDiff, fast, r.ExactRMSDiff, exact, r.GradientError, GradientBound)
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

// checkGradients trains nothing: it sets B off zero, so that A's gradient is not zero, and measures slopes.
func checkGradients(
	ctx context.Context, m *engine.Model, p *Probe, threads int, seed uint64,
) ([]GradientCheck, error) {
	roles := m.Net().LinearRoles()
	targets := make([]string, len(roles))
	for i, r := range roles {
		targets[i] = string(r)
	}
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 4, Init: "kaiming", Seed: seed, Targets: targets})
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
	s, err := engine.NewSession(m,
		engine.SessionConfig{Threads: threads, Exact: true, Sets: []engine.Set{{Adapter: a}}})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	text := p.Texts[0]
	return slopes(ctx, s, text[:min(checkTokens, len(text))], p.Pooling)
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

// slopes checks what a model says: the mean of log-probabilities, or a sum of a vector's numbers with signs in turns: a
// norm behind the last layer holds on to the plain one, and of their mean a step would have to be too long.
func slopes(ctx context.Context, s *engine.Session, tokens []int32, p arch.Pooling) ([]GradientCheck, error) {
	says := s.Model().Says()
	b := &engine.Batch{Rows: []engine.Row{engine.PlainRow(tokens)}}
	var coef []float32
	routes := &engine.Routes{} // of the first pass: a step across a change of experts would measure no slope
	loss := func(back bool) (float64, error) {
		out, err := s.Forward(ctx, b, engine.Options{Backward: back, Pooling: p, Routes: routes})
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for i, y := range out[says] {
			if len(coef) == i {
				c := -1 / float32(len(out[says]))
				if p != 0 {
					c = float32(1 - 2*(i%2))
				}
				coef = append(coef, c)
			}
			sum += float64(coef[i]) * float64(y)
		}
		return sum, nil
	}
	if _, err := loss(true); err != nil {
		return nil, err
	}
	if err := s.Backward(ctx, engine.Outputs{says: coef}, nil); err != nil {
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
	was, err := p.Value.All()
	if err != nil {
		return GradientCheck{}, err
	}
	grad, err := p.Grad.All()
	if err != nil {
		return GradientCheck{}, err
	}
	norm := 0.0
	for _, g := range grad {
		norm += float64(g) * float64(g)
	}
	norm = math.Sqrt(norm)
	c := GradientCheck{Tensor: p.Name, Slope: norm}
	if norm == 0 {
		c.Error = math.Inf(1) // every pair is on the way to the loss: a zero gradient is a wrong one
		return c, nil
	}
	step, moved := checkLossChange/norm, make([]float32, len(was))
	var l [2]float64
	for k, sign := range []float64{1, -1} {
		for i := range moved {
			moved[i] = was[i] + float32(sign*step*float64(grad[i])/norm)
		}
		if err := p.Value.Upload(moved, 0); err != nil {
			return c, err
		}
		if l[k], err = loss(); err != nil {
			return c, err
		}
	}
	if err := p.Value.Upload(was, 0); err != nil {
		return c, err
	}
	c.Finite = (l[0] - l[1]) / (2 * step)
	c.Error = math.Abs(c.Slope-c.Finite) / c.Slope
	return c, nil
}
