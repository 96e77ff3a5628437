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
	rule
	norm norm
}

// GradNorm is the Euclidean norm of all gradients together, in F64. If a gradient is not finite, the error names the
// first tensor that has one, and the norm is not finite; with any other error, of a norm that could not be computed, it
// is 0.
func (r *Running) GradNorm() (float64, error) { return r.norm.of() }

// Close frees the state. It may be called again.
func (r *Running) Close() {
	r.rule.close()
	r.norm.close()
}

// A rule is an optimizer's own part of Running.
type rule interface {
	// Update changes the parameters by their gradients times scale, at learning rate lr. If one is not finite after,
	// the error wraps ErrParams and names the first tensor that has one.
	Update(lr, scale float64) error
	// State lists what the next update depends on, as a checkpoint holds and fills it. SetUpdates restores the rest.
	State() []checkpoint.Tensor
	// SetUpdates restores the number of updates done.
	SetUpdates(n int)
	close()
}

// ErrParams is wrapped by Update's error: parameters are not finite, and nothing of them is worth keeping.
var ErrParams = errors.New("parameters are not finite")

var optimizers = registry.New[*Optimizer]("optimizer")

func registerOptimizer(o *Optimizer) *Optimizer { return optimizers.Register(o.Name, o) }

// Bytes is the memory that it takes beside parameters of these shapes and their gradients.
func (o *Optimizer) Bytes(params []*engine.Param) int64 {
	n := o.StateBytes(params)
	if o.WorkBytes != nil {
		n += o.WorkBytes(params)
	}
	return n
}

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
	return &Running{rule: r, norm: n}, nil
}
