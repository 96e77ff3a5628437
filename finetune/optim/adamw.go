package optim

import (
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/finetune/checkpoint"
)

// AdamWConfig holds AdamW's constants.
type AdamWConfig struct {
	Beta1, Beta2 float64 // decay of the moments; default 0.9 and 0.999, in [0, 1)
	Eps          float64 // added to the root of the second moment; default 1e-8, above 0
	WeightDecay  float64 // decoupled; default 0; applies to parameters with Decay
	// LoRAPlus is the factor on the learning rate of lora_b parameters (Hayou et al. 2024, "LoRA+"); 0 or 1 is plain LoRA.
	LoRAPlus float64
	Threads  int // goroutines; the result does not depend on it
}

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), as torch.optim.AdamW computes it:
//
//	θ ← θ − η·λ·θ
//	m ← β₁·m + (1−β₁)·g        v ← β₂·v + (1−β₂)·g²
//	θ ← θ − η·(m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
//
// Moments are kept in F32, each update is computed in F64. It is not safe for concurrent use.
type AdamW struct {
	cfg           AdamWConfig
	params        []*engine.Param
	m, v          [][]float32
	values, grads [][]float32
	spans         []span
	t             int // updates done
}

// NewAdamW makes an optimizer for params with moments of zero.
func NewAdamW(params []*engine.Param, cfg AdamWConfig) (*AdamW, error) {
	switch {
	case !(cfg.Beta1 >= 0 && cfg.Beta1 < 1), !(cfg.Beta2 >= 0 && cfg.Beta2 < 1):
		return nil, fmt.Errorf("adamw: betas %g and %g: each must be at least 0 and below 1", cfg.Beta1, cfg.Beta2)
	case !(cfg.Eps > 0):
		return nil, fmt.Errorf("adamw: eps %g: must be above 0", cfg.Eps)
	case !(cfg.WeightDecay >= 0), !(cfg.LoRAPlus >= 0):
		return nil, fmt.Errorf("adamw: weight decay %g and LoRA+ ratio %g: neither may be negative", cfg.WeightDecay, cfg.LoRAPlus)
	}
	a := &AdamW{cfg: cfg, params: params, spans: spansOf(params)}
	var err, errGrad error
	a.values, err = hostViews(params, func(p *engine.Param) backend.Floats { return p.Value })
	a.grads, errGrad = hostViews(params, func(p *engine.Param) backend.Floats { return p.Grad })
	if err := errors.Join(err, errGrad); err != nil {
		return nil, fmt.Errorf("adamw: %w", err)
	}
	for _, p := range params {
		a.m = append(a.m, make([]float32, p.Len()))
		a.v = append(a.v, make([]float32, p.Len()))
	}
	return a, nil
}

// ErrParams is wrapped by Update's error: parameters are not finite, and nothing of them is worth keeping.
var ErrParams = errors.New("parameters are not finite")

// Update changes the parameters by their gradients times scale, at learning rate lr. If one is not finite after, the error
// names the first tensor that has one.
func (a *AdamW) Update(lr, scale float64) error {
	a.t++
	b1, b2 := a.cfg.Beta1, a.cfg.Beta2
	correct1 := 1 - math.Pow(b1, float64(a.t))
	correct2 := math.Sqrt(1 - math.Pow(b2, float64(a.t)))
	faults := make([]error, len(a.spans))
	parallel(len(a.spans), a.cfg.Threads, func(i int) {
		s := a.spans[i]
		p := a.params[s.param]
		rate := lr
		if p.Group == "lora_b" && a.cfg.LoRAPlus > 0 {
			rate *= a.cfg.LoRAPlus
		}
		keep := 1.0
		if p.Decay {
			keep = 1 - rate*a.cfg.WeightDecay
		}
		var spoiled [1]float32
		call := kernels.Call{Op: kernels.OpAdamW, NArgs: 5, F: [8]float64{scale, b1, b2, keep, rate / correct1, correct2, a.cfg.Eps}}
		call.A = [kernels.MaxArgs]kernels.Arg{row(a.values[s.param][s.from:s.to]), row(a.m[s.param][s.from:s.to]), row(a.v[s.param][s.from:s.to]),
			row(a.grads[s.param][s.from:s.to]), row(spoiled[:])}
		if faults[i] = kernels.Run(&call, 1); faults[i] == nil && spoiled[0] != 0 {
			faults[i] = fmt.Errorf("%w: update %d at learning rate %g spoiled %q", ErrParams, a.t, lr, p.Name)
		}
	})
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// Updates is the number of updates done.
func (a *AdamW) Updates() int { return a.t }

// State lists the moments as a checkpoint holds them and fills them. SetUpdates restores the rest.
func (a *AdamW) State() []checkpoint.Tensor {
	out := make([]checkpoint.Tensor, 0, 2*len(a.params))
	for i, p := range a.params {
		out = append(out, checkpoint.Floats(p.Name+".adam_m", a.m[i]), checkpoint.Floats(p.Name+".adam_v", a.v[i]))
	}
	return out
}

// SetUpdates restores the number of updates done.
func (a *AdamW) SetUpdates(t int) { a.t = t }
