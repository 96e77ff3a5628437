package optim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/setting"
)

// An Optimizer is a rule by which gradients change parameters. Register one with a package-level variable.
type Optimizer struct {
	Name string
	Doc  string // one line, with the source
	// Reads lists the optimizer's settings.
	Reads []setting.Use
	// StateBytes is the memory that it keeps beside parameters of these shapes and their gradients, bytes.
	StateBytes func(params []*engine.Param) int64
	// WorkBytes is what an update takes beside, bytes; nil: next to nothing.
	WorkBytes func(params []*engine.Param) int64
	// Rate is the usual learning rate over AdamW's.
	Rate float64

	start func(params []*engine.Param, s setting.Values, o Options) (rule, error)
}

// Options are what every optimizer must know.
type Options struct {
	// LoRAPlus is the factor on the learning rate of lora_b parameters (Hayou et al. 2024, "LoRA+"); 0 or 1 is plain
	// LoRA.
	LoRAPlus float64
	// Embed is the factor on the learning rate of parameters of the group "embed"; 0 is 1.
	Embed float64
	// EMA is the decay of an average of the parameters, which is kept beside them: see Running.Swap; 0 keeps none.
	EMA float64
	// Seed is what the rounding of BF16 parameters depends on, beside their names and the update.
	Seed uint64
	// MuonScale is one of MuonScales; "" is the first.
	MuonScale string
}

// rate is the learning rate of a parameter.
func (o *Options) rate(lr float64, p *engine.Param) float64 {
	switch {
	case p.Group == "lora_b" && o.LoRAPlus > 0:
		return lr * o.LoRAPlus
	case p.Group == "embed" && o.Embed > 0:
		return lr * o.Embed
	}
	return lr
}

// Running is an optimizer at work on parameters. Close it before their session. It is not safe for concurrent use.
type Running struct {
	rule    rule
	norm    norm
	average *average // nil: none is kept
}

// Update changes the parameters by their gradients times scale, at learning rate lr, and then their averages. If one is
// not finite after, the error wraps ErrParams and names a tensor that has one.
func (r *Running) Update(lr, scale float64) error {
	if err := r.rule.Update(lr, scale); err != nil || r.average == nil {
		return err
	}
	return r.average.update(lr)
}

// State lists what the next update depends on, as a checkpoint holds and fills it. SetUpdates restores the rest.
func (r *Running) State() []checkpoint.Tensor {
	out := r.rule.State()
	if r.average != nil {
		out = append(out, r.average.state()...)
	}
	return out
}

// SetUpdates restores the number of updates done.
func (r *Running) SetUpdates(n int) {
	r.rule.SetUpdates(n)
	if r.average != nil {
		r.average.t = n
	}
}

// Averages says whether averages of the parameters are kept.
func (r *Running) Averages() bool { return r.average != nil }

// Swap puts the averages in the parameters' place, and these in theirs; a second Swap puts everything back, to the bit.
// In between nothing is to be updated.
func (r *Running) Swap() error {
	if r.average == nil {
		return nil
	}
	return r.average.swap()
}

// GradNorm is the Euclidean norm of all gradients together, in F64. If a gradient is not finite, the error names the
// first tensor that has one, and the norm is not finite; with any other error, of a norm that could not be computed, it
// is 0.
func (r *Running) GradNorm() (float64, error) { return r.norm.of() }

// Close frees the state. It may be called again.
func (r *Running) Close() {
	r.rule.close()
	r.norm.close()
	if r.average != nil {
		r.average.close()
	}
}

// A rule is an optimizer's own part of Running.
type rule interface {
	// Update, State and SetUpdates are Running's, without averages.
	Update(lr, scale float64) error
	State() []checkpoint.Tensor
	SetUpdates(n int)
	close()
}

// ErrParams is wrapped by Update's error: parameters are not finite, and nothing of them is worth keeping.
var ErrParams = errors.New("parameters are not finite")

var optimizers = registry.New[*Optimizer]("optimizer")

func registerOptimizer(o *Optimizer) *Optimizer { return optimizers.Register(o.Name, o) }

// All lists the optimizers by name.
func All() []*Optimizer { return optimizers.All() }

// Names lists their names.
func Names() []string { return optimizers.Names() }

// each adds up the bytes of a number of numbers over parameters.
func each(of func(n int64) int64) func(params []*engine.Param) int64 {
	return func(params []*engine.Param) (sum int64) {
		for _, p := range params {
			sum += of(p.Len())
		}
		return sum
	}
}

// Get gives the optimizer of that name; the error lists the names.
func Get(name string) (*Optimizer, error) { return optimizers.Get(name) }

// Readers lists the optimizers with the settings they read.
func Readers() setting.Readers {
	r := setting.Readers{Kind: "optimizer"}
	for _, o := range optimizers.All() {
		r.List = append(r.List, setting.Reader{Name: o.Name, Uses: o.Reads})
	}
	return r
}

// Start puts the optimizer to work on parameters, as if no update had been done.
func (o *Optimizer) Start(params []*engine.Param, given setting.Values, opts Options) (*Running, error) {
	v, _, errs := setting.Resolve(given, o.Reads, Readers().Settings())
	if !(opts.LoRAPlus >= 0 && opts.Embed >= 0) {
		errs = append(errs, fmt.Errorf("LoRA+ ratio %g, embedding's %g: may not be negative", opts.LoRAPlus,
			opts.Embed))
	}
	if !(opts.EMA >= 0 && opts.EMA < 1) {
		errs = append(errs, fmt.Errorf("decay of the average %g: 0 to below 1", opts.EMA))
	}
	if opts.MuonScale != "" && !slices.Contains(MuonScales(), opts.MuonScale) {
		errs = append(errs, &registry.UnknownError{Kind: "scale of Muon's steps", Name: opts.MuonScale,
			Known: MuonScales()})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	n, err := newNorm(params)
	if err != nil {
		n.close()
		return nil, fmt.Errorf("gradient norm: %w", err)
	}
	r, err := o.start(params, v, opts)
	if err != nil {
		n.close()
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	running := &Running{rule: r, norm: n}
	if opts.EMA > 0 {
		if running.average, err = newAverage(params, opts.EMA); err != nil {
			running.Close()
			return nil, fmt.Errorf("averages of parameters: %w", err)
		}
	}
	return running, nil
}
